"""Connections that stay open for a moment after h2corn has closed them.

When h2corn ends, it tells callers to go elsewhere and closes each connection as soon as its last call is answered. A caller may just
send its next calls then. To the kernel nobody has the connection any more, so it says so to the caller, and gRPC gives up all calls
of the connection: also those whose answers have come, and those that it would have sent elsewhere by itself. So rampd takes a second
descriptor of each connection before h2corn ends. The caller reads in peace where to go, and closes the connection.

A connection that has just been opened is not taken. If a caller with grpcio 1.85 is told to go elsewhere before it has begun to look
after its connection, it notices only the end of the connection. Until then it tries its calls again without a pause, and takes a
gigabyte of memory a second.
"""

import asyncio
import os
import resource
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

from rampd_server.process import open_files

YOUNG_S: Final = 1.0
"""How long a caller may need until it looks after a new connection."""
LINGER_S: Final = 1.0
"""How long a caller may need to read where to go."""
_LOOK_S: Final = 0.03
_CLOSED: Final = getattr(select, "POLLRDHUP", 0)
"""What `poll` says where a caller has closed its side. macOS has no such event: there connections stay open for `LINGER_S`."""
_OWN_FILES: Final = "/dev/fd"
_TCP: Final = (socket.AF_INET, socket.AF_INET6)

_Caller: TypeAlias = tuple[str, int]
"""Host and port."""


class _Held:
    """Connections, each by a descriptor of its own."""

    def __init__(self, descriptors: set[int]) -> None:
        self.descriptors = descriptors
        self._poll = select.poll()
        for each in descriptors:
            self._poll.register(each, _CLOSED)

    async def until_closed(self) -> None:
        """Lets go of each connection when its caller has closed it."""
        while self.descriptors:
            for descriptor, _ in self._poll.poll(0):
                self._let_go(descriptor)
            await asyncio.sleep(_LOOK_S)

    def close(self) -> None:
        """Lets go of all connections."""
        for each in list(self.descriptors):
            self._let_go(each)

    def _let_go(self, descriptor: int) -> None:
        self.descriptors.remove(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)


@asynccontextmanager
async def held(port: int) -> AsyncIterator[None]:
    """Takes the connections of a port of this process, and waits until none of them is young. Lets go of each after the block when its
    caller has closed it, at most `LINGER_S` later.
    """
    connections = _Held(await asyncio.to_thread(_second_descriptors, port))
    try:
        if connections.descriptors:
            await asyncio.sleep(YOUNG_S)
        yield
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await connections.until_closed()
    finally:
        connections.close()


def _second_descriptors(port: int) -> set[int]:
    """Opens a second descriptor of each connection of a port. Takes at most half of the files that may still be opened: the callers
    open new connections at the same time.
    """
    try:
        names = os.listdir(_OWN_FILES)  # noqa: PTH208 - only names, and there may be many
    except OSError:
        return set()
    most = open_files.spare(resource.getrlimit(resource.RLIMIT_NOFILE)[0], len(names)) // 2
    found: set[int] = set()
    for first in map(int, names):
        caller = _caller(first, port)
        # The number of the folder, which is closed by now, may be that of a second descriptor.
        if caller is None or first in found or len(found) >= most:
            continue
        try:
            second = os.dup(first)
        except OSError:
            continue
        # h2corn may have closed the first one meanwhile, and its number may stand for another file by now.
        if _caller(second, port) == caller:
            found.add(second)
        else:
            os.close(second)
    return found


def _caller(descriptor: int, port: int) -> _Caller | None:
    """Who is at the other end of a connection of this port; None if the descriptor is something else. Changes nothing about the
    descriptor: its mode, blocking or not, is also that of h2corn.
    """
    try:
        one = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        if one.family not in _TCP or one.getsockname()[1] != port:
            return None
        caller = one.getpeername()
    except OSError:
        return None
    finally:
        one.detach()
    return caller[0], caller[1]
