"""Numbers, percents, durations and times, as people write them, and what is empty."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from rampd._calls.timeout import checked_timeout
from rampd_cli import arguments
from rampd_cli.app import root
from rampd_cli.arguments import DURATION, END, LONGEST_WAIT, PAST, PERCENT, TIME, TIMEOUT
from rampd_cli.command import Group
from tests.cli.conftest import Run

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
"""In 2026 the clocks go from 02:00 to 03:00 on 29 March, and from 03:00 back to 02:00 on 25 October."""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine is in a zone in which every day has 24 hours."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("0.25", 0.25), ("10%", 10), ("100", 100)])
def test_a_percent(text: str, value: float) -> None:
    assert PERCENT.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("7d", 604_800), ("1.5h", 5400), ("1d12h", 129_600), ("0s", 0)],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "1m1h", "-1h", "1 h", "٣h", "9999999999d", "1w"])
def test_what_is_no_duration_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


def test_a_time_with_a_zone() -> None:
    expected = datetime(2099, 1, 1, 9, 30, tzinfo=UTC)
    for text in ("2099-01-01T09:30Z", "2099-01-01T10:30+01:00", "2099-01-01 09:30:00Z"):
        assert TIME.convert(text, None, None) == expected


def test_a_time_of_day_is_the_next_one_in_the_zone_of_this_machine() -> None:
    for hour in range(24):
        found = TIME.convert(f"{hour}:00", None, None)
        assert (found.hour, found.minute) == (hour, 0)
        # The hour may come between the two lines.
        assert timedelta(minutes=-1) < found - datetime.now(UTC) <= timedelta(hours=25)


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-03-28T20:00", "09:00", "2026-03-29T07:00"),
        ("2026-03-29T00:30", "09:00", "2026-03-29T07:00"),
        ("2026-03-28T20:00", "02:30", "2026-03-29T01:30"),
        ("2026-03-29T00:30", "02:30", "2026-03-29T01:30"),
        ("2026-03-29T02:00", "02:30", "2026-03-30T00:30"),
        ("2026-10-24T23:30", "09:00", "2026-10-25T08:00"),
        ("2026-10-24T23:30", "02:30", "2026-10-25T00:30"),
        ("2026-10-25T00:45", "02:30", "2026-10-25T01:30"),
        ("2026-10-25T01:45", "02:30", "2026-10-26T01:30"),
    ],
)
def test_the_next_time_of_day_is_right_where_the_clocks_change(
    monkeypatch: pytest.MonkeyPatch, now: str, text: str, expected: str
) -> None:
    in_berlin(monkeypatch, now)

    assert TIME.convert(text, None, None) == END.convert(text, None, None) == in_utc(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-29T02:30", "2026-03-29T01:30"),
        ("2026-03-29T09:00", "2026-03-29T07:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30"),
    ],
    ids=["skipped", "after it", "the first of two", "the second of two"],
)
def test_a_time_with_its_date_is_right_where_the_clocks_change(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    in_berlin(monkeypatch, "2026-11-27T00:00")

    assert TIME.convert(text, None, None) == PAST.convert(text, None, None) == in_utc(expected)


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-03-29T08:00", "01:00", "2026-03-29T00:00"),
        ("2026-03-29T08:00", "02:30", "2026-03-29T01:30"),
        ("2026-03-29T08:00", "11:00", "2026-03-28T10:00"),
        ("2026-10-25T00:45", "02:30", "2026-10-25T00:30"),
        ("2026-10-25T01:45", "02:30", "2026-10-25T01:30"),
        ("2026-10-25T09:00", "01:00", "2026-10-24T23:00"),
        ("2026-10-25T09:00", "11:00", "2026-10-24T09:00"),
    ],
)
def test_the_last_time_of_day_is_right_where_the_clocks_change(
    monkeypatch: pytest.MonkeyPatch, now: str, text: str, expected: str
) -> None:
    in_berlin(monkeypatch, now)

    assert PAST.convert(text, None, None) == in_utc(expected)


def in_berlin(monkeypatch: pytest.MonkeyPatch, now: str) -> None:
    """This machine is in Berlin, at a time of UTC."""
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    monkeypatch.setattr(arguments, "_now", lambda: in_utc(now))


def in_utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["2099-12-01T09:00", "2099-12-01"])
def test_a_time_to_come_is_not_in_the_past(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is still to come"):
        PAST.convert(text, None, None)


def test_a_time_that_the_clock_of_a_server_told_may_be_a_bit_ahead() -> None:
    told = datetime.now(UTC) + timedelta(seconds=20)

    assert PAST.convert(told.isoformat(), None, None) == told


@pytest.mark.parametrize("text", ["0s", "20000d", "soon"])
def test_a_timeout_is_a_time_that_one_can_wait(text: str) -> None:
    with pytest.raises(click.BadParameter, match="Write 90s, 10m, 1h30m or 7d"):
        TIMEOUT.convert(text, None, None)
    assert TIMEOUT.convert("10m", None, None) == timedelta(minutes=10)


def test_the_client_takes_each_timeout_of_the_command_line() -> None:
    for found in (timedelta(microseconds=1), LONGEST_WAIT):
        assert TIMEOUT.convert(found, None, None) == found
        assert checked_timeout(found.total_seconds()) == found.total_seconds()


@pytest.mark.parametrize("text", ["1_5", "٣", "nan", "inf", "+5", "ten", "", "1%%", " 5"])
def test_what_is_no_percent_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not a percent\. Write 10 or 0\.25\."):
        PERCENT.convert(text, None, None)


@pytest.mark.parametrize(
    "line",
    [
        "ramp c 1_5",
        "pause c --expect-revision {}",
        "history -n {}",
        "wait c --until percent={}",
        "plan c --jobs-per-hour {}",
        "plan c --jobs-per-hour 1 --repos {}",
        "plan c --jobs-per-hour 1 --current-failure-rate {}",
    ],
)
def test_a_number_has_only_the_digits_0_to_9(run: Run, line: str) -> None:
    for text in ("1_5", "٣"):
        ran = run(*line.format(text).split())

        assert (ran.code, "Write" in ran.err) == (2, True)


def lines_with_an_empty_value() -> Iterator[tuple[list[str], bool]]:
    """Yields for each option and argument of each command a line in which it is empty, and whether it may be."""
    may_be_empty = {"note", "job_id"}
    for words, command in commands(root, []):
        values = {each.name: value_of(each.type) for each in command.params if isinstance(each, click.Argument)}
        needed = [
            word
            for each in command.params
            if isinstance(each, click.Option) and each.required
            for word in (each.opts[0], value_of(each.type))
        ]
        for param in command.params:
            if isinstance(param, click.Argument):
                changed = {**values, param.name: ""}
                yield [*words, *needed, *changed.values()], False
            elif not getattr(param, "is_flag", False):
                for option in param.opts:
                    yield [*words, *needed, *values.values(), option, ""], param.name in may_be_empty


def commands(group: click.Group, words: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    """Yields each command with its words, also those that have commands of their own."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, Group):
            yield from commands(command, [*words, name])
        else:
            yield [*words, name], command


def value_of(kind: Any) -> str:
    return kind.choices[0] if isinstance(kind, click.Choice) else {"setting": "server"}.get(kind.name, "10")


def test_an_empty_value_is_wrong_use_unless_it_has_a_meaning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPD_SERVER", "no address")  # so that no line asks a server

    for words, may_be in lines_with_an_empty_value():
        ran = run(*words)

        says = any(text in ran.err for text in (" is empty: ", "'' is n", "needs a value"))
        assert (ran.code, ran.out, says) == (2, "", not may_be), (words, ran.err)


@pytest.mark.parametrize("line", [["--server", "", "status"], ["queue", "--profile=", "list", "c"]])
def test_an_empty_value_before_a_command_is_wrong_use_too(run: Run, line: list[str]) -> None:
    ran = run(*line)

    assert (ran.code, " is empty: give it a value, or leave it out." in ran.err) == (2, True)


def test_a_variable_without_a_value_is_as_not_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAMPD_SERVER", "RAMPD_PROFILE"):
        monkeypatch.setenv(name, "")

    assert run("config", "list").code == 0


@pytest.mark.parametrize("text", ["", "25:00", "tomorrow", "2099-13-01", "09:0"])
def test_what_is_no_time_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(click.BadParameter):
        TIME.convert(text, None, None)


def test_an_end_is_a_duration_from_now_or_a_time() -> None:
    left = END.convert("7d", None, None) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert END.convert("2099-01-01T00:00Z", None, None) == datetime(2099, 1, 1, tzinfo=UTC)
    for text in ("soon", "7", "", "d"):
        with pytest.raises(click.BadParameter):
            END.convert(text, None, None)


def test_an_end_after_the_last_day_is_wrong_use() -> None:
    with pytest.raises(click.UsageError, match="too long"):
        END.convert("999999999d", None, None)
