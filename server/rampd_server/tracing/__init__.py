"""Traces of OpenTelemetry, where its API is installed and somebody has set up a tracer provider."""

TRACEPARENT = "traceparent"
"""The key of a place in a trace: in metadata, in headers, and in the attributes of a release."""
