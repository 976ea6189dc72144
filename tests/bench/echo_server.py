"""The least server to compare with: `python -m tests.bench.echo_server KIND` answers every Resolve with the same message.

It uses the generated servicer, parses the request, and serialises an answer of usual size. It holds no state. KIND is the
way to run gRPC: `asyncio`, `uvloop`, or `blocking`. It prints its port, and ends on SIGTERM.
"""

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import uvloop
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd.v1 import resolver_service_pb2_grpc as generated

OPTIONS = (("grpc.so_reuseport", 0),)
THREADS = 2
ANSWER = v1.ResolveResponse(
    tag="20200304",
    channel=v1.CHANNEL_CURRENT,
    reason=v1.RESOLVE_REASON_WEIGHT,
    release=4,
    attributes={"memory": "2g"},
    bucket=4711,
    revision=16,
    snapshot_age=Duration(nanos=123_000_000),
)


class AsyncEcho(generated.ResolverServiceServicer):
    async def Resolve(self, request: v1.ResolveRequest, _context: object) -> v1.ResolveResponse:  # noqa: N802
        return ANSWER


class BlockingEcho(generated.ResolverServiceServicer):
    def Resolve(self, request: v1.ResolveRequest, _context: object) -> v1.ResolveResponse:  # noqa: N802
        return ANSWER


async def serve() -> None:
    server = grpc.aio.server(options=OPTIONS)
    generated.add_ResolverServiceServicer_to_server(AsyncEcho(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()
    await server.stop(None)


def serve_blocking() -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
    generated.add_ResolverServiceServicer_to_server(BlockingEcho(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    signal.sigwait({signal.SIGTERM})
    server.stop(None).wait()


def main(kind: str) -> None:
    if kind == "blocking":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        serve_blocking()
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if kind == "uvloop" else None) as runner:
            runner.run(serve())


if __name__ == "__main__":
    main(sys.argv[1])
