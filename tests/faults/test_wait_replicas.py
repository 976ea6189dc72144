"""A server whose changes wait for a replica. The replica stops, and goes on."""

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from redis import Redis

from rampd_server import testing
from tests.ports import free_port
from tests.servers import Stubs, short_directory, stubs
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import eventually

C = "restyler"
AT_RISK = "The change waited for 1 replica of the store, and none has it yet: a failover now may lose it."
DEADLINE_S = 20.0
WAIT_S = DEADLINE_S / 2
"""Half of the time of a call of the store."""


@dataclass(frozen=True, slots=True)
class Run:
    primary: StoreServer
    replica: StoreServer
    call: Stubs

    def replica_has(self, revision: int) -> bool:
        with client_of(self.replica) as client:
            return client.hget(f"rampd:{{default}}:rollout:{C}", "revision") == str(revision)


@contextlib.contextmanager
def on_a_port(kind: str) -> Iterator[tuple[StoreServer, int]]:
    port = free_port()
    with store_server(
        kind, port=str(port), bind="127.0.0.1", repl_diskless_sync_delay="0", repl_timeout="600"
    ) as server:
        yield server, port


@pytest.fixture(params=[REDIS, VALKEY])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with (
        on_a_port(request.param) as (primary, port),
        on_a_port(request.param) as (replica, _),
        short_directory() as directory,
    ):
        with client_of(replica) as client:
            client.replicaof("127.0.0.1", str(port))
            eventually(lambda: client.info("replication")["master_link_status"] == "up")
        with (
            testing.run(directory, primary.url, wait_replicas=1, store_deadline_s=DEADLINE_S) as target,
            stubs(target) as call,
        ):
            yield Run(primary, replica, call)


def test_an_answer_says_how_many_replicas_have_the_change(run: Run) -> None:
    release = run.call("Release", component=C, tag="t1")
    assert release.replicas == 1
    assert AT_RISK not in release.message
    for method, fields in (
        ("Release", {"component": C, "tag": "t2"}),
        ("Ramp", {"component": C, "percent": 10}),
        ("SetOverride", {"component": C, "repo": "acme/app", "tag": "x"}),
        ("Freeze", {"all": True}),
        ("DeleteComponent", {"component": C, "confirm": C}),
    ):
        dry = run.call(method, **fields, dry_run=True)
        assert not dry.HasField("replicas")
        assert run.call(method, **fields, request_id=method).replicas == 1
        assert not run.call(method, **fields, request_id=method).HasField("replicas")
    assert not run.call("Freeze", all=True).HasField("replicas")


def test_a_change_that_no_replica_has_is_made_and_says_so_and_the_next_ones_wait_less(run: Run) -> None:
    """Given a replica that is stopped, expect that changes are made, that exactly these are lost if the replica becomes the
    primary, and that one confirmed change ends the short waits.
    """
    confirmed = run.call("Release", component=C, tag="t1")
    run.replica.signal(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        first = run.call("SetOverride", component=C, repo="acme/app", tag="x1")
        first_s = time.monotonic() - began_s
        assert (first.changed, first.replicas, first.revision) == (True, 0, confirmed.revision + 1)
        assert first.message.endswith(AT_RISK)
        assert WAIT_S * 0.9 < first_s < WAIT_S * 5
        began_s = time.monotonic()
        assert run.call("SetOverride", component=C, repo="acme/app", tag="x2").replicas == 0
        # It waits for 50 ms.
        assert time.monotonic() - began_s < WAIT_S * 0.9
    finally:
        run.replica.signal(signal.SIGCONT)
    eventually(lambda: run.replica_has(confirmed.revision + 2))
    eventually(lambda: run.call("SetOverride", component=C, repo="acme/app", tag=f"y{time.monotonic()}").replicas == 1)

    last = run.call("SetOverride", component=C, repo="acme/app", tag="z")
    assert last.replicas == 1
    run.replica.signal(signal.SIGSTOP)
    assert run.call("SetOverride", component=C, repo="acme/app", tag="lost").replicas == 0
    run.primary.signal(signal.SIGKILL)
    run.replica.signal(signal.SIGCONT)
    with client_of(run.replica) as client:
        client.replicaof("NO", "ONE")
    assert run.replica_has(last.revision) or run.replica_has(last.revision + 1)


def client_of(store: StoreServer) -> "Redis":
    """A client for the test, which closes it."""
    return Redis(unix_socket_path=store.url.removeprefix("unix://"), decode_responses=True, socket_timeout=60)
