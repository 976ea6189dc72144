"""TCP ports: whether one is free, and how one is kept for several processes."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from rampd_server.process.address import Address
from rampd_server.process.startup import StartupError


def check_free(address: Address) -> None:
    """Binds and lets go again, since gRPC says of a failure that there was one and not which. Raises StartupError."""
    for family, where in _places(address):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(where)
            except OSError as error:
                if _is_missing(error, address):
                    continue
                raise _taken(address, error) from error


@contextmanager
def held(address: Address) -> Iterator[Address]:
    """Keeps a port for processes of this user that bind it with SO_REUSEPORT, for as long as the block lasts; the address
    with the port that the system chose. What listens gets connections, and this does not listen. Raises StartupError.
    """
    if address.port:
        # With SO_REUSEPORT the holder would join another server's port.
        check_free(address)
    port = address.port
    with ExitStack() as stack:
        for family, where in _places(address):
            holder = stack.enter_context(socket.socket(family))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                holder.bind((where[0], port, *where[2:]))
            except OSError as error:
                if _is_missing(error, address):
                    continue
                raise _taken(address, error) from error
            port = holder.getsockname()[1]
        yield replace(address, port=port)


def _places(address: Address) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in found]


def _is_missing(error: OSError, address: Address) -> bool:
    """Many machines have one of the two addresses of localhost only."""
    return error.errno == errno.EADDRNOTAVAIL and address.host == "localhost"


def _taken(address: Address, error: OSError) -> StartupError:
    return StartupError(
        f"Can't listen on {address}: {os.strerror(error.errno or 0)}. "
        "Give another --listen (RAMPD_LISTEN); with port 0 the system chooses a free one."
    )
