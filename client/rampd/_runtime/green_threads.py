"""Programs whose threads are green: what gRPC and a thread that watches need there.

gRPC waits in C, where no greenlet of the same thread goes on: with gevent, gRPC has a way to wait in gevent's threads.
"""

import sys

from rampd.errors import InvalidArgumentError


def adapt_grpc() -> None:
    """Call it before a channel is made: from then on gRPC lets greenlets run, where gevent has patched threads."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        from grpc.experimental import gevent  # noqa: PLC0415 - it needs gevent

        gevent.init_gevent()


def check_threads() -> None:
    """Raises InvalidArgumentError where a thread that watches would stop the whole program."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        raise InvalidArgumentError(
            violations=[
                (
                    "mode",
                    "can't be 'local' where eventlet has patched threads, since gRPC would stop them all: use gevent, "
                    "or eventlet.monkey_patch(thread=False), or mode='rpc'",
                )
            ]
        )
