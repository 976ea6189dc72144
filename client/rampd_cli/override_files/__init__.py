"""Overrides as files: CSV, or a change in JSON on each line."""
