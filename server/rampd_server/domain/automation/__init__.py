"""What automation decides, and what it decides by."""
