"""What `rampd history` shows: events, each with what it changed."""
