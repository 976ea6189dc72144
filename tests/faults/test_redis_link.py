"""The link to Redis loses replies, goes dead, and works again."""

import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from rampd import v1
from rampd_server import testing
from tests.proxy import Proxy, proxy_to_unix
from tests.servers import SHORT_DEADLINE_S, Stubs, reason_of, server_that_soon_gives_up, short_directory, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually

C = "restyler"


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with store_server(REDIS) as running:
        yield running


@pytest.fixture
def proxy(store: StoreServer) -> Iterator[Proxy]:
    with proxy_to_unix(store.url.removeprefix("unix://")) as running:
        yield running


@pytest.fixture
def patient(proxy: Proxy, directory: Path) -> Iterator[Stubs]:
    """A server that may wait for its store for longer, because a reply that is lost needs no deadline."""
    with (
        testing.run(directory, f"redis://127.0.0.1:{proxy.port}", namespace="patient") as target,
        stubs(target) as made,
    ):
        yield made


@pytest.fixture
def call(proxy: Proxy, directory: Path, request: pytest.FixtureRequest) -> Iterator[Stubs]:
    url, namespace = f"redis://127.0.0.1:{proxy.port}", f"n{abs(hash(request.node.name)) % 10**9}"
    with (
        server_that_soon_gives_up(directory, url, namespace=namespace) as at,
        stubs(str(at.grpc)) as made,
    ):
        yield made


def test_a_write_whose_reply_is_lost_is_applied_once_and_answered(patient: Stubs, proxy: Proxy) -> None:
    """Given a proxy that loses the reply to one script, expect one revision, and the right answer."""
    call = patient
    call("Release", component=C, tag="t1")
    lost = []

    def loses(request: bytes) -> bool:
        if b"EVALSHA" in request and not lost:
            lost.append(request)
            return True
        return False

    for method, fields in (
        ("Release", {"tag": "t2"}),
        ("Ramp", {"percent": 10}),
        ("SetOverride", {"repo": "acme/app", "tag": "x"}),
    ):
        before = call("GetRollout", component=C).rollout.revision
        lost.clear()
        proxy.loses_reply = loses
        answer = call(method, component=C, request_id=f"id-{method}", **fields)
        proxy.loses_reply = lambda _request: False
        assert lost
        assert answer.changed
        assert answer.revision == answer.rollout.revision == before + 1
        again = call(method, component=C, request_id=f"id-{method}", **fields)
        assert (again.replayed, again.revision) == (True, answer.revision)
    assert len(call("ListEvents", component=C).events) == 4


def test_outcomes_whose_replies_are_lost_are_sent_again_and_counted_once(call: Stubs, proxy: Proxy) -> None:
    """Given a batch of two components, and a proxy that loses most replies to scripts, expect UNAVAILABLE or an answer. After
    repeats until there is an answer, expect that each outcome is counted once, and that another repeat gets the same answer.
    """
    outcomes = []
    for component in (C, "hlint"):
        call.until_made("Release", component=component, tag="t1")
        answer = call("Resolve", component=component, repo="acme/app")
        outcomes += [
            v1.Outcome(
                component=component,
                release=answer.release,
                revision=answer.revision,
                channel=answer.channel,
                reason=answer.reason,
                repo="acme/app",
                result=v1.OUTCOME_RESULT_FAILED,
            )
        ] * 5
    unknown = v1.Outcome()
    unknown.CopyFrom(outcomes[3])
    unknown.release = outcomes[3].release + 76
    outcomes[3] = unknown
    scripts = []

    def loses(request: bytes) -> bool:
        if b"EVALSHA" in request:
            scripts.append(request)
        return b"EVALSHA" in request and luck.random() < 0.6

    luck, failed = random.Random(1), 0
    for sequence in range(1, 6):
        proxy.loses_reply = loses
        first, failures = _reported(call, sequence, outcomes)
        failed += failures
        proxy.loses_reply = lambda _: False
        # Only a busy machine lets this one fail.
        assert _reported(call, sequence, outcomes)[0] == first
        assert first.accepted == 9
    assert scripts
    assert failed
    for component, expected in ((C, 4), ("hlint", 5)):
        shown = call("GetRollout", component=component).rollout.outcomes[0]
        assert (shown.other_jobs, shown.other_failures) == (5 * expected, 5 * expected)


def _reported(call: Stubs, sequence: int, outcomes: list[v1.Outcome]) -> tuple[v1.ReportOutcomesResponse, int]:
    """Reports until there is an answer. Returns it, and how often there was none."""
    for failed in range(100):
        try:
            return call("ReportOutcomes", client_id="w1", sequence=sequence, outcomes=outcomes), failed
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
    raise AssertionError("no answer in 100 calls")


def test_a_dead_link_is_noticed_and_reported_and_does_not_pile_up_connections(call: Stubs, proxy: Proxy) -> None:
    call.until_made("Release", component=C, tag="t1")
    proxy.is_silent.set()
    began = time.monotonic()
    eventually(lambda: call("Resolve", component=C, repo="acme/app").stale)
    noticed_s = time.monotonic() - began
    with ThreadPoolExecutor(120) as callers:
        calls = [callers.submit(_refusal, call, f"c{number}") for number in range(120)]
        assert {each.result() for each in calls} == {"STORE_UNAVAILABLE"}
    # The server may have 32 connections for calls and 2 for the feed. For each, the proxy may still be closing an old one.
    assert proxy.most_open <= 2 * (32 + 2)
    assert noticed_s < 50
    proxy.is_silent.clear()
    eventually(lambda: not call("Resolve", component=C, repo="acme/app").stale)
    eventually(lambda: _is_writable(call))


def test_while_redis_is_stopped_concurrent_writes_to_a_component_fail_at_the_same_time(
    call: Stubs, store: StoreServer
) -> None:
    """Given a stopped Redis, and 30 writes to one component that each wait for it until the deadline, expect that all end together."""
    call.until_made("Release", component=C, tag="t1")
    store.signal(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        with ThreadPoolExecutor(30) as callers:
            calls = [callers.submit(_refusal, call, C) for _ in range(30)]
            assert {each.result() for each in calls} == {"STORE_UNAVAILABLE"}
        assert time.monotonic() - began_s < 20 * SHORT_DEADLINE_S
    finally:
        store.signal(signal.SIGCONT)
    eventually(lambda: _is_writable(call))


def _refusal(call: Stubs, component: str) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call("Release", component=component, tag="t2")
    return reason_of(caught.value)


def _is_writable(call: Stubs) -> bool:
    try:
        call("SetOverride", component=C, repo="acme/app", tag="x")
    except grpc.RpcError:
        return False
    return True


def test_a_link_that_is_cut_again_and_again_loses_no_change(call: Stubs, proxy: Proxy) -> None:
    call.until_made("Release", component=C, tag="t1")
    applied = [_set_until_applied(call, proxy, n) for n in range(30)]
    assert applied == list(range(2, 32))
    assert [event.revision for event in call("ListEvents", component=C).events] == list(range(31, 0, -1))


def _set_until_applied(call: Stubs, proxy: Proxy, n: int) -> int:
    """Sets an override with one request id again and again until it succeeds. Cuts the link first in a third of the cases.
    Returns the revision.
    """
    if n % 3 == 0:
        proxy.cut()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            revision = call("SetOverride", component=C, repo="acme/app", tag=f"x{n}", request_id=f"cut-{n}").revision
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017 - most calls raise nothing
            continue
        eventually(lambda: call("Resolve", component=C, repo="acme/app").tag == f"x{n}", suppressed=grpc.RpcError)
        return int(revision)
    raise AssertionError(n)


def test_every_failure_of_a_link_that_is_cut_as_it_opens_is_unavailable(call: Stubs, proxy: Proxy) -> None:
    call.until_made("Release", component=C, tag="t1")
    chance, codes = random.Random(10), set()
    for number in range(200):
        proxy.cuts_new = chance.random() < 0.5
        if chance.random() < 0.3:
            proxy.cut()
        try:
            call("SetOverride", component=C, repo="acme/app", tag=f"x{number}")
        except grpc.RpcError as error:
            codes.add(error.code())
    proxy.cuts_new = False

    assert codes == {grpc.StatusCode.UNAVAILABLE}
    eventually(lambda: _is_writable(call))


def test_a_report_of_400_components_gets_through_at_3_ms_from_the_store(call: Stubs, proxy: Proxy) -> None:
    names = [f"c{number}" for number in range(400)]
    with ThreadPoolExecutor(16) as callers:
        list(callers.map(lambda name: call.until_made("Release", component=name, tag="t1"), names))
    proxy.delay_s = 0.003
    outcomes = [
        v1.Outcome(
            component=name,
            release=1,
            revision=1,
            channel=v1.CHANNEL_CURRENT,
            reason=v1.RESOLVE_REASON_STEADY,
            repo="acme/app",
            result=v1.OUTCOME_RESULT_SUCCEEDED,
        )
        for name in names
    ]

    def accepted() -> int:
        return int(call("ReportOutcomes", client_id="w1", sequence=1, outcomes=outcomes).accepted)

    eventually(lambda: accepted() == len(names), suppressed=grpc.RpcError)


@pytest.fixture
def beside(store: StoreServer, request: pytest.FixtureRequest) -> Iterator[Stubs]:
    """Starts another server on the namespace of `call`. Its link has no faults."""
    namespace = f"n{abs(hash(request.node.name)) % 10**9}"
    with (
        short_directory() as directory,
        server_that_soon_gives_up(directory, store.url, namespace=namespace) as at,
        stubs(str(at.grpc)) as made,
    ):
        yield made


def test_a_write_is_visible_on_its_own_server_also_while_the_feed_hangs(
    call: Stubs, beside: Stubs, proxy: Proxy
) -> None:
    """Given a server whose reads of the feed hang while its other connections work, and another server that writes before it,
    expect that each of its own writes is visible when it is answered.
    """
    for tag in ("t1", "t2"):
        call.until_made("Release", component=C, tag=tag)
    eventually(lambda: beside("Resolve", component=C, repo="acme/app").tag == "t1", suppressed=grpc.RpcError)
    proxy.keeps_back = lambda request: b"XREAD" in request and b"BLOCK" in request
    proxy.cut()
    eventually(lambda: _is_writable(call))
    call.until_made("DeleteOverride", component=C, repo="acme/app")
    for number in range(5):
        call.until_made("Ramp", component=C, percent=100)
        assert call("Resolve", component=C, repo="acme/app").tag == "t2"
        beside.until_made("Release", component=f"c{number}", tag="x")
        call.until_made("Rollback", component=C)
        assert call("Resolve", component=C, repo="acme/app").tag == "t1"
        # On a busy machine, the server may have said nothing to the store for a moment.
        eventually(lambda: not call("Resolve", component=C, repo="acme/app").stale)
        assert call("Resolve", component=C, repo="acme/app").tag == "t1"


def test_writes_of_other_servers_are_seen_soon_also_while_the_feed_hangs(
    call: Stubs, beside: Stubs, proxy: Proxy
) -> None:
    """Given a server whose reads of the feed hang, expect that it gives each read up, and looks at the store by itself."""
    for tag in ("t1", "t2"):
        call.until_made("Release", component=C, tag=tag)
    proxy.keeps_back = lambda request: b"XREAD" in request and b"BLOCK" in request
    for percent, tag in ((100, "t2"), (0, "t1"), (100, "t2")):
        beside.until_made("Ramp", component=C, percent=percent)
        began_s = time.monotonic()
        while call("Resolve", component=C, repo="acme/app").tag != tag:
            assert time.monotonic() - began_s < 60
            time.sleep(0.02)
