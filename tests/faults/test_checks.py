"""Two servers ask a real Prometheus, which scrapes a real exporter; then each of them goes wrong."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd_server.domain.check_counts import CheckCounts
from rampd_server.storage.redis_checks import RedisChecks
from tests.prometheus import exporter, prometheus
from tests.servers import rampd_server, short_directory, stubs
from tests.stores import REDIS, store_server

C = "restyler"
# Counts are looked at here, and nothing is to come of them.
MUCH = 1_000_000
CHECK = v1.Check(
    name="errors",
    query="job_error_rate{tag={{tag}}}",
    interval=Duration(seconds=1),
    max=0.05,
    failures_allowed=MUCH,
    errors_allowed=MUCH,
)
WITHIN_S = 60


class Watcher:
    """Waits for what the servers wrote down of the check, and keeps all that it saw."""

    def __init__(self, checks: RedisChecks, target: str) -> None:
        self._checks = checks
        self.target = target
        self.seen: list[CheckCounts] = []

    async def until(self, is_so: Callable[[CheckCounts], bool]) -> CheckCounts:
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    counts = (await self._checks.counts(C)).get("errors")
                    if counts is not None:
                        self.seen.append(counts)
                        if is_so(counts):
                            return counts
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"never so in {WITHIN_S} s; seen last: {self.seen[-3:]}")


@pytest.fixture
def directory():
    with short_directory() as path:
        yield path


@contextlib.asynccontextmanager
async def watching(url: str, check: v1.Check = CHECK) -> AsyncIterator[Watcher]:
    """Two servers over one Redis that ask what is at `url` about a rollout at 10 %."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(store_server(REDIS))
        flags = ("--insecure-admin", "--redis-url", redis.url, "--prometheus-url", url, "--prometheus-timeout", "0.5")
        folders = [stack.enter_context(short_directory()) for _ in range(2)]
        servers = [stack.enter_context(rampd_server(folder, *flags)) for folder in folders]
        for server in servers:
            await asyncio.to_thread(server.event, "serving")
        with stubs(servers[0].target) as call:
            call("Release", component=C, tag="20200301")
            call("SetPolicy", component=C, policy=v1.Policy(checks=[check]), update_mask={"paths": ["checks"]})
            call("Release", component=C, tag="20200409")
            call("Ramp", component=C, percent=10)
        store = redis.store()
        try:
            yield Watcher(RedisChecks(store), servers[0].target)
        finally:
            await store.close()


async def test_a_value_passes_or_fails_and_a_source_that_is_gone_does_neither(directory: Path):
    """Given a metric by tag, expect next's own value to be judged; if the source hangs, loses its exporter or dies, expect
    errors that say so, and the row of failures as it was.
    """
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as source:
        metrics.set("20200301", "0.9")
        metrics.set("20200409", "0.01")
        async with watching(source.url) as watcher:
            passed = await watcher.until(lambda counts: counts.has_passed)
            assert (passed.value, passed.failures) == (0.01, 0)

            metrics.set("20200409", "0.4")
            failed = await watcher.until(lambda counts: counts.failures >= 2)
            assert failed.value == 0.4

            source.signal(signal.SIGSTOP)
            slow = await watcher.until(lambda counts: counts.errors >= 2)
            assert slow.error == f"{source.url} took longer than 0.5 s"
            failures = slow.failures
            source.signal(signal.SIGCONT)
            metrics.set("20200409", "NaN")
            nan = await watcher.until(lambda counts: "NaN" in counts.error)
            assert nan.failures >= failures

            metrics.kill()
            gone = await watcher.until(lambda counts: "no data" in counts.error)
            source.signal(signal.SIGKILL)
            down = await watcher.until(lambda counts: "connection refused" in counts.error)
            assert down.error == f"connection refused by {source.url}"
            assert (down.failures, down.value) == (gone.failures, gone.value) == (nan.failures, 0.4)


async def test_a_check_whose_metric_nobody_has_never_passes_and_never_fails(directory: Path):
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as source:
        metrics.set("another-tag", "0.01")
        async with watching(source.url) as watcher:
            found = await watcher.until(lambda counts: counts.errors >= 3)

    assert found.error == "there is no data: the query finds no series"
    assert not any(counts.has_passed or counts.failures for counts in watcher.seen)


def strict() -> v1.Check:
    check = v1.Check()
    check.CopyFrom(CHECK)
    check.failures_allowed = check.errors_allowed = 1
    return check


async def told(watcher: Watcher, action: str) -> str:
    """The note of the first entry of the history with this action; waits for it."""
    with stubs(watcher.target) as call:
        async with asyncio.timeout(WITHIN_S):
            while True:
                events = (await asyncio.to_thread(call, "ListEvents", component=C)).events
                for event in events:
                    if event.action == action and event.actor == "rampd":
                        return event.note
                await asyncio.sleep(0.1)


async def test_a_check_that_fails_rolls_back_and_the_history_says_why(directory: Path):
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as source:
        metrics.set("20200409", "0.4")
        async with watching(source.url, strict()) as watcher:
            note = await told(watcher, "Rollback")

    assert note == (
        "The check errors failed 2 times in a row (allowed: 1). "
        "The last value of the check errors was 0.4 (at most 0.05 is allowed)."
    )


async def test_a_source_that_is_down_pauses_and_the_history_says_why(directory: Path):
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as source:
        source.signal(signal.SIGKILL)
        async with watching(source.url, strict()) as watcher:
            note = await told(watcher, "Pause")

    assert note == (
        "The check errors got no answer 2 times in a row (allowed: 1). That says nothing of the release. "
        f"The last error: connection refused by {source.url}."
    )
