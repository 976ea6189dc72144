"""How long a call may take: the valid time-outs, and the defaults."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rampd._contract.grammar import shown
from rampd._decision.staleness import CATCH_UP_S
from rampd.errors import InvalidArgumentError

if TYPE_CHECKING:
    from rampd._calls.resolve_call import Mode  # it would import what only resolvers need

ADMIN_TIMEOUT_S = 5.0
RESOLVE_TIMEOUT_S: "Mapping[Mode, float]" = {"local": 5.0, "rpc": 1.0}
"""`local` waits only before its first answer, for a whole state."""
_MAX_TIMEOUT_S = 1_000_000_000
"""About 30 years: locks of Python and deadlines of gRPC can still represent it."""


def checked_timeout(timeout: float) -> float:
    """Returns the time-out, in seconds, if it is valid. Raises InvalidArgumentError."""
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout <= _MAX_TIMEOUT_S:
        return timeout
    expected = f"must be a number of seconds above 0, at most {_MAX_TIMEOUT_S:,}"
    raise InvalidArgumentError(violations=[("timeout", f"{expected}; got {shown(timeout)}")])


def resolve_timeout_s(timeout: float | None, default_s: float, min_revision: int) -> float:
    """Returns how long a call of a resolver may take, in seconds. Raises InvalidArgumentError."""
    if timeout is not None:
        return checked_timeout(timeout)
    return default_s + CATCH_UP_S if min_revision else default_s
