"""The verbs of the page, one entry each: what a person fills in, and when its button makes sense. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from google.protobuf.message import Message

from rampd import v1
from rampd._standing.standing import Kind, standing
from rampd._standing.tone import Tone
from rampd_server.page import verb_fields as fields
from rampd_server.page.verb_fields import Field

May = Mapping[str, bool]
"""Whether a person may call a method, such as `Rollback`, or set a flag of a request, such as `all`."""

WHOLE_NAMESPACE: Final = "all"
"""The flag of a request that is about all components."""


class Button(NamedTuple):
    """A link to the form of a verb."""

    label: str
    href: str
    tone: str


@dataclass(frozen=True, slots=True)
class Verb:
    """A method that changes something, as the page has it."""

    method: str
    label: str
    """That of its button."""
    tone: Tone
    makes_sense: Callable[[v1.Rollout], bool] = lambda _rollout: True
    """Whether its button is shown, by the state of the component."""
    fields: tuple[Field, ...] = ()
    is_of_entry: bool = False
    """Whether it is about one entry of a list, such as a release of the queue. Its button is beside the entry."""
    is_of_all: bool = False
    """Whether it is about all components."""
    other_word: str = ""
    """The verb in an address, where another one has the same method."""

    @property
    def word(self) -> str:
        """The verb in an address: `cancel-release`."""
        return self.other_word or re.sub(r"(?<!^)(?=[A-Z])", "-", self.method).lower()

    @property
    def route(self) -> str:
        """The addresses of the verb, as a route has them."""
        return f"/{self.word}" if self.is_of_all else f"/components/{{component}}/{self.word}"

    @property
    def guards_next(self) -> bool:
        """Whether the request names the tag of next, so that it is refused if next is another release."""
        is_asked_for = any(each.name == "tag" for each in self.fields)
        return not is_asked_for and "tag" in self._request.DESCRIPTOR.fields_by_name

    @property
    def answer(self) -> type[Message]:
        """The message of the answer."""
        return _message(f"{self.method}Response")

    @property
    def _request(self) -> type[Message]:
        return _message(f"{self.method}Request")

    def about(self, component: str) -> Message:
        """Returns the request for a component, or for all, with nothing else in it."""
        return self._request(all=True) if self.is_of_all else self._request(component=component)

    def is_open_to(self, may: May) -> bool:
        """Whether a person may do it."""
        return may[self.method] and (not self.is_of_all or may[WHOLE_NAMESPACE])

    def address(self, component: str = "") -> str:
        """Returns the path of the verb, for a component."""
        return self.route.replace("{component}", quote(component, safe=""))

    def button(self, rollout: v1.Rollout, **given: str) -> Button:
        """Returns the link to its form, which carries what the person sees. `given` are texts for the fields of the form."""
        seen = {"tag": rollout.next.tag} if self.guards_next else {}
        query = urlencode({**seen, **given, "revision": rollout.revision})
        return Button(self.label, f"{self.address(rollout.component)}?{query}", self.tone)

    def is_complete(self, given: Mapping[str, str]) -> bool:
        """Whether everything that the verb needs is filled in."""
        return all(field.text(given) for field in self.fields if field.is_required)

    def request(self, component: str, given: Mapping[str, str], made: datetime) -> Any:  # noqa: ANN401 - any request
        """Returns the request, without its guard of the revision. `given` are the texts of a form that was made at a moment.
        Raises ValueError with a sentence.
        """
        request: Any = self.about(component)
        request.note = given.get("note", "").strip()
        if self.guards_next:
            request.tag = given.get("tag", "")
        for field in self.fields:
            fields.put(request, field, given, made)
        return request


def verbs_for(rollout: v1.Rollout, may: May, *, is_driven: bool = False) -> list[Button]:
    """Returns the buttons of a component: of what this person may do, and what makes sense now. `is_driven`: the plan drives the
    rollout, so there is nothing to resume unless it is paused.
    """
    if not rollout.HasField("current"):
        # Its data can't be read.
        return []
    idle = {"Resume"} if is_driven and not rollout.paused else set()
    shown = (each for each in VERBS if _has_button(each, may) and each.method not in idle)
    return [each.button(rollout) for each in shown if each.makes_sense(rollout)]


def verbs_for_all(*, is_frozen: bool, may: May) -> list[Button]:
    """Returns the buttons that are about all components."""
    method = "Unfreeze" if is_frozen else "Freeze"
    shown = (each for each in VERBS if each.is_of_all and each.method == method and each.is_open_to(may))
    return [Button(each.label, each.address(), each.tone) for each in shown]


def entry_button(method: str, rollout: v1.Rollout, may: May, **given: str) -> Button | None:
    """Returns the button of a verb about one entry of a list; None if this person may not do it. `given` names the entry by the
    fields of the request: `release="5"`, `repo="acme/app"`, `tag="20200301"`.
    """
    verb = next(each for each in VERBS if each.method == method and not each.is_of_all)
    return verb.button(rollout, **given) if verb.is_open_to(may) else None


def _has_button(verb: Verb, may: May) -> bool:
    return not verb.is_of_entry and not verb.is_of_all and verb.is_open_to(may)


def _message(name: str) -> type[Message]:
    found: type[Message] = getattr(v1, name)
    return found


def _has_next(rollout: v1.Rollout) -> bool:
    return rollout.HasField("next")


def _is_rolling_out(rollout: v1.Rollout) -> bool:
    return rollout.state == v1.ROLLOUT_STATE_ROLLING_OUT


def _may_rise(rollout: v1.Rollout) -> bool:
    return not rollout.frozen and v1.CHANNEL_NEXT not in rollout.quarantined


def _waits_for_confirm(rollout: v1.Rollout) -> bool:
    return _is_rolling_out(rollout) and rollout.HasField("confirm_deadline")


def _can_move(rollout: v1.Rollout) -> bool:
    return _has_next(rollout) and (rollout.next_percent > 0 or _may_rise(rollout))


def _can_pause(rollout: v1.Rollout) -> bool:
    return _is_rolling_out(rollout) and not rollout.paused


def _waits_for_approval(rollout: v1.Rollout) -> bool:
    return standing(rollout).kind is Kind.APPROVAL


def _can_approve(rollout: v1.Rollout) -> bool:
    return _waits_for_approval(rollout) and not rollout.frozen


def _can_resume(rollout: v1.Rollout) -> bool:
    # Without a pause, it gives a rollout that was ramped by hand back to the plan.
    goes_on = _is_rolling_out(rollout) and not rollout.frozen and (rollout.paused or bool(rollout.policy.steps))
    return goes_on and not _waits_for_approval(rollout)


def _can_revert(rollout: v1.Rollout) -> bool:
    # While jobs get next, it is next that is rolled back, unless current is known to be bad.
    is_current = not rollout.next_percent or v1.CHANNEL_CURRENT in rollout.quarantined
    return is_current and bool(fields.before(rollout))


def _can_finalize(rollout: v1.Rollout) -> bool:
    return _is_rolling_out(rollout) and rollout.next_percent > 0 and _may_rise(rollout)


def _is_frozen_itself(rollout: v1.Rollout) -> bool:
    return any(not freeze.all for freeze in rollout.freezes)


VERBS: Final = (
    Verb("Confirm", "Confirm", Tone.MOVES, _waits_for_confirm),
    Verb("Ramp", "Ramp", Tone.MOVES, _can_move, (fields.PERCENT, fields.CONFIRM_WITHIN)),
    Verb("Resume", "Resume", Tone.MOVES, _can_resume),
    Verb("Resume", "Approve", Tone.MOVES, _can_approve, other_word="approve"),
    Verb("Pause", "Pause", Tone.WAITS, _can_pause),
    Verb("Finalize", "Finalize", Tone.MOVES, _can_finalize),
    Verb("Rollback", "Roll back", Tone.BAD, _is_rolling_out, (fields.QUARANTINE_NEXT,)),
    Verb("Abandon", "Abandon", Tone.BAD, _has_next, (fields.QUARANTINE_NEXT,)),
    Verb("Revert", "Revert", Tone.BAD, _can_revert, (fields.TO, fields.QUARANTINE_CURRENT)),
    Verb("Freeze", "Freeze", Tone.WAITS, lambda rollout: not _is_frozen_itself(rollout), (fields.FREEZE_ENDS,)),
    Verb("Unfreeze", "Unfreeze", Tone.WAITS, _is_frozen_itself),
    Verb("Quarantine", "Quarantine a tag", Tone.BAD, fields=(fields.BAD_TAG,)),
    Verb(
        "SetOverride",
        "Set an override",
        Tone.FAINT,
        fields=(fields.REPO, fields.CHANNEL, fields.PINNED_TAG, fields.OVERRIDE_ENDS),
    ),
    Verb("CancelRelease", "Take out of the queue", Tone.BAD, fields=(fields.RELEASE,), is_of_entry=True),
    Verb("Unquarantine", "Unquarantine", Tone.WAITS, fields=(fields.QUARANTINED_TAG,), is_of_entry=True),
    Verb("DeleteOverride", "Delete", Tone.BAD, fields=(fields.REPO,), is_of_entry=True),
    Verb("Freeze", "Freeze everything", Tone.WAITS, fields=(fields.FREEZE_ENDS,), is_of_all=True),
    Verb("Unfreeze", "Unfreeze everything", Tone.WAITS, is_of_all=True),
)
"""Every verb of the page, in the order of its buttons."""
