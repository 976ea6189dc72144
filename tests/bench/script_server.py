"""The least that a write needs: `python -m tests.bench.script_server KIND REDIS_URL` runs one small script for each Resolve.

It is a bare echo with a bare EVALSHA. KIND is what sends it: `redis-py`, with the settings of rampd, or `rampd`, over its one connection
for scripts. It prints its port, and ends on SIGTERM.
"""

import asyncio
import signal
import sys

import grpc
import uvloop
from redis.asyncio import Redis

from rampd import v1
from rampd.v1 import resolver_service_pb2_grpc as generated
from rampd_server.storage.connection import connect
from tests.bench.echo_server import ANSWER, OPTIONS

SCRIPT = "return redis.call('INCR', KEYS[1])"


class ScriptEcho(generated.ResolverServiceServicer):
    def __init__(self, kind: str, url: str) -> None:
        client: Redis = connect(url, timeout_s=1.0, max_connections=4)
        if kind == "redis-py":
            client = Redis.from_pool(client.connection_pool)
        self.script = client.register_script(SCRIPT)

    async def Resolve(self, request: v1.ResolveRequest, _context: object) -> v1.ResolveResponse:  # noqa: N802
        await self.script(("bare",))
        return ANSWER


async def serve(kind: str, url: str) -> None:
    server = grpc.aio.server(options=OPTIONS)
    generated.add_ResolverServiceServicer_to_server(ScriptEcho(kind, url), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
