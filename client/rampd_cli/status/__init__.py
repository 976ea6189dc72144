"""What `rampd status` shows. The modules that draw are pure: from messages and the time to lines."""
