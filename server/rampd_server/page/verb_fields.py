"""What a person fills in for a verb: how a form shows it, and how its text becomes a field of the request. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from rampd import v1
from rampd._contract.wording import whole_span

ON: Final = "on"
"""What a box sends that is ticked. A box that is not sends an empty text."""


class Kind(StrEnum):
    """How a form shows a field."""

    TEXT = "text"
    NUMBER = "number"
    BOX = "box"
    CHOICE = "choice"


class Choice(NamedTuple):
    """What can be chosen."""

    value: str
    label: str


Put = Callable[[Any, str, datetime], None]
"""Puts the text of a form, made at a moment, into a request. Raises ValueError: the field has no such value."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form. Without a text it is as if the person had not been asked."""

    name: str
    """That of the field of the request."""
    label: str
    kind: Kind
    put: Put
    default: str = ""
    hint: str = ""
    is_required: bool = False
    offers: Callable[[v1.Rollout], Sequence[Choice]] = lambda _rollout: ()
    """What can be chosen, or for a text, what is proposed."""

    def text(self, given: Mapping[str, str]) -> str:
        """Returns what was filled in."""
        return given.get(self.name, self.default).strip()


def put(request: Any, field: Field, given: Mapping[str, str], made: datetime) -> None:  # noqa: ANN401 - any request
    """Puts what was filled in into a request. Raises ValueError with a sentence."""
    text = field.text(given)
    try:
        field.put(request, text, made)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no value for “{field.label}”. {field.hint}".rstrip()) from None


def _text(name: str) -> Put:
    return lambda request, text, _made: setattr(request, name, text)


def _box(name: str) -> Put:
    return lambda request, text, _made: setattr(request, name, text == ON)


def _percent(request: Any, text: str, _made: datetime) -> None:  # noqa: ANN401 - any request
    request.percent = float(text.removesuffix("%"))


def _release(request: Any, text: str, _made: datetime) -> None:  # noqa: ANN401 - as above
    request.release = int(text)


def _confirm_within(request: Any, text: str, _made: datetime) -> None:  # noqa: ANN401 - as above
    if text:
        request.confirm_within.FromSeconds(int(text))


def _expire_time(request: Any, text: str, made: datetime) -> None:  # noqa: ANN401 - as above
    # A form that is sent twice has to ask for the same end both times, so the time begins when the form was made.
    if text:
        request.expire_time.FromDatetime(made + timedelta(seconds=int(text)))


def _channel(request: Any, text: str, _made: datetime) -> None:  # noqa: ANN401 - as above
    if text:
        request.channel = v1.Channel.Value(text)


def _spans(nothing: str, *seconds: int) -> tuple[Choice, ...]:
    return Choice("", nothing), *(Choice(str(each), whole_span(each * 1000)) for each in seconds)


def _tags(tags: Iterable[str]) -> tuple[Choice, ...]:
    return tuple(Choice(tag, tag) for tag in dict.fromkeys(tags))


def _live(rollout: v1.Rollout) -> tuple[Choice, ...]:
    releases = [*([rollout.next] if rollout.HasField("next") else []), rollout.current, *rollout.queue]
    return _tags(each.tag for each in releases)


def _quarantined(rollout: v1.Rollout) -> tuple[Choice, ...]:
    of = {v1.CHANNEL_NEXT: rollout.next, v1.CHANNEL_CURRENT: rollout.current}
    return _tags(of[channel].tag for channel in rollout.quarantined)


def before(rollout: v1.Rollout) -> tuple[Choice, ...]:
    """The versions that a Revert can go back to, the newest first."""
    return _tags(each.tag for each in rollout.previous if each.tag != rollout.current.tag)


def _to(rollout: v1.Rollout) -> tuple[Choice, ...]:
    # Without a tag the server looks whether somebody has gone back already, and whether next is the newer change.
    return Choice("", "the version before"), *before(rollout)


def _confirm_choices(rollout: v1.Rollout) -> tuple[Choice, ...]:
    usual_ms = rollout.policy.confirm_within.ToMilliseconds()
    usual = f"as the policy says: {whole_span(usual_ms)}" if usual_ms else "nobody has to confirm it"
    return _spans(usual, 300, 900, 1800, 3600, 4 * 3600, 86_400)


_ENDS: Final = (1800, 3600, 4 * 3600, 12 * 3600, 86_400, 3 * 86_400, 7 * 86_400, 30 * 86_400)

PERCENT: Final = Field(
    "percent",
    "Percent",
    Kind.NUMBER,
    _percent,
    hint="0 to 100, with at most two decimals, such as 10 or 0.25.",
    is_required=True,
)
CONFIRM_WITHIN: Final = Field(
    "confirm_within",
    "Back to 0 % unless somebody confirms within",
    Kind.CHOICE,
    _confirm_within,
    offers=_confirm_choices,
)
QUARANTINE_NEXT: Final = Field(
    "quarantine", "Refuse this tag until somebody lifts the quarantine", Kind.BOX, _box("quarantine")
)
QUARANTINE_CURRENT: Final = Field(
    "quarantine",
    "Refuse the tag that is current now until somebody lifts the quarantine",
    Kind.BOX,
    _box("quarantine"),
    default=ON,
)
TO: Final = Field("tag", "Go back to", Kind.CHOICE, _text("tag"), offers=_to)
FREEZE_ENDS: Final = Field(
    "expire_time",
    "It ends after",
    Kind.CHOICE,
    _expire_time,
    offers=lambda _rollout: _spans("somebody ends it", *_ENDS),
)
BAD_TAG: Final = Field("tag", "Tag", Kind.TEXT, _text("tag"), is_required=True, offers=_live)
QUARANTINED_TAG: Final = Field("tag", "Tag", Kind.TEXT, _text("tag"), is_required=True, offers=_quarantined)
RELEASE: Final = Field(
    "release",
    "Release",
    Kind.CHOICE,
    _release,
    is_required=True,
    offers=lambda rollout: [Choice(str(each.number), f"{each.tag}, release {each.number}") for each in rollout.queue],
)
REPO: Final = Field(
    "repo",
    "Repo",
    Kind.TEXT,
    _text("repo"),
    hint="One repo such as acme/app, or all below a prefix: acme/*.",
    is_required=True,
)
CHANNEL: Final = Field(
    "channel",
    "It gets",
    Kind.CHOICE,
    _channel,
    offers=lambda _rollout: [
        Choice("", "the tag below"),
        Choice("CHANNEL_NEXT", "next"),
        Choice("CHANNEL_CURRENT", "current"),
    ],
)
PINNED_TAG: Final = Field(
    "tag",
    "Tag",
    Kind.TEXT,
    _text("tag"),
    hint="Instead of a channel. It may be one that was never released.",
    offers=_live,
)
OVERRIDE_ENDS: Final = Field(
    "expire_time", "It ends after", Kind.CHOICE, _expire_time, offers=lambda _rollout: _spans("never", *_ENDS)
)
