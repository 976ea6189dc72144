"""Support for programs with green threads: what gRPC and the watching thread need there.

gRPC waits in C, and meanwhile no other greenlet of the thread runs. With gevent, gRPC can wait in gevent's own threads.
"""

import sys

from rampd.errors import InvalidArgumentError


def adapt_grpc() -> None:
    """Makes gRPC let greenlets run, if gevent has patched threads. Call it before a channel is made."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        from grpc.experimental import gevent  # noqa: PLC0415 - it needs gevent

        gevent.init_gevent()


def check_threads() -> None:
    """Raises InvalidArgumentError if a watching thread would stop the whole program."""
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
