"""One call to a server: its method, its deadline, its tries and its errors."""
