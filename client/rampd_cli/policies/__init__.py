"""Policies as files: how they are read, written, compared and described."""
