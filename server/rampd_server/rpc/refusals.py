"""What the log says of calls that were refused because of who calls. At a bounded rate, and with no secret in it."""

import time
from typing import Final

import structlog

from rampd_server.access.grants import Caller
from rampd_server.access.quotas import Rate
from rampd_server.domain.errors import DeadlineError, RampdError, Reason
from rampd_server.rpc.call import Context

_LOGGED: Final = frozenset({Reason.NO_CREDENTIALS, Reason.BAD_CREDENTIALS, Reason.ROLE_REQUIRED, Reason.LIMIT_EXCEEDED})
_LINES_PER_S: Final = 5.0
_BURST: Final = 50.0

_log = structlog.get_logger(__name__)
_rate = Rate(_LINES_PER_S, _BURST)
_not_logged = 0


def tell(refusal: RampdError | DeadlineError, method: str, caller: Caller | None, context: Context) -> None:
    """Logs a refusal, if it is one because of who calls. What the rate leaves out is counted in the next line."""
    global _not_logged  # noqa: PLW0603 - one log, one rate
    if not isinstance(refusal, RampdError) or refusal.reason not in _LOGGED:
        return
    if _rate.take(1, time.monotonic()):
        _not_logged += 1
        return
    _log.warning(
        "call_refused",
        method=method,
        identity=caller.identity if caller else None,
        peer=context.peer(),
        reason=refusal.reason,
        why=refusal.message,
        not_logged=_not_logged,
    )
    _not_logged = 0
