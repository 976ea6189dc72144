"""The commands of `rampd`, one file each."""
