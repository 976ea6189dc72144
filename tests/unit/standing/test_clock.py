"""Times as people read them."""

from datetime import timedelta

from rampd._standing.clock import Clock
from tests.cli.rollouts import NOW, ago

CLOCK = Clock(NOW, is_utc=True)


def test_times_of_another_day_have_the_day_and_of_another_year_the_year() -> None:
    assert CLOCK.time(ago(minutes=5)) == "14:00 UTC"
    assert CLOCK.time(ago(days=1)) == "25 Nov 14:05 UTC"
    assert CLOCK.time(ago(days=400)) == "22 Oct 2025 14:05 UTC"
    assert CLOCK.age(NOW + timedelta(seconds=3)) == "0 s"


def test_a_view_that_stays_does_not_say_how_long_ago() -> None:
    """A page has clocks of its own beside its sentences, and the two must not differ."""
    assert CLOCK.when(ago(minutes=5)) == "5 min ago"
    assert Clock.of_page(NOW).when(ago(minutes=5)) == "at 14:00 UTC"
