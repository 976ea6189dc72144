"""The decision: from a state and a repo to a tag. Pure. The server uses the same code."""
