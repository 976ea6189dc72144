"""The parts of which views are drawn: bars, shares, times, tags and colours. Each is pure, and a view passes the time in."""
