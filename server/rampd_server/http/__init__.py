"""The port for HTTP: health, and every method of the API for callers without gRPC."""
