"""What `rampd explain` shows: the rule, and what each server answers."""
