"""Two servers ask a real Prometheus, which scrapes a real exporter. Then Prometheus and the exporter fail."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rampd import v1
from rampd._contract.placeholders import fill
from rampd_server.automation.prometheus import Prometheus
from rampd_server.domain.automation.check_answer import Answer
from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.process.address import PrometheusUrl
from rampd_server.storage.checks import RedisChecks
from tests.prometheus import exporter, prometheus
from tests.servers import rampd_server, short_directory, stubs
from tests.stores import REDIS, store_server
from tests.waiting import eventually_async

C = "restyler"
# These tests look at the counts. The limits are so high that automation does nothing.
MUCH = 1_000_000
CHECK = v1.Check(
    name="errors",
    query='job_error_rate{tag="{{tag}}"}',
    interval=Duration(seconds=1),
    max=0.05,
    failures_allowed=MUCH,
    errors_allowed=MUCH,
)
WITHIN_S = 60


class Watcher:
    """Waits for counts of the check in the store, and keeps all counts that it has seen."""

    def __init__(self, checks: RedisChecks, target: str) -> None:
        self._checks = checks
        self.target = target
        self.seen: list[CheckCounts] = []

    async def until(self, condition: Callable[[CheckCounts], bool]) -> CheckCounts:
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    counts = (await self._checks.counts(C)).get("errors")
                    if counts is not None:
                        self.seen.append(counts)
                        if condition(counts):
                            return counts
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"the counts did not become as expected in {WITHIN_S} s; last seen: {self.seen[-3:]}")


@contextlib.asynccontextmanager
async def watching(url: str, check: v1.Check = CHECK) -> AsyncIterator[Watcher]:
    """Starts two servers on one Redis, with a rollout at 10 %. They ask the Prometheus at `url`."""
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
            yield Watcher(RedisChecks(store.link), servers[0].target)
        finally:
            await store.close()


async def test_a_value_passes_or_fails_and_a_source_that_fails_does_neither(directory: Path):
    """Given a metric by tag, expect that the check judges next's own value. If the source hangs, loses its exporter or dies,
    expect errors that say so, and the same number of failures as before.
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


async def test_a_check_whose_metric_does_not_exist_never_passes_and_never_fails(directory: Path):
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as source:
        metrics.set("another-tag", "0.01")
        async with watching(source.url) as watcher:
            found = await watcher.until(lambda counts: counts.errors >= 3)

    assert found.error == "there is no data: the query finds no series"
    assert not any(counts.has_passed or counts.failures for counts in watcher.seen)


def strict(limit: str) -> v1.Check:
    """The check with a low limit: failures_allowed or errors_allowed. On a busy machine, there are errors beside failures."""
    check = v1.Check()
    check.CopyFrom(CHECK)
    setattr(check, limit, 1)
    return check


async def note_of(watcher: Watcher, action: str) -> str:
    """Waits for an event of automation with this action, and returns its note."""
    with stubs(watcher.target) as call:
        async with asyncio.timeout(WITHIN_S):
            while True:
                events = (await asyncio.to_thread(call, "ListEvents", component=C)).events
                for event in events:
                    if event.action == action and event.actor == "rampd":
                        return event.note
                await asyncio.sleep(0.1)


# All characters of a tag that have a meaning in a string, in a regular expression or in a comment.
NEXT = "@ab/c.d+e=f#~(g)-1.2"
OTHER = "@ab/cXd+e=f#~(g)-1.2"
ASKS_FOR_NEXT = [
    'job_error_rate{tag="{{tag}}"}',
    "job_error_rate{tag='{{tag}}'}",
    "job_error_rate{tag=`{{tag}}`}",
    'job_error_rate{tag=~"{{tag}}"}',
    "job_error_rate{tag=~'x|({{tag}})?'}",
    "job_error_rate{tag=~`{{tag}}|restyler-{{component}}`}",
    'job_error_rate{tag!="", tag=~"{{tag}}"} # "why',
    'sum(job_error_rate) - sum(job_error_rate{tag!="{{tag}}"})',
    "sum(job_error_rate) - sum(job_error_rate{tag!~`{{tag}}`})",
    'label_replace(job_error_rate, "is", "next-{{tag}}", "tag", "{{tag}}") and on(is) '
    'label_replace(vector(1), "is", "next-{{tag}}", "", "")',
]


async def test_every_way_to_write_a_placeholder_asks_prometheus_for_next_only(directory: Path):
    """Given two tags, where next's tag as a regular expression also matches the other, expect next's value."""
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as server:
        metrics.set(NEXT, "0.25")
        metrics.set(OTHER, "0.5")
        source = Prometheus(PrometheusUrl(server.url), timeout_s=WITHIN_S)
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    if await source.ask("count(job_error_rate)") == Answer(2.0):
                        break
                    await asyncio.sleep(0.05)
            for query in ASKS_FOR_NEXT:
                filled = fill(query, component=C, tag=NEXT, channel="next")
                # A scrape that fails because the machine is busy leaves no series for a moment.
                await eventually_async(partial(is_answered, source, filled, Answer(0.25)))
        finally:
            await source.close()


async def is_answered(source: Prometheus, query: str, answer: Answer) -> bool:
    return await source.ask(query) == answer


TAKEN = [
    "up{path=`C:\\d`} + up{path=~`\\d+`}",
    r'up{path=~"(?i)a\\.b|\\pL{2}"}',
    "holt_winters(up[5m], 0.5, 0.5)",
    "up @ end()",
    "sum by (le) (rate(up[5m] offset -1m))",
    "scalar(up) # nothing",
    'up{tag!~"{{component}}-{{tag}}"} or vector(0)',
    "time()",
]
NOT_TAKEN = [
    ("up offset inf", 'unexpected number "inf" in offset'),
    ("no_such_function(up)", "unknown function"),
    (r'up{path="\.x"}', "unknown escape sequence"),
    ('up{path=~"("}', "missing closing )"),
    ('label_replace(up, "a", "b", "c", "(")', "invalid regular expression"),
    ("up[5m] offset 1m", "gives no single value"),
    ("up >", "unexpected end of input"),
]


async def test_set_policy_accepts_exactly_the_queries_that_prometheus_accepts(directory: Path):
    """Given a running Prometheus, expect its own message about each wrong query. If it does not run, expect that the policy is
    stored and that the answer says that the queries were not checked.
    """

    def policy(*queries: str) -> v1.Policy:
        return v1.Policy(checks=[v1.Check(name=f"c{n}", query=query, max=1) for n, query in enumerate(queries)])

    with (
        prometheus(directory, scrapes=1) as source,
        short_directory() as folder,
        rampd_server(
            folder, "--insecure-admin", "--prometheus-url", source.url, "--prometheus-timeout", "30"
        ) as server,
    ):
        await asyncio.to_thread(server.event, "serving")
        with stubs(server.target) as call:
            call("Release", component=C, tag="20200301")
            first = call("SetPolicy", component=C, policy=policy(*TAKEN), request_id="taken")
            assert first.message == "The policy is stored."
            assert [check.query for check in call("GetPolicy", component=C).policy.checks] == TAKEN

            with pytest.raises(grpc.RpcError) as refused:
                call("SetPolicy", component=C, policy=policy("up", *(query for query, _ in NOT_TAKEN)))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            request = error_details_pb2.BadRequest()
            assert any(detail.Unpack(request) for detail in rpc_status.from_call(refused.value).details)
            for place, (violation, (query, said)) in enumerate(
                zip(request.field_violations, NOT_TAKEN, strict=True), start=1
            ):
                assert violation.field == f"policy.checks[{place}].query"
                assert said in violation.description, query
            assert [check.query for check in call("GetPolicy", component=C).policy.checks] == TAKEN

            source.signal(signal.SIGKILL)
            repeat = call("SetPolicy", component=C, policy=policy(*TAKEN), request_id="taken")
            assert (repeat.replayed, repeat.revision) == (True, first.revision)
            assert "rampd could not ask" not in repeat.message
            stored = call("SetPolicy", component=C, policy=policy("up", "no_such_function(up)"))
            assert stored.changed
            assert stored.message == (
                "The policy is stored. rampd could not ask whether the query of c0, c1 is right: "
                f"connection refused by {source.url}."
            )


async def test_a_check_that_fails_rolls_back_and_the_history_says_why(directory: Path):
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as source:
        metrics.set("20200409", "0.4")
        async with watching(source.url, strict("failures_allowed")) as watcher:
            note = await note_of(watcher, "Rollback")

    number, _, rest = note.removeprefix("The check errors failed ").partition(" times in a row ")
    assert int(number) >= 2  # on a busy machine the check may fail once more before automation looks
    assert rest == (
        "(allowed: 1). The last value of the check errors was 0.4 (at most 0.05 is allowed). "
        "Everybody gets 20200301 instead of 20200409."
    )


async def test_a_source_that_is_down_pauses_and_the_history_says_why(directory: Path):
    with exporter() as metrics, prometheus(directory, scrapes=metrics.port) as source:
        source.signal(signal.SIGKILL)
        async with watching(source.url, strict("errors_allowed")) as watcher:
            note = await note_of(watcher, "Pause")

    number, _, rest = note.removeprefix("The check errors got no answer ").partition(" times in a row ")
    assert int(number) >= 2
    assert rest == (
        f"(allowed: 1). That says nothing about the release. The last error: connection refused by {source.url}."
    )
