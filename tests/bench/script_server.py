"""The least that a write needs: `python -m tests.bench.script_server REDIS_URL` runs one small script for each Resolve.

It is a bare echo with a bare EVALSHA, through the same client of Redis as rampd. It prints its port, and ends on SIGTERM.
"""

import asyncio
import signal
import sys

import grpc
import uvloop

from rampd import v1
from rampd.v1 import resolver_service_pb2_grpc as generated
from rampd_server.storage.connection import connect
from tests.bench.echo_server import ANSWER, OPTIONS

SCRIPT = "return redis.call('INCR', KEYS[1])"


class ScriptEcho(generated.ResolverServiceServicer):
    def __init__(self, url: str) -> None:
        self.script = connect(url, timeout_s=1.0, max_connections=4).register_script(SCRIPT)

    async def Resolve(self, request: v1.ResolveRequest, _context: object) -> v1.ResolveResponse:  # noqa: N802
        await self.script(("bare",))
        return ANSWER


async def serve(url: str) -> None:
    server = grpc.aio.server(options=OPTIONS)
    generated.add_ResolverServiceServicer_to_server(ScriptEcho(url), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
