"""What automation decides, and the facts and rules that it uses."""
