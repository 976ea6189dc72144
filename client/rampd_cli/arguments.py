"""The kinds of arguments: components, tags, repos, numbers, durations and times, each with its completion."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII
)
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}", re.ASCII)
_NUMBER: Final = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
LONGEST_WAIT: Final = timedelta(days=10_000)
"""A bit less than the longest time-out of a call. A test compares them."""
_AHEAD: Final = timedelta(minutes=1)
"""How far the clock of a server may be ahead of this machine's: a time that the server told is no time to come."""


class Name(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A name that a shell can complete. `kind` is one of `completing.KINDS`."""

    def __init__(self, kind: str) -> None:
        self.name = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from rampd_cli.completing import names  # noqa: PLC0415 - only a shell completes

        return [CompletionItem(name) for name in names(ctx, self.name, incomplete)]


def starting(incomplete: str, words: Iterable[str]) -> list[CompletionItem]:
    """Returns the words that begin with what was typed, for a shell."""
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


class File(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """The path of a file, or `-`, which a shell can complete."""

    name = "file"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class Text(click.types.StringParamType):
    """A text that may be empty. Where another option or argument is empty, the command line is wrong."""


def is_number(text: str) -> bool:
    """Whether a text is a number in decimal digits. Python also takes `1_5` for 15, digits of other scripts, and `nan`."""
    return _NUMBER.fullmatch(text) is not None


class _Decimal(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A number in decimal digits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not is_number(value):
            self.fail(f"{value!r} is not a number. Write it in the digits 0 to 9, such as 10.", param, ctx)
        return super().convert(value, param, ctx)


class Whole(_Decimal, click.types.IntParamType):
    """A whole number, as a person writes it."""


class WholeRange(_Decimal, click.IntRange):
    """A whole number in a range."""


class NumberRange(_Decimal, click.FloatRange):
    """A number in a range."""


class Percent(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A share, as a person writes it: `10`, `0.25` or `10%`. Becomes a float."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        share = str(value).removesuffix("%")
        if not is_number(share):
            self.fail(f"{value!r} is not a percent. Write 10 or 0.25.", param, ctx)
        return float(share)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A length of time, as a person writes it: `90s`, `10m`, `1h30m`, `7d`. Becomes a timedelta."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = duration_of(value)
        if found is None:
            self.fail(f"{value!r} is not a duration, or is too long. Write 90s, 10m, 1h30m or 7d.", param, ctx)
        return found


class Timeout(Duration):
    """How long to wait: a duration that a call may take. What the client refuses is refused here, before anything is sent."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = super().convert(value, param, ctx)
        if not timedelta() < found <= LONGEST_WAIT:
            self.fail(f"{value!r} is not over 0, or is too long to wait. Write 90s, 10m, 1h30m or 7d.", param, ctx)
        return found


class Time(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A moment: `2026-12-01T09:00`, with a zone (`Z`, `+01:00`) or in the zone of this machine; `09:00` is the next 09:00.
    Where the clocks are set back, a time comes twice: with its date it is the first one. Where they are set forward, a time is
    skipped: if 03:00 follows 01:59, 02:30 is taken as 03:30. Becomes a datetime with a zone.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        now = _now()
        try:
            if _CLOCK.fullmatch(value):
                return min(each for each in _moments(value, now) if each > now)
            return _moment(datetime.fromisoformat(value))
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is not a time. Write 2026-12-01T09:00, or 09:00 for the next 09:00.", param, ctx)


def duration_of(text: str) -> timedelta | None:
    """Returns the duration that a text says, None if it says none."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    seconds = sum(float(count) * unit for count, unit in zip(found.groups(), _UNITS.values(), strict=True) if count)
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return None


class End(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A duration from now on, or a moment. Becomes a datetime with a zone."""

    name = "end"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        if (duration := duration_of(value)) is not None:
            return in_future(duration)
        if not re.match(r"\d{1,4}[:-]", value, re.ASCII):
            self.fail(f"{value!r} is neither a duration such as 7d nor a time such as 2026-12-01T09:00.", param, ctx)
        return TIME.convert(value, param, ctx)


class Past(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A moment that is over: `2h` ago, `2026-12-01T09:00`, or `09:00` for the last 09:00. Becomes a datetime with a zone. Where the
    clocks change, it is as for `Time`.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        now = _now()
        wanted = "Write 2h, 7d, 2026-12-01T09:00, or 09:00 for the last 09:00"
        try:
            if value and _DURATION.fullmatch(value):
                return now - DURATION.convert(value, param, ctx)
            if _CLOCK.fullmatch(value):
                return max(each for each in _moments(value, now) if each <= now)
            found = _moment(datetime.fromisoformat(value))
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is not a time in the past. {wanted}.", param, ctx)
        if found > now + _AHEAD:
            self.fail(f"{value!r} is still to come. {wanted}.", param, ctx)
        return found


def one_or_all(component: str, *, is_all: bool) -> str:
    """Returns the component of a command that takes one or `--all`; empty for all. Raises UsageError."""
    if bool(component) == is_all:
        raise click.UsageError("Give a component or --all, and not both.")
    return component


def in_future(duration: timedelta) -> datetime:
    """Returns the moment after a duration, by the clock of this machine. Raises UsageError if the calendar ends before."""
    try:
        return _now() + duration
    except OverflowError:
        raise click.UsageError("The duration is too long. Write 90s, 10m, 1h30m or 7d.") from None


def _now() -> datetime:
    return datetime.now(UTC)


def _moment(found: datetime) -> datetime:
    """Returns a datetime with a zone. Without one, it is in the zone of this machine."""
    # Not by astimezone, which takes a time that is skipped for one before the change.
    return found if found.tzinfo else datetime.fromtimestamp(found.timestamp(), UTC)


def _moments(clock: str, now: datetime) -> Iterator[datetime]:
    """Yields when it is `HH:MM` in the zone of this machine, from yesterday to tomorrow. A time that comes twice is there twice. One
    that is skipped is as `Time` says.
    """
    hour, minute = map(int, clock.split(":"))
    today = now.astimezone().date()
    for days in (-1, 0, 1):
        # Without a zone, so that each gets the offset that is in force then. It is not always that of now.
        local = datetime.combine(today + timedelta(days=days), time(hour, minute))
        first = _moment(local)
        yield first
        # The second one of two. Of a time that is skipped this is one before the change, which nobody has typed.
        yield max(first, _moment(local.replace(fold=1)))


COMPONENT: Final = Name("component")
TAG: Final = Name("tag")
NEXT: Final = Name("next")
PREVIOUS: Final = Name("previous")
QUEUED: Final = Name("queued")
QUARANTINED: Final = Name("quarantined")
REPO: Final = Name("repo")
PROFILE: Final = Name("profile")
SERVER: Final = Name("server")
FILE: Final = File()
PERCENT: Final = Percent()
TEXT: Final = Text()
DURATION: Final = Duration()
TIMEOUT: Final = Timeout()
TIME: Final = Time()
END: Final = End()
PAST: Final = Past()
