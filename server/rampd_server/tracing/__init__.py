"""Traces of OpenTelemetry, where its API is installed and somebody has set up a tracer provider."""
