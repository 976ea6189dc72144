"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine, and what else it does, than about the code.
settings.register_profile("any machine", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
