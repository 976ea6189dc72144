"""Converts values of the domain to messages of rampd.v1, and back."""
