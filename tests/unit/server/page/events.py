"""Histories as messages, for views that are drawn without a server. All times are before NOW."""

from datetime import datetime

from rampd import v1
from tests.cli.rollouts import ago

Changes = dict[str, tuple[str | None, str | None]]
"""The fields, each with the text before and after."""


def event(
    action: str, at: datetime, changes: Changes, *, actor: str = "ada", note: str = "", all_: bool = False
) -> v1.Event:
    made = v1.Event(action=action, actor=actor, note=note, component="" if all_ else "restyler", revision=5)
    made.time.FromDatetime(at)
    made.id = f"{int(at.timestamp() * 1000)}-7"
    for field, (before, after) in changes.items():
        made.changes.append(v1.FieldChange(field=field, before=before, after=after))
    return made


def starts(number: int, tag: str, at: datetime, *, after: tuple[int, str] | None = None) -> v1.Event:
    """A release becomes next, at 0 %."""
    before = (None, None) if after is None else (str(after[0]), after[1])
    changes: Changes = {"next": (before[0], str(number)), "next_tag": (before[1], tag)}
    if after is None:
        changes |= {"state": ("STEADY", "ROLLING_OUT"), "next_percent": (None, "0")}
    return event("Release", at, changes, actor="ci")


def goes(before: str, after: str, at: datetime, action: str = "Step") -> v1.Event:
    return event(action, at, {"next_percent": (before, after)}, actor="rampd", note=f"From {before} to {after}.")


def ramped() -> list[v1.Event]:
    """The history of `tests.cli.rollouts.ramping()`, newest first: 4 became next an hour ago, and is at 25 % since half an hour."""
    return [
        goes("10", "25", ago(minutes=30)),
        event("Hold", ago(minutes=40), {}, actor="rampd", note="The clock was set."),
        event("SetOverride", ago(minutes=45), {"override/acme/app": (None, "next")}),
        goes("0", "10", ago(minutes=50)),
        starts(4, "20200409", ago(hours=1)),
    ]
