"""Work with Python and the system: forks, threads, green threads, files."""
