"""stdin, stdout and stderr of the process, where whoever started it has closed them."""

import os
import sys


def open_closed() -> None:
    """Opens those that are closed. Otherwise the first connections get their numbers, and libuv aborts when it closes one of these.

    What is logged is thrown away then. `sys.stdin` and `sys.stdout` stay None, so that nothing is exported to nowhere.
    """
    # The first free number is that of the first closed one.
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(opened, True)
    os.close(opened)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
