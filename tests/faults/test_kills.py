"""Servers and Redis are killed under load: no acknowledged change is lost, and no change is made twice."""

import contextlib
import signal
import threading
import time
from pathlib import Path

import grpc

from rampd_server.domain.rollout.model import Absent
from tests.replay import fields_in_words, replay
from tests.servers import ServerProcess, rampd_server, stubs
from tests.stores import REDIS, StoreServer, store_server

C = "restyler"
AOF = {"appendonly": "yes", "appendfsync": "always"}


class Writer(threading.Thread):
    """Ramps again and again until `is_over`. Repeats each change with one request id until it is acknowledged, and keeps its
    revision.
    """

    def __init__(self, name: str, target: str) -> None:
        super().__init__(daemon=True)
        self.writer = name
        self.endpoint = target
        self.acknowledged: list[int] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.is_over.is_set():
            number += 1
            self._repeat_until_acknowledged(number)

    def _repeat_until_acknowledged(self, number: int) -> None:
        while not self.is_over.is_set():
            with contextlib.suppress(grpc.RpcError), stubs(self.endpoint) as call:
                answer = call(
                    "Ramp",
                    component=C,
                    percent=number % 100 + (0.25 if self.writer == "a" else 0.5),
                    request_id=f"{self.writer}-{number}",
                    note=f"{self.writer}-{number}",
                )
                self.acknowledged.append(answer.revision)
                return
            time.sleep(0.05)


def test_killing_a_server_and_redis_under_writers_loses_nothing(directory: Path) -> None:
    """Given two servers with a writer on each, expect that the history has each acknowledged change once, in order."""
    with contextlib.ExitStack() as redis_runs, contextlib.ExitStack() as servers:
        store = redis_runs.enter_context(store_server(REDIS, directory=directory, **AOF))
        survivor, victim = (
            servers.enter_context(rampd_server(directory / name, "--insecure-admin", "--redis-url", store.url))
            for name in ("a", "b")
        )
        for server in (survivor, victim):
            server.event("serving")
        with stubs(survivor.target) as call:
            call("Release", component=C, tag="t1")
            call("Release", component=C, tag="t2")
        writers = [Writer("a", survivor.target), Writer("b", victim.target)]
        for writer in writers:
            writer.start()
        _wait_for_progress(writers)

        victim.stop(signal.SIGKILL)
        restarted = servers.enter_context(rampd_server(directory / "b", "--insecure-admin", "--redis-url", store.url))
        restarted.event("serving")
        writers[1].endpoint = restarted.target
        _wait_for_progress(writers)

        store.signal(signal.SIGKILL)
        redis_runs.close()
        redis_runs.enter_context(store_server(REDIS, directory=directory, **AOF))
        _wait_for_progress(writers)

        for writer in writers:
            writer.is_over.set()
        for writer in writers:
            writer.join()
        _check(survivor, store, writers)


def _wait_for_progress(writers: list[Writer], by: int = 20) -> None:
    marks = [len(writer.acknowledged) + by for writer in writers]
    end = time.monotonic() + 60
    while any(len(writer.acknowledged) < mark for writer, mark in zip(writers, marks, strict=True)):
        assert time.monotonic() < end
        time.sleep(0.02)


def _check(server: ServerProcess, store: StoreServer, writers: list[Writer]) -> None:
    acknowledged = [revision for writer in writers for revision in writer.acknowledged]
    assert len(set(acknowledged)) == len(acknowledged)
    assert all(writer.acknowledged == sorted(writer.acknowledged) for writer in writers)
    events, token = [], ""
    with stubs(server.target) as call:
        while True:
            page = call("ListEvents", component=C, page_size=1000, page_token=token)
            events += page.events
            token = page.next_page_token
            if not token:
                break
    revisions = [event.revision for event in reversed(events)]
    assert revisions == list(range(1, len(events) + 1))
    assert set(acknowledged) <= set(revisions)
    ids = [event.request_id for event in events if event.request_id]
    assert len(set(ids)) == len(ids)

    import asyncio

    async def read() -> None:
        reader = store.store()
        try:
            history = list(reversed(await reader.events(C, limit=100_000)))
            rollout = (await reader.read(C)).rollout
        finally:
            await reader.close()
        assert not isinstance(rollout, Absent)
        assert replay(history) == fields_in_words(rollout)

    asyncio.run(read())
