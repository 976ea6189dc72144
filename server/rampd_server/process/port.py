"""TCP ports: checks that a port is free, and keeps a port for several processes."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from rampd_server.process.address import Address
from rampd_server.process.startup import StartupError


def check_free(address: Address) -> None:
    """Binds the address and releases it, because gRPC does not give the reason of a failure. Raises StartupError."""
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
    """Keeps a port for as long as the block lasts, so that processes of this user can bind it with SO_REUSEPORT. Gives
    the address with the port that the system chose. It gets no connections, because it does not listen. Raises
    StartupError.
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
    """Many machines have only one of the two addresses of localhost."""
    return error.errno == errno.EADDRNOTAVAIL and address.host == "localhost"


def _taken(address: Address, error: OSError) -> StartupError:
    return StartupError(
        f"Can't listen on {address}: {os.strerror(error.errno or 0)}. "
        "Give another --listen (RAMPD_LISTEN); with port 0 the system chooses a free port."
    )
