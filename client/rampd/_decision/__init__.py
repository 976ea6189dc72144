"""The decision: from a state and a repo to a tag. Pure; the server decides by the same code."""
