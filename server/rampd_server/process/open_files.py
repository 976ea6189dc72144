"""Open files: raises the limit of this process, and reserves some files for the store and for the server itself."""

import asyncio
import os
import resource
from typing import Final

import structlog

KEPT: Final = 128
"""Open files that are not for callers: connections to the store and to Prometheus, and files of gRPC, Python and rampd."""
_MOST: Final = 1_000_000
"""More connections than any server has. gRPC counts connections in 32 bits."""
_NEAR: Final = 0.8
_LOOK_S: Final = 5.0

log = structlog.get_logger()


def raise_limit() -> int:
    """Raises the soft limit of open files to the hard limit if the system allows it. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has a hard limit that it does not grant
        return _count(soft)
    return _count(hard)


def connections_of_each(limit: int, listeners: int) -> int:
    """Returns how many connections each listener may take, so that all listeners together leave `KEPT` files."""
    return max(1, (min(limit, _MOST) - KEPT) // listeners)


def spare(limit: int, number: int) -> int:
    """Returns how many more files may be opened besides `number` open ones and `KEPT`."""
    return max(0, min(_count(limit), _MOST) - number - KEPT)


async def tell_when_near(connections: int) -> None:
    """Logs when the number of open files comes near to the connections that a listener may have, and when it has fallen
    again. Runs for ever, or returns if the system does not show the number.
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
                    what_to_do="raise the hard limit of open files (ulimit -Hn, LimitNOFILE=), or start more servers: above "
                    "the limit, new callers are refused with UNAVAILABLE",
                )
            else:
                log.info("connections_below_limit", open=number, connections=connections)
        await asyncio.sleep(_LOOK_S)


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only names, and there may be many
    except OSError:
        return None


def _count(limit: int) -> int:
    return _MOST if limit == resource.RLIM_INFINITY else limit
