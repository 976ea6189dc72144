"""A protection (Rollback, dead-man switch, guard) is committed soon, also while others write to the same component all the time.

The target is one second, and `make bench` measures it. The bound here is thirty seconds, so that other work of the machine does not
fail the test.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd._decision.bucketing import bucket
from tests.bench.writers import writing
from tests.clustered import failed
from tests.proxy import proxy_to_unix
from tests.servers import Stubs, rampd_server, short_directory, stubs
from tests.stores import REDIS, store_server
from tests.waiting import eventually

C = "restyler"
WITHIN_S = 30.0
SLOW_S = 0.003
FAILURES = 200


@pytest.fixture(params=["one server", "two servers", "two servers, 3 ms from Redis"])
def targets(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Starts servers on one Redis, and gives their addresses."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(store_server(REDIS)).url
        if "3 ms" in request.param:
            proxy = stack.enter_context(proxy_to_unix(url.removeprefix("unix://")))
            proxy.delay_s = SLOW_S
            url = f"redis://127.0.0.1:{proxy.port}"
        found = []
        for _ in range(1 if request.param == "one server" else 2):
            directory = stack.enter_context(short_directory())
            server = stack.enter_context(rampd_server(directory, "--insecure-admin", "--redis-url", url))
            server.event("serving")
            found.append(server.target)
        yield found


@pytest.fixture
def call(targets: list[str]) -> Iterator[Stubs]:
    with stubs(targets[-1]) as made:
        for tag in ("t1", "t2"):
            made("Release", component=C, tag=tag)
        yield made


def writers_are_busy(call: Stubs) -> None:
    """Waits until the writers have changed the component ten times."""

    def revision() -> int:
        return int(call("GetRollout", component=C).rollout.revision)

    begun = revision()
    eventually(lambda: revision() >= begun + 10, within_s=60)


def is_held(call: Stubs) -> bool:
    return bool(call("GetRollout", component=C).rollout.state == v1.ROLLOUT_STATE_HELD)


def seconds_until_held(call: Stubs) -> float:
    began_s = time.monotonic()
    while not is_held(call):
        assert time.monotonic() - began_s < WITHIN_S, "the rollout is not held"
        time.sleep(0.05)
    return time.monotonic() - began_s


@pytest.mark.parametrize("writers", [4, 16])
def test_beside_writers_of_overrides_a_rollback_and_the_dead_man_switch_are_committed_soon(
    call: Stubs, targets: list[str], writers: int
) -> None:
    call("Ramp", component=C, percent=50)
    with writing("overrides", writers, C, *targets):
        writers_are_busy(call)
        began_s = time.monotonic()
        answer = call("Rollback", component=C)
        assert time.monotonic() - began_s < WITHIN_S
        assert answer.rollout.state == v1.ROLLOUT_STATE_HELD
    call("Ramp", component=C, percent=50, confirm_within=Duration(seconds=1))
    with writing("overrides", writers, C, *targets):
        writers_are_busy(call)
        seconds_until_held(call)


@pytest.mark.parametrize("writers", [4, 16])
def test_beside_writers_of_overrides_a_guard_rolls_back_soon(call: Stubs, targets: list[str], writers: int) -> None:
    revision = call("Ramp", component=C, percent=50).revision
    of_next = (f"acme/r{n}" for n in itertools.count() if bucket(C, 2, f"acme/r{n}") < 5000)
    failures = [failed(C, revision, repo) for repo in itertools.islice(of_next, FAILURES)]
    with writing("overrides", writers, C, *targets):
        writers_are_busy(call)
        answer = call("ReportOutcomes", client_id="w1", sequence=1, outcomes=failures)
        assert answer.accepted == FAILURES
        seconds_until_held(call)


def test_beside_writers_of_ramp_and_pause_at_two_servers_a_rollback_is_answered_soon(
    call: Stubs, targets: list[str]
) -> None:
    with writing("verbs", 8, C, *targets):
        for _ in range(5):
            began_s = time.monotonic()
            answer = call("Rollback", component=C)
            assert time.monotonic() - began_s < WITHIN_S
            assert answer.rollout.state == v1.ROLLOUT_STATE_HELD
