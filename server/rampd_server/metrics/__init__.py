"""What a server counts and measures, for Prometheus."""
