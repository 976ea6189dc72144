"""What client and server agree on: names, limits, and what a message may say. Pure; the server refuses by the same code."""
