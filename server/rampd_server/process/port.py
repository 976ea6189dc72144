"""TCP ports: checks that a port is free, binds it, listens at it, and keeps a port for several processes."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from rampd_server.process.address import Address
from rampd_server.process.startup import StartupError

LISTEN = "--listen (RAMPD_LISTEN)"
HTTP = "--http (RAMPD_HTTP)"
FAST = "--fast-listen (RAMPD_FAST_LISTEN)"

_BACKLOG = 2048


def check_free(address: Address, *, setting: str = LISTEN) -> None:
    """Binds the address and releases it, because gRPC does not give the reason of a failure. `setting` is where the address was
    given. Raises StartupError.
    """
    for family, where in _places(address):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(where)
            except OSError as error:
                if _is_missing(error, address):
                    continue
                raise _taken(address, error, setting) from error


@contextmanager
def held(address: Address, *, setting: str = LISTEN) -> Iterator[Address]:
    """Keeps a port for as long as the block lasts, so that processes of this user can bind it with SO_REUSEPORT. Gives
    the address with the port that the system chose. It gets no connections, because it does not listen. Raises
    StartupError.
    """
    if address.port:
        # With SO_REUSEPORT the holder would join another server's port.
        check_free(address, setting=setting)
    sockets, bound_address = bound(address, shares_port=True, setting=setting)
    with ExitStack() as stack:
        for each in sockets:
            stack.enter_context(each)
        yield bound_address


def bound(address: Address, *, shares_port: bool, setting: str) -> tuple[list[socket.socket], Address]:
    """Binds the address: a socket for each address of its host, and the address with the port that the system chose. Raises
    StartupError.
    """
    port = address.port
    with ExitStack() as stack:
        sockets = []
        for family, where in _places(address):
            each = stack.enter_context(socket.socket(family))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shares_port else socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # gRPC's [::] takes IPv4 as well.
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                each.bind((where[0], port, *where[2:]))
            except OSError as error:
                if _is_missing(error, address):
                    continue
                raise _taken(address, error, setting) from error
            port = each.getsockname()[1]
            sockets.append(each)
        stack.pop_all()
    return sockets, replace(address, port=port)


def opened(address: Address, *, shares_port: bool, setting: str) -> tuple[list[socket.socket], Address]:
    """As `bound`, of a port that no other server has unless `shares_port`. The sockets listen and do not block."""
    if address.port and not shares_port:
        check_free(address, setting=setting)
    sockets, found = bound(address, shares_port=shares_port, setting=setting)
    try:
        for each in sockets:
            each.listen(_BACKLOG)
            each.setblocking(False)
    except OSError as error:
        for each in sockets:
            each.close()
        raise StartupError(f"Can't listen on {address}: {error.strerror}. Give another {setting}.") from error
    return sockets, found


def _places(address: Address) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in found]


def _is_missing(error: OSError, address: Address) -> bool:
    """Many machines have only one of the two addresses of localhost."""
    return error.errno == errno.EADDRNOTAVAIL and address.host == "localhost"


def _taken(address: Address, error: OSError, setting: str) -> StartupError:
    return StartupError(
        f"Can't listen on {address}: {os.strerror(error.errno or 0)}. "
        f"Give another {setting}; with port 0 the system chooses a free port."
    )
