"""The page of one component."""
