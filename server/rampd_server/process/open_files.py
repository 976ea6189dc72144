"""Open files: as many as the system lets this process have, and some kept from callers for the store and for itself."""

import asyncio
import os
import resource
from typing import Final

import structlog

KEPT: Final = 128
"""Files that are not for callers: connections to the store and to Prometheus, what gRPC and Python need, a file to read."""
_MOST: Final = 1_000_000
"""More connections than this nobody has, and gRPC counts them in 32 bits."""
_NEAR: Final = 0.8
_LOOK_S: Final = 5.0

log = structlog.get_logger()


def raise_limit() -> int:
    """Raises the soft limit of open files to the hard one, where the system lets us; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has a hard limit that it does not grant
        return _count(soft)
    return _count(hard)


def connections_of_each(limit: int, listeners: int) -> int:
    """How many connections each listener may take, so that all together leave `KEPT` files."""
    return max(1, (min(limit, _MOST) - KEPT) // listeners)


async def tell_when_near(connections: int) -> None:
    """Says in the log when there are nearly as many open files as a listener may have connections, and when there are fewer
    again; for ever, where it can be seen.
    """
    is_near = False
    while (number := _open_files()) is not None:
        if is_near != (number >= _NEAR * connections):
            is_near = not is_near
            if is_near:
                log.warning(
                    "connections_near_limit",
                    open=number,
                    connections=connections,
                    what_to_do="raise the hard limit of open files (ulimit -Hn, LimitNOFILE=), or start more servers: beyond "
                    "it new callers are refused with UNAVAILABLE",
                )
            else:
                log.info("connections_below_limit", open=number, connections=connections)
        await asyncio.sleep(_LOOK_S)


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only, of which there may be many
    except OSError:
        return None


def _count(limit: int) -> int:
    return _MOST if limit == resource.RLIM_INFINITY else limit
