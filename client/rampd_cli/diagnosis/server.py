"""Checks of a server itself: its version, its state, its clock, and who gets in."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from rampd._contract.wording import counted, span
from rampd_cli.diagnosis.facts import Facts
from rampd_cli.diagnosis.finding import Finding, ok, problem, warning

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from rampd import v1

CLOCK_TOLERANCE_S: Final = 2.0
_UNKNOWN_AGE_S: Final = 1e8
"""A server that does not know the age of its state says an age of over thirty years."""
_EVERY_USER: Final = "Every user of the server's machine"
_ASK_FOR_PROOF: Final = (
    "Start the server with --access-file FILE (`rampd-server token create NAME --role ROLE --access-file FILE` makes one), and "
    "without --insecure-admin."
)
_VERSION, _STALENESS, _COMPONENTS, _CLOCK, _EXPOSURE = "version", "staleness", "components", "clock", "exposure"


def version(facts: Facts) -> Finding | None:
    """Whether the server and this command have the same version."""
    if facts.answer_error is not None:
        return _not_told(facts, facts.answer_error.reason, facts.answer_error.message)
    if (server := facts.server) is None:
        return None
    here, there = facts.client_version, server.version
    text = f"The server has rampd {there}, and this command has rampd {here}."
    if _series(here) == _series(there):
        return ok(_VERSION, text)
    if _series(here) < _series(there):
        return warning(_VERSION, text, f"Update this command: pip install 'rampd[cli]=={there}'")
    return warning(
        _VERSION,
        text,
        f"Update the server (pip install 'rampd[server]=={here}'), then start it again. docs/operations.md",
    )


def _not_told(facts: Facts, reason: str, message: str) -> Finding:
    if reason == "NOT_IMPLEMENTED":
        return warning(
            _VERSION,
            f"The server is older than this command (rampd {facts.client_version}): it does not tell how it is set up.",
            "Update the server: pip install --upgrade 'rampd[server]', then start it again.",
        )
    if reason == "ROLE_REQUIRED":
        return warning(
            _VERSION,
            "This credential may not ask how the server is set up, so nothing below is checked.",
            f"Use a credential with the role viewer or a higher one: RAMPD_TOKEN_FILE=FILE {facts.command('doctor')}",
        )
    return problem(
        _VERSION, message, f"Type again: {facts.command('doctor')}. If it stays, look at the log of the server."
    )


def _series(version: str) -> tuple[int, ...]:
    """The first two numbers: versions that share them work together as well as equal ones."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def staleness(facts: Facts) -> Finding | None:
    """Whether the server follows its store."""
    if (server := facts.server) is None:
        return None
    advice = "Correct what `store` says. Until then nothing can be changed."
    if not server.HasField("snapshot_age"):
        return problem(_STALENESS, "The server has no state yet, so it answers no job.", advice)
    age_s = server.snapshot_age.seconds + server.snapshot_age.nanos / 1e9
    ago = "at a time that is not known" if age_s > _UNKNOWN_AGE_S else f"{span(int(age_s * 1000))} ago"
    if server.stale:
        return problem(
            _STALENESS, f"The store confirmed the server's state {ago}. Jobs get versions of that state.", advice
        )
    return ok(_STALENESS, f"The store confirmed the server's state {ago}.")


def components(facts: Facts) -> Finding | None:
    """Whether all data in the store can be read."""
    if (server := facts.server) is None:
        return None
    here = f"{counted(server.components, 'component')} in the namespace {server.namespace}"
    if server.damaged_components:
        return problem(
            _COMPONENTS,
            f"{here}. The data of {counted(server.damaged_components, 'component')} can't be read.",
            f"See which ones, and why: {facts.command('status')}",
        )
    return ok(_COMPONENTS, f"{here}.")


def clock(facts: Facts) -> Finding | None:
    """Whether this machine, the server and the store have the same time. The time that the call took is no difference."""
    if (answer := facts.answer) is None:
        return None
    server = answer.server
    theirs_s = _seconds(server.time)
    ahead_s = _beyond(theirs_s - (answer.asked_s + answer.came_s) / 2, answer.round_trip_s / 2)
    wrong = []
    if abs(ahead_s) > CLOCK_TOLERANCE_S:
        wrong.append(f"The clock of the server is {_off(ahead_s)} the clock of this machine.")
    if server.HasField("store"):
        store_s = _seconds(server.store.time) - theirs_s
        if abs(store_s) > CLOCK_TOLERANCE_S:
            wrong.append(f"The clock of the store is {_off(store_s)} the clock of the server.")
    if wrong:
        return warning(
            _CLOCK,
            " ".join(wrong),
            "Set the clocks by the network, on each machine: timedatectl set-ntp true. Freezes, overrides and plans go by the "
            "clock of the store.",
        )
    who = "This machine, the server and the store" if server.HasField("store") else "This machine and the server"
    return ok(_CLOCK, f"{who} have the same time, within {CLOCK_TOLERANCE_S:g} s.")


def exposure(facts: Facts) -> Finding | None:
    """Whether somebody may do or read what they should not."""
    if (server := facts.server) is None:
        return None
    found: dict[_Open, list[str]] = {}
    for listener in server.listeners:
        for each in _open(listener):
            found.setdefault(each, []).append(listener.address)
    if not found:
        return ok(_EXPOSURE, "No address takes changes from everybody, and none sends tokens in the clear.")
    make = problem if any(each.is_bad for each in found) else warning
    said = " ".join(f"{each.what}: {', '.join(addresses)}." for each, addresses in found.items())
    return make(_EXPOSURE, said, " ".join(dict.fromkeys(each.advice for each in found)))


class _Open(NamedTuple):
    """A way in that should not be there."""

    what: str
    advice: str
    is_bad: bool = False


def _open(listener: "v1.Listener") -> Iterator[_Open]:
    is_socket, is_on_network = listener.address.startswith("unix:"), listener.reach == "network"
    if is_socket and listener.reach == "machine" and listener.changes_without_credentials:
        yield _Open(f"{_EVERY_USER} may change rollouts, over a socket", "Start the server with --socket-mode 600.")
    elif listener.reach == "machine" and listener.changes_without_credentials:
        yield _Open(f"{_EVERY_USER} may change rollouts without a credential", _ASK_FOR_PROOF)
    elif is_on_network and listener.changes_without_credentials:
        yield _Open("Everybody on the network may change rollouts without a credential", _ASK_FOR_PROOF, is_bad=True)
    elif is_on_network and not listener.requires_credentials:
        yield _Open(
            "Everybody on the network can read rollouts without a credential",
            "Look for `everybody = true` in the access file.",
        )
    if is_on_network and not listener.tls:
        yield _Open(
            "The network sees all that is sent, tokens too, because there is no TLS",
            "Start the server with --tls-cert FILE --tls-key FILE, and without --insecure-plaintext.",
        )


def _beyond(difference_s: float, uncertain_s: float) -> float:
    """Returns the part of a difference that the time of the call does not explain."""
    if abs(difference_s) <= uncertain_s:
        return 0.0
    return difference_s - uncertain_s if difference_s > 0 else difference_s + uncertain_s


def _off(ahead_s: float) -> str:
    return f"{span(int(abs(ahead_s) * 1000))} {'ahead of' if ahead_s > 0 else 'behind'}"


def _seconds(moment: "Timestamp") -> float:
    return moment.seconds + moment.nanos / 1e9
