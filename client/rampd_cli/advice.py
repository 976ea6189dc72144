"""Which command to type next after a refusal, or after a change that leaves something to do.

The sentences of a server are the same for every caller, and call a verb by its name in the API: "Unquarantine it first." This
module knows the commands for it. It reads the reason of a refusal and its metadata, or the rollout in an answer, and never the
sentence.

No command changes more components than the one that the person has typed, and none ends a freeze of all or a quarantine: there
the command shows who made it, and why.
"""

from collections.abc import Mapping
from typing import Any, Final

_OF_VERB: Final = {
    "unquarantine": "quarantine remove",
    "listquarantine": "quarantine list",
    "setoverride": "override set",
    "deleteoverride": "override remove",
    "batchsetoverrides": "override import",
    "listoverrides": "override list",
    "setpolicy": "policy apply",
    "getpolicy": "policy show",
    "cancelrelease": "queue cancel",
    "deletecomponent": "delete",
    "getrollout": "status",
    "listrollouts": "status",
    "getrelease": "history",
    "listreleases": "history",
    "listevents": "history",
    "watchrelease": "wait",
    "resolve": "explain",
    "whoami": "doctor",
    "getserver": "doctor",
}
"""The commands for verbs of the API, where the command has another name than the verb."""
_BY_REASON: Final = {
    "COMPONENT_NOT_FOUND": "status",
    "RELEASE_NOT_FOUND": "history {component}",
    "OVERRIDE_NOT_FOUND": "override list {component}",
    "NO_ROLLOUT": "status {component}",
    "TAG_MISMATCH": "status {component}",
    "NOT_RAMPED": "ramp {component} PERCENT",
    "HELD": "status {component}",
    "FROZEN": "unfreeze {component}",
    "NO_PREVIOUS": "release {component} TAG --expedite",
    "TAG_QUARANTINED": "quarantine list {component}",
    "QUEUE_REJECTS": "status {component}",
    "NOT_QUEUED": "status {component}",
    "NOTHING_TO_CONFIRM": "status {component}",
    "ROLLOUT_IN_PROGRESS": "rollback {component}",
    "REVISION_MISMATCH": "status {component}",
    "QUEUE_FULL": "queue list {component}",
    "NO_CREDENTIALS": "doctor",
    "BAD_CREDENTIALS": "doctor",
    "ROLE_REQUIRED": "doctor",
    "UNAVAILABLE": "doctor",
}
_TO_BEFORE: Final = "revert {component} --to {tag}"
_PURPOSES: Final = {
    "unfreeze {component}": "to end {freeze}, if you know that its reason is gone",
    "abandon {component}": "to drop next",
    "rollback {component}": "to take next away from everybody",
    "resume {component}": "to go on all the same",
    "revert {component}": "to give everybody the version before current",
    _TO_BEFORE: "to give everybody {tag} again",
    "ramp {component} PERCENT": "to give it to a share of the repos first",
    "release {component} TAG --expedite": "to give everybody another version at once, with its tag instead of TAG",
}
"""What a command does, for a person who has typed another one: of each command that changes something."""


def command_of_verb(verb: str) -> str:
    """Returns the command for a verb of the API: `quarantine remove` for `Unquarantine`, `ramp` for `Ramp`."""
    return _OF_VERB.get(verb.lower(), verb.lower())


def after_refusal(error: Exception, command: str, given: Mapping[str, Any], at: str = "") -> str:
    """Returns the line that says what to type after an error of a call; empty if no command helps.

    `command` is the name of the command that failed, and `given` are its arguments. `at`: see `Session.at`.
    """
    reason, metadata = getattr(error, "reason", ""), getattr(error, "metadata", {})
    shape = _BY_REASON.get(reason, "")
    if reason == "FROZEN" and metadata.get("scope") == "all":
        shape = "status {component}"
    elif reason == "NO_ROLLOUT" and command == "rollback":
        shape = "revert {component}"
    elif reason == "NOT_QUEUED" and metadata.get("state") == "NEXT":
        shape = "abandon {component}"
    elif reason == "RELEASE_NOT_FOUND" and command == "cancel":
        shape = "queue list {component}"
    # A command for files has no component among its arguments.
    return _line(shape, component=_component({**metadata, **given}), freeze="the freeze", at=at)


def after_change(verb: str, response: Any, given: Mapping[str, Any], at: str = "") -> str:
    """Returns the lines that say what to type after a change that was made, or that was made before; empty if nothing is left to
    do.

    `verb` is the name of the method of Admin, and `given` are its arguments. `at`: see `Session.at`.
    """
    if not response.HasField("rollout"):
        return ""
    rollout, shape = response.rollout, ""
    before = _before(rollout)
    tag = _word(before)
    if verb == "ramp" and rollout.next_percent and _fails(rollout):
        return f"{_paused(rollout, 'is')}\n{after_pause(rollout, at)}"
    if verb == "quarantine" and rollout.current.tag == given.get("tag"):
        shape = _TO_BEFORE if tag else "status {component}" if before else _BY_REASON["NO_PREVIOUS"]
    elif verb == "revert" and not response.changed and not given.get("tag"):
        shape = _TO_BEFORE if tag else "status {component}"
    elif rollout.freezes and (verb == "unfreeze" or (verb == "release" and _waits(rollout))):
        shape = _what_thaws(rollout)
    freeze = _freeze(rollout.freezes[0]) if rollout.freezes else ""
    return _line(shape, component=_component({"component": rollout.component}), freeze=freeze, tag=tag, at=at)


def after_pause(rollout: Any, at: str) -> str:
    """Returns the lines that say what to type about what automation has paused because something is wrong: first what takes it away.
    `at`: see `Session.at`.
    """
    shapes, freeze = ["rollback {component}", "resume {component}"], ""
    if rollout.freezes:
        # What is frozen does not resume.
        shapes[1] = _what_thaws(rollout)
        freeze = _freeze(rollout.freezes[0])
    name = _component({"component": rollout.component})
    return "\n".join(_line(shape, component=name, freeze=freeze, at=at) for shape in shapes)


def before_finalize(rollout: Any) -> str:
    """Says that automation has paused next because it fails, in a sentence. Empty if it has not."""
    return _paused(rollout, "was") if _fails(rollout) else ""


def after_finalize(rollout: Any, at: str) -> str:
    """Returns the line that says what to type if the new current is bad. `at`: see `Session.at`."""
    shape = "revert {component}" if _before(rollout) else _BY_REASON["NO_PREVIOUS"]
    return _line(shape, component=_component({"component": rollout.component}), at=at)


def instead_of_rollback(rollout: Any, at: str) -> str:
    """Returns the line that says what to type if current is bad while next is rolled out; empty if there is no version before it.
    `at`: see `Session.at`.
    """
    tag = _word(_before(rollout))
    purpose = f"to give everybody {tag} again, and to take next away, too"
    name = _component({"component": rollout.component})
    return _line(_TO_BEFORE if tag else "", purpose, component=name, tag=tag, at=at)


def _line(shape: str, purpose: str = "", *, at: str, **parts: str) -> str:
    if not shape:
        return ""
    what_for = purpose or _PURPOSES.get(shape, "").format(**parts)
    return f"Next{', ' if what_for else ''}{what_for}: rampd {shape.format(**parts)}{at}"


def _before(rollout: Any) -> str:
    """The tag that a Revert goes to. Empty if there is none."""
    return next((each.tag for each in rollout.previous if each.tag != rollout.current.tag), "")


def _fails(rollout: Any) -> bool:
    """Whether automation has paused next because it fails."""
    from rampd import v1  # noqa: PLC0415 - the answer of the call imports it anyway

    of_failures = {v1.PAUSE_CAUSE_RELATIVE_GUARD, v1.PAUSE_CAUSE_ABSOLUTE_GUARD, v1.PAUSE_CAUSE_CHECK_FAILED}
    return rollout.paused and rollout.pause.cause in of_failures


def _paused(rollout: Any, verb: str) -> str:
    from rampd._contract.wording import inside, one_line  # noqa: PLC0415 - only for what is paused

    pause = rollout.pause
    return f"{one_line(rollout.next.tag)} {verb} paused by {one_line(pause.actor)}: {inside(one_line(pause.reason))}."


def _what_thaws(rollout: Any) -> str:
    return "status {component}" if any(freeze.all for freeze in rollout.freezes) else "unfreeze {component}"


def _freeze(freeze: Any) -> str:
    """A freeze in a sentence: who made it, and why."""
    from rampd._contract.wording import one_line  # noqa: PLC0415 - only after a change of what is frozen

    by = f" by {one_line(freeze.actor)}" if freeze.actor else ""
    return f"the freeze{by}{f' ({one_line(freeze.note)})' if freeze.note else ''}"


def _waits(rollout: Any) -> bool:
    """Whether only a freeze keeps a release from starting."""
    return bool(rollout.queue) and not rollout.HasField("next")


def _component(given: Mapping[str, Any]) -> str:
    from rampd._contract.grammar import COMPONENT  # noqa: PLC0415 - only after an error of a call

    name = given.get("component")
    return name if isinstance(name, str) and COMPONENT.matches(name) else "COMPONENT"


def _word(tag: str) -> str:
    """A tag as a word of a shell. Empty if there is none, or none that a server may send: it is data of other people."""
    import shlex  # noqa: PLC0415 - as above

    from rampd._contract.grammar import TAG  # noqa: PLC0415 - as above

    return shlex.quote(tag) if TAG.matches(tag) else ""
