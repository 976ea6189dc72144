"""Health, for callers who do not read."""

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2

from rampd_server.rpc.standard import StandardServices
from tests.waiting import PATIENCE_S, eventually_async

Status = health_pb2.HealthCheckResponse


class Watcher:
    """A stream of health's Watch."""

    def __init__(self, *, reads: bool) -> None:
        self.told: list[int] = []
        self._reads = reads

    async def write(self, answer: health_pb2.HealthCheckResponse) -> None:
        self.told.append(answer.status)
        if not self._reads:
            await asyncio.Event().wait()


async def test_a_watcher_that_does_not_read_keeps_nobody_waiting() -> None:
    """Given a watcher that takes nothing more, expect that the others are told of each change, and that the server can end."""
    services = StandardServices(reflect=False)
    await services.set_health(resolves=True, writes=True)
    slow: Any = Watcher(reads=False)
    quick: Any = Watcher(reads=True)
    watch = services._health.Watch
    watching = [asyncio.create_task(watch(health_pb2.HealthCheckRequest(), each)) for each in (slow, quick)]
    await eventually_async(lambda: slow.told == quick.told == [Status.SERVING])
    async with asyncio.timeout(PATIENCE_S):
        await services.set_health(resolves=True, writes=False)
        await eventually_async(lambda: quick.told == [Status.SERVING, Status.NOT_SERVING])
        await services.set_health(resolves=True, writes=True)
        await eventually_async(lambda: quick.told[2:] == [Status.SERVING])
        await services.stop()
        await eventually_async(lambda: quick.told[3:] == [Status.NOT_SERVING])
    assert slow.told == [Status.SERVING]
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
