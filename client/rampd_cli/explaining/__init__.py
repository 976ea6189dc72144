"""Which version a repo gets, by which rule, and what would change it."""
