"""What holds for all tests."""

import os

from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine, and what else it does, than about the code.
settings.register_profile("any machine", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What tests start runs as on a user's machine: with this set, a program that never flushes its output passes here alone.
os.environ.pop("PYTHONUNBUFFERED", None)
