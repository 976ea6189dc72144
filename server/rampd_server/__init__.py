"""The `rampd-server` daemon."""
