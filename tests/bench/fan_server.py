"""The least server to compare Watch with: `python -m tests.bench.fan_server` sends the request of one call to all streams.

Its `Watch` sends one byte at the start of a stream, and then the request of every call of `Push`, unchanged. It is the
same kind of gRPC server as rampd's, also with generic handlers of bytes, and keeps no state. It prints its port, and ends
on SIGTERM.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator

import grpc
import uvloop

from tests.bench.echo_server import OPTIONS

WATCH, PUSH = "/bare.Fan/Watch", "/bare.Fan/Push"


class Fan(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self.waiting: set[asyncio.Future[bytes]] = set()

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler | None":
        if details.method == WATCH:
            return grpc.unary_stream_rpc_method_handler(self.watch)
        return grpc.unary_unary_rpc_method_handler(self.push)

    async def watch(self, _request: bytes, _context: object) -> AsyncGenerator[bytes]:
        yield b"\0"
        while True:
            future = asyncio.get_running_loop().create_future()
            self.waiting.add(future)
            try:
                yield await future
            finally:
                self.waiting.discard(future)

    async def push(self, message: bytes, _context: object) -> bytes:
        for future in self.waiting:
            if not future.done():
                future.set_result(message)
        return b"\0"


async def serve() -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Fan(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve())
