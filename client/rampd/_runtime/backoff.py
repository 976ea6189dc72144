"""By what pauses are spread. Not `random.random`: a program that seeds it would make all its processes come in step."""

from random import SystemRandom

chance = SystemRandom().random
"""A number from 0 to 1, without 1."""
