"""Following a history: no event twice, and none missed. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rampd import v1
from rampd.errors import UnavailableError
from rampd_cli.history.new_events import WINDOW_MS, NewEvents

NOW = 1_795_475_919_747


def event(at_ms: int, place: int = 1) -> v1.Event:
    made = v1.Event(id=f"{at_ms}-{place}", component="restyler", revision=place)
    made.time.FromMilliseconds(at_ms)
    return made


def ids(events: list[v1.Event]) -> list[str]:
    return [each.id for each in events]


def test_events_come_oldest_first_and_once() -> None:
    known = NewEvents()
    first, second, third = event(NOW), event(NOW + 5), event(NOW + 9)

    assert ids(known.first([second, first], limit=None, since=None)) == [first.id, second.id]
    assert known.of([second, first]) == []
    assert ids(known.of([third, second, first])) == [third.id]


def test_an_event_that_is_listed_late_is_not_missed() -> None:
    """Given an event with an earlier id than one that was seen, as from a machine whose clock is behind, expect it."""
    known = NewEvents()
    known.first([event(NOW)], limit=None, since=None)
    late = event(NOW - WINDOW_MS + 1_000, place=2)

    assert ids(known.of([event(NOW), late])) == [late.id]
    assert known.of([event(NOW), late]) == []


def test_the_events_before_the_limit_do_not_come_as_new_ones() -> None:
    known = NewEvents()
    newest_first = [event(NOW - number) for number in range(5)]

    assert ids(known.first(newest_first, limit=2, since=None)) == [f"{NOW - 1}-1", f"{NOW}-1"]
    assert known.of(newest_first) == []


def test_with_a_limit_of_0_only_new_events_come() -> None:
    known = NewEvents()
    assert known.first([event(NOW)], limit=0, since=None) == []
    assert ids(known.of([event(NOW + 1), event(NOW)])) == [f"{NOW + 1}-1"]


def test_events_from_before_a_moment_are_left_out() -> None:
    since = datetime.fromtimestamp(NOW / 1000, UTC)
    assert ids(NewEvents().first([event(NOW), event(NOW - 1)], limit=None, since=since)) == [f"{NOW}-1"]


def test_no_more_is_read_than_can_be_new() -> None:
    known = NewEvents()
    known.first([event(NOW)], limit=None, since=None)
    read = iter([event(NOW + 1), event(NOW), event(NOW - WINDOW_MS - 1), event(0)])

    known.of(read)

    assert known.after == f"{NOW + 1 - WINDOW_MS}-0"
    assert len(list(read)) == 1


def test_what_a_lost_server_had_sent_already_comes_at_the_next_look() -> None:
    """Given a server that is gone before it has sent the second page, expect all events when it is back."""
    known = NewEvents()
    known.first([event(NOW)], limit=None, since=None)
    second, third = event(NOW + 1), event(NOW + 2)

    def one_page() -> Iterator[v1.Event]:
        yield third
        raise UnavailableError("gone")

    with pytest.raises(UnavailableError):
        known.of(one_page())

    assert ids(known.of([third, second, event(NOW)])) == [second.id, third.id]


def test_a_history_that_was_empty_has_only_new_events() -> None:
    known = NewEvents()
    assert known.first([], limit=20, since=None) == []
    assert known.after == ""
    assert ids(known.of([event(NOW)])) == [f"{NOW}-1"]


def test_events_of_an_earlier_server_have_no_id_and_still_come_once() -> None:
    known = NewEvents()
    old = event(NOW)
    old.id = ""
    assert len(known.first([old], limit=None, since=None)) == 1
    assert known.of([old]) == []
