"""The log of changes from which a watcher catches up."""

import pytest

from rampd_server.rpc.watch.change_log import ChangeLog, Missing


@pytest.fixture
def log() -> ChangeLog:
    made = ChangeLog()
    made.restart("10-0")
    for number in range(1, 6):
        made.append(f"10-{number}", "ab"[number % 2], f"<{number}>".encode())
    return made


def test_a_watcher_reads_all_later_entries_at_once(log: ChangeLog) -> None:
    position = log.after("10-2")
    assert isinstance(position, int)
    assert log.read(position, ()) == (b"<3><4><5>", log.end)
    assert log.read(log.end, ()) == (b"", log.end)


def test_a_watcher_reads_only_the_components_that_it_wants(log: ChangeLog) -> None:
    position = log.after("10-0")
    assert isinstance(position, int)
    assert log.read(position, {"a"}) == (b"<2><4>", log.end)
    assert log.read(log.end - 1, {"a"}) == (b"", log.end)
    assert log.read(log.end - 1, {"b"}) == (b"<5>", log.end)


def test_a_message_ends_once_it_is_large() -> None:
    log = ChangeLog()
    log.restart("1-0")
    for number in range(1, 7):
        log.append(f"1-{number}", "a", b"x" * 100 * 1024)
    message, position = log.read(log.end - 6, ())
    assert (len(message), position) == (300 * 1024, log.end - 3)


@pytest.mark.parametrize(
    ("entry_id", "why"),
    [("9-9", Missing.TOO_OLD), ("10-6", Missing.AHEAD), ("11-0", Missing.AHEAD)],
)
def test_a_cursor_that_the_log_does_not_have_gets_a_reason(log: ChangeLog, entry_id: str, why: Missing) -> None:
    assert log.after(entry_id) is why


def test_a_cursor_between_two_entries_is_from_another_history() -> None:
    log = ChangeLog()
    log.restart("10-0")
    log.append("12-0", "a", b"x")
    assert log.after("11-0") is Missing.FORKED


def test_a_restarted_log_does_not_reach_earlier_positions(log: ChangeLog) -> None:
    places = [log.end - 2, log.end]
    log.restart("10-3")
    assert not any(map(log.reaches, places))
    assert log.after("10-3") == log.end
    assert log.reaches(log.end)


@pytest.mark.parametrize("limits", [{"max_entries": 100}, {"max_bytes": 1000}])
def test_a_log_keeps_its_limits_and_counts_its_bytes_correctly(limits: dict[str, int]) -> None:
    log = ChangeLog(**limits)
    log.restart("1-0")
    reached = 0
    for number in range(1, 1001):
        log.append(f"1-{number}", "a", b"1234567890")
        oldest = next(place for place in range(log.end + 1) if log.reaches(place))
        assert log.end - oldest <= 100
        reached = max(reached, log.end - oldest)
        assert log.read(oldest, ())[0] == b"1234567890" * (log.end - oldest)
        kept = log.end - oldest
        assert kept >= min(number, 93), "it drops only a little at a time"
        assert log.after(f"1-{number - kept}") == oldest
        assert kept == number or log.after(f"1-{number - kept - 1}") is Missing.TOO_OLD
    assert reached == 100


def test_an_entry_that_is_too_large_is_a_gap_for_every_watcher() -> None:
    log = ChangeLog(max_bytes=1000)
    log.restart("1-0")
    log.append("1-1", "a", b"x" * 2000)
    assert log.after("1-0") is Missing.TOO_OLD
    assert log.after("1-1") == log.end
