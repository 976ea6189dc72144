"""The link to Redis loses replies, goes dead, and comes back."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from rampd_server import testing
from tests.proxy import Proxy, proxy_to_unix
from tests.servers import Stubs, reason_of, short_directory, stubs
from tests.stores import REDIS, StoreServer, store_server

C = "restyler"


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with store_server(REDIS) as running:
        yield running


@pytest.fixture
def proxy(store: StoreServer) -> Iterator[Proxy]:
    with proxy_to_unix(store.url.removeprefix("unix://")) as running:
        yield running


@pytest.fixture
def call(proxy: Proxy, directory: Path, request: pytest.FixtureRequest) -> Iterator[Stubs]:
    url, namespace = f"redis://127.0.0.1:{proxy.port}", f"n{abs(hash(request.node.name)) % 10**9}"
    with testing.run(directory, url, namespace=namespace) as target, stubs(target) as made:
        yield made


def eventually(is_so: Callable[[], bool], within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_write_whose_reply_is_lost_applies_once_and_answers(call: Stubs, proxy: Proxy) -> None:
    """Given a proxy that loses the reply to one script, expect one revision, and the answer all the same."""
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


def test_a_dead_link_is_noticed_and_said_and_doesn_t_pile_up_connections(call: Stubs, proxy: Proxy) -> None:
    call("Release", component=C, tag="t1")
    proxy.is_silent.set()
    before = proxy.accepted
    began = time.monotonic()
    eventually(lambda: call("Resolve", component=C, repo="acme/app").stale)
    noticed_s = time.monotonic() - began
    with pytest.raises(grpc.RpcError) as caught:
        call("Release", component=C, tag="t2")
    assert reason_of(caught.value) == "STORE_UNAVAILABLE"
    assert proxy.accepted - before < 60
    assert noticed_s < 50
    proxy.is_silent.clear()
    eventually(lambda: not call("Resolve", component=C, repo="acme/app").stale)
    eventually(lambda: _is_writable(call))


def _is_writable(call: Stubs) -> bool:
    try:
        call("SetOverride", component=C, repo="acme/app", tag="x")
    except grpc.RpcError:
        return False
    return True


def test_a_link_that_is_cut_again_and_again_loses_no_change(call: Stubs, proxy: Proxy) -> None:
    call("Release", component=C, tag="t1")
    applied = [_insist(call, proxy, n) for n in range(30)]
    assert applied == list(range(2, 32))
    assert [event.revision for event in call("ListEvents", component=C).events] == list(range(31, 0, -1))


def _insist(call: Stubs, proxy: Proxy, n: int) -> int:
    """Sets an override with one request id until it is done, cutting the link now and then; its revision."""
    if n % 3 == 0:
        proxy.cut()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(grpc.RpcError):
            revision = call("SetOverride", component=C, repo="acme/app", tag=f"x{n}", request_id=f"cut-{n}").revision
            eventually(lambda: call("Resolve", component=C, repo="acme/app").tag == f"x{n}")
            return revision
    raise AssertionError(n)
