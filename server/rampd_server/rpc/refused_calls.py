"""Logs the calls and requests that are refused because of who calls, and slows the calls down.

The log has no secret and a limited number of lines a second. A refusal costs the server as much as an answer. So if there are
many refusals, each one waits for a moment: a hostile client that waits for its answers then takes little of the server's time.
Each peer has a limit of its own, so that a person who mistypes a token does not wait because of somebody else.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from rampd_server.access.grants import Caller
from rampd_server.access.peers import PeerRates, host_of
from rampd_server.access.quotas import Rate
from rampd_server.domain.errors import DeadlineError, RampdError, Reason
from rampd_server.domain.refusals import component_hidden
from rampd_server.rpc.call import Call, Context

_LOGGED: Final = frozenset({Reason.NO_CREDENTIALS, Reason.BAD_CREDENTIALS, Reason.ROLE_REQUIRED, Reason.LIMIT_EXCEEDED})
_LINES_PER_S: Final = 5.0
_BURST: Final = 50.0
_MOST_OF_PATH: Final = 200

_HELD_S: Final = {
    **dict.fromkeys((Reason.NO_CREDENTIALS, Reason.BAD_CREDENTIALS, Reason.INVALID_FIELD), 1.0),
    Reason.LIMIT_EXCEEDED: 0.3,
}
"""How long a refusal is held. A caller over its limit may be honest and have a deadline, so its refusal is held for less time."""
_AT_ONCE_PER_S: Final = 50.0
_AT_ONCE_BURST: Final = 200.0
_OF_PEER_PER_S: Final = 10.0
_OF_PEER_BURST: Final = 50.0
_STRANGER_HELD_S: Final = 1.0
_MOST_HELD: Final = 4_000
"""The most refusals that are held at a time, because each takes memory. Above this number, they are answered at once."""
_FLOOD_S: Final = 2.0
"""How long a flood still counts as a flood after the last refusal that was above the rate."""
_SHARE_OF_DEADLINE: Final = 0.5

_log = structlog.get_logger(__name__)
_rate = Rate(_LINES_PER_S, _BURST)
_not_logged = 0
_at_once = Rate(_AT_ONCE_PER_S, _AT_ONCE_BURST)
_at_once_of = PeerRates(_OF_PEER_PER_S, _OF_PEER_BURST)
_held = 0
_flooded_until_s = 0.0


def is_flooded() -> bool:
    """Returns whether more calls are refused than can be answered at once. In a flood, the server asks for a proof before it
    reads a request.
    """
    return time.monotonic() < _flooded_until_s


async def hold(refusal: RampdError | DeadlineError, caller: Caller | None, context: Context) -> None:
    """Waits before a refusal is answered, if there are many refusals. The refusal of a wrong request waits only if the caller is
    not proven.
    """
    if not isinstance(refusal, RampdError) or refusal.reason not in _HELD_S:
        return
    if refusal.reason is Reason.INVALID_FIELD and caller is not None:
        return
    await _wait_in_flood(_HELD_S[refusal.reason], context)


async def hold_stranger(context: Context) -> None:
    """Waits before a request is worked on that anybody may send, such as one to sign in, if there are many."""
    await _wait_in_flood(_STRANGER_HELD_S, context)


async def _wait_in_flood(pause_s: float, context: Context) -> None:
    global _held, _flooded_until_s  # noqa: PLW0603 - one server, one number
    now_s = time.monotonic()
    # Its own limit first, so that one peer does not use up that of all.
    if not _at_once_of.take(host_of(context.peer()), now_s) and not _at_once.take(1, now_s):
        return
    _flooded_until_s = now_s + _FLOOD_S
    if _held >= _MOST_HELD:
        return
    left_s = context.time_remaining()
    _held += 1
    try:
        await asyncio.sleep(pause_s if left_s is None else min(pause_s, _SHARE_OF_DEADLINE * left_s))
    finally:
        _held -= 1


def tell_of_hidden(call: Call, components: Iterable[str]) -> None:
    """Logs if entries of a request are about components that the caller does not see: one line a call, with one component."""
    if call.caller.grant.sees_every_component:
        return
    hidden = next((each for each in components if not call.sees(each)), None)
    if hidden is not None:
        tell(component_hidden(component=hidden), call.name, call.caller, call.context)


def tell(refusal: RampdError | DeadlineError, method: str, caller: Caller | None, context: Context) -> None:
    """Logs a refusal if its reason is who calls. The next line has the number of refusals that the rate left out."""
    if isinstance(refusal, RampdError) and (refusal.reason in _LOGGED or refusal.log_message):
        identity = caller.identity if caller else None
        _write(method, identity, context.peer, refusal.reason, refusal.log_message or refusal.message)


def tell_of_request(path: str, peer: Callable[[], str], reason: str, why: str) -> None:
    """Logs a request over HTTP that is refused before anybody asks who calls. The rate is the same as for calls."""
    _write(path.removeprefix("/")[:_MOST_OF_PATH], None, peer, reason, why)


def _write(method: str, identity: str | None, peer: Callable[[], str], reason: str, why: str) -> None:
    global _not_logged  # noqa: PLW0603 - one log, one rate
    if _rate.take(1, time.monotonic()):
        _not_logged += 1
        return
    _log.warning(
        "call_refused",
        method=method,
        identity=identity,
        peer=peer(),
        reason=reason,
        why=why,
        not_logged=_not_logged,
    )
    _not_logged = 0
