"""Backup and moving: the commands `export` and `import` of `rampd-server`."""
