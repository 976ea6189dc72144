"""What `rampd wait` waits for, and what it shows meanwhile."""
