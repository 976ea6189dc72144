"""What Python and the system need: forks, threads, green threads, files."""
