"""The copy of the store in memory that Resolve reads, and the handling of data that the store loses or damages."""
