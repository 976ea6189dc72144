"""Outcomes of jobs, on their way to the server."""
