"""Where a component stands, in the words of people. Pure. The command `rampd` and the page of a server run the same code."""
