"""The kinds of arguments: components, tags, repos, durations and times, each with its completion."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII
)


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


class Percent(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A share, as a person writes it: `10`, `0.25` or `10%`. Becomes a float."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(str(value).removesuffix("%"))
        except ValueError:
            self.fail(f"{value!r} is not a percent. Write 10 or 0.25.", param, ctx)


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


class Time(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A moment: `2026-12-01T09:00`, with a zone (`Z`, `+01:00`) or in the zone of this machine; `09:00` is the next 09:00.
    Becomes a datetime with a zone.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if re.fullmatch(r"\d{1,2}:\d{2}", value, re.ASCII):
                return _next(*map(int, value.split(":")))
            return datetime.fromisoformat(value).astimezone()
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
    """A moment that is over: `2h` ago, `2026-12-01T09:00`, or `09:00` for the last 09:00. Becomes a datetime with a zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if value and _DURATION.fullmatch(value):
                return datetime.now(UTC) - DURATION.convert(value, param, ctx)
            if re.fullmatch(r"\d{1,2}:\d{2}", value, re.ASCII):
                return _last(*map(int, value.split(":")))
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError, OSError):
            wanted = "Write 2h, 7d, 2026-12-01T09:00, or 09:00 for the last 09:00"
            self.fail(f"{value!r} is not a time in the past. {wanted}.", param, ctx)


def one_or_all(component: str, *, is_all: bool) -> str:
    """Returns the component of a command that takes one or `--all`; empty for all. Raises UsageError."""
    if bool(component) == is_all:
        raise click.UsageError("Give a component or --all, and not both.")
    return component


def in_future(duration: timedelta) -> datetime:
    """Returns the moment after a duration, by the clock of this machine. Raises UsageError if the calendar ends before."""
    try:
        return datetime.now(UTC) + duration
    except OverflowError:
        raise click.UsageError("The duration is too long. Write 90s, 10m, 1h30m or 7d.") from None


def _next(hour: int, minute: int) -> datetime:
    now = datetime.now().astimezone()
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    # By the calendar, not by 24 hours, because a day may have 23.
    return today if today > now else (today.replace(tzinfo=None) + timedelta(days=1)).astimezone()


def _last(hour: int, minute: int) -> datetime:
    now = datetime.now().astimezone()
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today <= now else (today.replace(tzinfo=None) - timedelta(days=1)).astimezone()


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
DURATION: Final = Duration()
TIME: Final = Time()
END: Final = End()
PAST: Final = Past()
