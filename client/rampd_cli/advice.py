"""Which command to type next after a refusal, or after a change that leaves something to do.

The sentences of a server are the same for every caller, and call a verb by its name in the API: "Unquarantine it first." This
module knows the commands for it. It reads the reason of a refusal and its metadata, or the rollout in an answer, and never the
sentence.
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
    "HELD": "ramp {component} PERCENT",
    "FROZEN": "unfreeze {component}",
    "NO_PREVIOUS": "release {component} TAG --expedite",
    "TAG_QUARANTINED": "quarantine remove {component} {tag}",
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


def command_of_verb(verb: str) -> str:
    """Returns the command for a verb of the API: `quarantine remove` for `Unquarantine`, `ramp` for `Ramp`."""
    return _OF_VERB.get(verb.lower(), verb.lower())


def next_command(error: Exception, command: str, given: Mapping[str, Any]) -> str:
    """Returns the command line to type after an error of a call; empty if there is none.

    `command` is the name of the command that failed, and `given` are its arguments.
    """
    reason, metadata = getattr(error, "reason", ""), getattr(error, "metadata", {})
    shape = _BY_REASON.get(reason, "")
    if reason == "FROZEN" and metadata.get("scope") == "all":
        shape = "unfreeze --all"
    elif reason == "TAG_QUARANTINED" and command == "release":
        shape = "release {component} {tag} --force"
    elif reason == "NO_ROLLOUT" and command == "rollback":
        shape = "revert {component}"
    elif reason == "NOT_QUEUED" and metadata.get("state") == "NEXT":
        shape = "abandon {component}"
    elif reason == "RELEASE_NOT_FOUND" and command == "cancel":
        shape = "queue list {component}"
    if not shape:
        return ""
    # A command for files has no component among its arguments.
    component = _component({**metadata, **given})
    return f"rampd {shape.format(component=component, tag=_tag(metadata) or _tag(given) or 'TAG')}"


def next_after(verb: str, response: Any, given: Mapping[str, Any]) -> str:
    """Returns the command line to type after a change that was made, or that was made before; empty if there is none.

    `verb` is the name of the method of Admin, and `given` are its arguments.
    """
    if not response.HasField("rollout"):
        return ""
    rollout, shape = response.rollout, ""
    is_current = verb == "quarantine" and rollout.current.tag == given.get("tag")
    if is_current and not any(each.tag != rollout.current.tag for each in rollout.previous):
        shape = _BY_REASON["NO_PREVIOUS"]
    elif is_current or (verb == "revert" and not response.changed):
        shape = "revert {component} --to TAG"
    elif rollout.freezes and (verb == "unfreeze" or (verb == "release" and _waits(rollout))):
        shape = "unfreeze --all" if all(freeze.all for freeze in rollout.freezes) else "unfreeze {component}"
    return f"rampd {shape.format(component=_component({'component': rollout.component}))}" if shape else ""


def _waits(rollout: Any) -> bool:
    """Whether only a freeze keeps a release from starting."""
    return bool(rollout.queue) and not rollout.HasField("next")


def _component(given: Mapping[str, Any]) -> str:
    from rampd._contract.grammar import COMPONENT  # noqa: PLC0415 - only after an error of a call

    name = given.get("component")
    return name if isinstance(name, str) and COMPONENT.matches(name) else "COMPONENT"


def _tag(texts: Mapping[str, Any]) -> str:
    """A tag as a word of a shell. Empty if there is none, or none that a server may send: it is data of other people."""
    import shlex  # noqa: PLC0415 - as above

    from rampd._contract.grammar import TAG  # noqa: PLC0415 - as above

    tag = texts.get("tag")
    return shlex.quote(tag) if isinstance(tag, str) and TAG.matches(tag) else ""
