"""The rules that client and server share: names, limits, and what a message may contain. Pure."""
