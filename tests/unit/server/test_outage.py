"""An outage is logged once, at growing intervals, and once when it is over."""

import pytest
from structlog.testing import capture_logs

from rampd_server.process.outage import Outage, Outages


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage("lost", "found", monotonic=clock)


def test_a_day_of_failures_gives_few_lines_at_growing_intervals(outage: Outage, clock: Clock):
    with capture_logs() as lines:
        while clock.now_s < 24 * 3600:
            outage.tell("Redis can't be reached.")
            clock.now_s += 0.25
        outage.end()
        outage.end()

    *lost, found = lines
    assert (found["event"], found["after_s"]) == ("found", 24 * 3600)
    assert {line["event"] for line in lost} == {"lost"}
    assert [line["for_s"] for line in lost][:7] == [0, 10, 30, 70, 150, 310, 630]
    assert 24 * 6 <= len(lost) < 24 * 6 + 10


def test_a_new_reason_is_logged_at_once_unless_there_are_many(outage: Outage, clock: Clock):
    with capture_logs() as lines:
        for number in range(100):
            outage.tell(f"reason {number}")
            outage.tell(f"reason {number % 3}")

    assert [line["error"] for line in lines] == [f"reason {number}" for number in range(8)]


def test_each_outage_is_logged(outage: Outage, clock: Clock):
    with capture_logs() as lines:
        for _ in range(2):
            assert outage.lasts_s is None
            outage.tell("gone")
            clock.now_s += 3
            assert outage.lasts_s == 3
            outage.end()

    assert [line["event"] for line in lines] == ["lost", "found"] * 2


def test_outages_of_many_things_have_one_name_and_are_kept_only_while_they_last(clock: Clock):
    outages = Outages("lost", "found", ("component",), monotonic=clock)
    with capture_logs() as lines:
        for name in ("a", "b"):
            outages.tell(name, error="gone")
            outages.tell(name, error="gone")
        outages.end("a")
        outages.end("a")

    assert [(line["event"], line["component"]) for line in lines] == [("lost", "a"), ("lost", "b"), ("found", "a")]
    assert outages.away == (("b",),)
