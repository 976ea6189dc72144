"""The copy of the store in memory that Resolve reads, and what is done where the store loses or damages something."""
