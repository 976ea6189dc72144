"""Ports that a test must know before a program listens on them.

The system takes ports for connections and for port 0 from 32768 on. These are below it, and each worker of pytest has its own, so that
nobody takes one before the program does.
"""

import itertools
import os
import random
import socket
from collections.abc import Iterator
from typing import Final

_FIRST, _OF_WORKER, _WORKERS = 12_000, 1_200, 16
_OF_THE_SYSTEM = 32_768
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw15").removeprefix("gw")) % _WORKERS


def _turn() -> Iterator[int]:
    first = _FIRST + _WORKER * _OF_WORKER
    # Not always the same: another pytest may run on this machine.
    begin = random.randrange(_OF_WORKER)
    return itertools.cycle(first + (begin + place) % _OF_WORKER for place in range(_OF_WORKER))


_PORTS: Final = _turn()


def free_ports(number: int) -> list[int]:
    """Returns ports of the loopback that nobody listens on. None of them comes again soon."""
    return list(itertools.islice(filter(_is_free, _PORTS), number))


def free_port() -> int:
    """Returns one such port."""
    return free_ports(1)[0]


def free_address() -> str:
    """Returns the address of one such port: `127.0.0.1:12345`."""
    return f"127.0.0.1:{free_port()}"


def require_kept(address: str) -> None:
    """Raises AssertionError if another program may take an address before the program that a test starts on it."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) < _OF_THE_SYSTEM:
        return
    with socket.socket() as probe:
        assert not probe.connect_ex((host, int(port))), (
            f"take free_port() for {address}: the system may give its port away"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
