"""A server on a Redis Cluster, and components whose outcomes are on a shard of the test's choice."""

import contextlib
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc

from rampd import v1
from rampd_server.storage.keys import Keys
from rampd_server.testing import STORE_DEADLINE_S
from tests.clusters import Cluster
from tests.servers import ServerProcess, Stubs, rampd_server, stubs
from tests.waiting import eventually


class Reporter:
    """Reports one failed job of next after another, until it is closed. It repeats a batch that failed."""

    def __init__(self, call: Stubs, component: str) -> None:
        self.accepted = 0
        self.failed: list[str] = []
        self._call = call
        self._component = component
        self._revision = roll_out(call, component)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(0.02):
            sequence = self.accepted + 1
            outcome = failed(self._component, self._revision, f"acme/r{sequence}")
            try:
                answer = self._call("ReportOutcomes", client_id="w1", sequence=sequence, outcomes=[outcome])
            except grpc.RpcError as error:
                self.failed.append(f"{error.code().name} {error.details()}")
            else:
                assert answer.accepted == 1
                self.accepted += 1

    @property
    def counted(self) -> int:
        return int(self._call("GetRollout", component=self._component).rollout.evidence.next_failures)

    def show_going_on(self) -> None:
        """Waits until some more batches are accepted."""
        enough = self.accepted + 5
        eventually(lambda: self.accepted >= enough)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()


def roll_out(call: Stubs, component: str) -> int:
    """Gives everybody the next version of a component. Returns the revision."""
    call.until_made("Release", component=component, tag="t1")
    call.until_made("Release", component=component, tag="t2")
    return int(call.until_made("Ramp", component=component, percent=100).revision)


def failed(component: str, revision: int, repo: str = "acme/app") -> Any:
    """A failed job of next."""
    return v1.Outcome(
        component=component,
        release=2,
        revision=revision,
        channel=v1.CHANNEL_NEXT,
        reason=v1.RESOLVE_REASON_WEIGHT,
        repo=repo,
        result=v1.OUTCOME_RESULT_FAILED,
    )


def component_on(topology: Cluster, shard: int, namespace: str = "default") -> str:
    """The name of a component whose outcomes are on a shard."""
    names = (f"c{number}" for number in count())
    return next(name for name in names if topology.shard_of(Keys(namespace).outcomes(name).outcomes) == shard)


@contextlib.contextmanager
def serving(
    directory: Path, topology: Cluster, namespace: str, *flags: str, store_deadline_s: float = STORE_DEADLINE_S
) -> Iterator[tuple[ServerProcess, Stubs]]:
    """Starts a server. It serves when the block begins."""
    flags = ("--insecure-admin", "--namespace", namespace, *flags)
    with rampd_server(directory, *flags, store_deadline_s=store_deadline_s, RAMPD_REDIS_URL=topology.url) as server:
        server.event("serving")
        with stubs(server.target) as call:
            yield server, call
