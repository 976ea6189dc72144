"""Percents, durations and times, as people write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click
import pytest

from rampd_cli.arguments import DURATION, END, PERCENT, TIME


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
        assert timedelta(0) < found - datetime.now(UTC) <= timedelta(hours=25)


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
