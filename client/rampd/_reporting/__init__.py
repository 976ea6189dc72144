"""How jobs went, on the way to the server."""
