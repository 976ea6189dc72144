"""The command `rampd`: shows rollouts and changes them, from a terminal or a script. `rampd --help` lists its commands."""
