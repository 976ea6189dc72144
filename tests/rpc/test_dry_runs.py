"""A dry run over a real channel: it answers as the real call, and the store has the same bytes before and after."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from grpc_status import rpc_status
from redis import Redis

from rampd import Admin, AsyncAdmin, v1
from rampd.errors import FailedPreconditionError
from rampd_server import testing
from rampd_server.storage.keys import Keys
from tests.rpc.access_table import CALLERS, METHODS, REQUESTS, method_of, prepared, send, serving, status
from tests.servers import Stubs, metadata_of, reason_of, short_directory, stubs
from tests.stores import StoreServer
from tests.timeless import timeless

C = "restyler"
NAMESPACE = "dry"
_NO_KEY = -2
"""What PEXPIRETIME answers if there is no such key."""
MUTATING = frozenset(name for name, method in METHODS.items() if "request_id" in method.input_type.fields_by_name)


def in_the_past() -> Timestamp:
    return Timestamp(seconds=int(time.time()) - 60)


def many(*changes: v1.OverrideChange) -> Callable[[str], Message]:
    return lambda c: v1.BatchSetOverridesRequest(component=c, overrides=changes)


def confirm_within(percent: float) -> Callable[[str], Message]:
    def made(c: str) -> Message:
        request = v1.RampRequest(component=c, percent=percent)
        request.confirm_within.FromTimedelta(timedelta(hours=2))
        return request

    return made


ROWS: Mapping[str, Callable[[str], Message]] = {
    **{row: make for row, make in REQUESTS.items() if method_of(row) in MUTATING},
    "Release (quarantined)": lambda c: v1.ReleaseRequest(component=c, tag="bad"),
    "Release (tag is next)": lambda c: v1.ReleaseRequest(component=c, tag="t3", attributes={"commit": "1"}),
    "Release (tag is queued)": lambda c: v1.ReleaseRequest(component=c, tag="t4"),
    "CancelRelease (next)": lambda c: v1.CancelReleaseRequest(component=c, release=3),
    "CancelRelease (unknown)": lambda c: v1.CancelReleaseRequest(component=c, release=99),
    "Ramp (down)": lambda c: v1.RampRequest(component=c, percent=1, note="too many\nfailures"),
    "Ramp (same)": lambda c: v1.RampRequest(component=c, percent=10),
    "Ramp (to confirm)": confirm_within(50),
    "Ramp (other tag)": lambda c: v1.RampRequest(component=c, percent=20, tag="t9"),
    "Rollback (quarantine)": lambda c: v1.RollbackRequest(component=c, quarantine=True),
    "Finalize (not forced)": lambda c: v1.FinalizeRequest(component=c),
    "Revert (default)": lambda c: v1.RevertRequest(component=c),
    "Revert (unknown)": lambda c: v1.RevertRequest(component=c, tag="t9"),
    "Freeze (past)": lambda c: v1.FreezeRequest(component=c, expire_time=in_the_past()),
    "Freeze (all, past)": lambda _: v1.FreezeRequest(all=True, expire_time=in_the_past()),
    "Quarantine (next)": lambda c: v1.QuarantineRequest(component=c, tag="t3"),
    "Quarantine (queued)": lambda c: v1.QuarantineRequest(component=c, tag="t4"),
    "SetOverride (same)": lambda c: v1.SetOverrideRequest(component=c, repo="acme/app", tag="t1"),
    "SetOverride (other)": lambda c: v1.SetOverrideRequest(
        component=c, repo="acme/app", channel=v1.Channel.CHANNEL_NEXT
    ),
    "SetOverride (past)": lambda c: v1.SetOverrideRequest(
        component=c, repo="acme/web", tag="t1", expire_time=in_the_past()
    ),
    "DeleteOverride (not there)": lambda c: v1.DeleteOverrideRequest(component=c, repo="acme/none"),
    "BatchSetOverrides (many)": many(
        v1.OverrideChange(repo="acme/app", delete=True),
        v1.OverrideChange(repo="acme/none", delete=True),
        *(v1.OverrideChange(repo=f"acme/{number}", channel=v1.Channel.CHANNEL_NEXT) for number in range(300)),
    ),
    "BatchSetOverrides (nothing)": many(v1.OverrideChange(repo="acme/none", delete=True)),
    "SetPolicy (check)": lambda c: v1.SetPolicyRequest(
        component=c, policy=v1.Policy(checks=[v1.Check(name="errors", query="up")])
    ),
    "SetPolicy (same)": lambda c: v1.SetPolicyRequest(component=c, policy=v1.Policy(queue_mode=1)),
}
"""The request of each row, about a component that `prepared` has made. Words in brackets say what is special about it."""


@dataclass
class World:
    """A server, and the store of its namespace."""

    target: str
    call: Stubs
    redis: "Redis"

    def send(self, method: str, request: Message) -> Any:
        return send(self.call.channel, method, request)

    def dump(self) -> dict[bytes, tuple[bytes, int]]:
        """Returns the bytes of every key of the namespace, and when the key expires."""
        keys = sorted(self.redis.scan_iter(match=Keys(NAMESPACE).pattern, count=10_000))
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.dump(key)
            pipe.pexpiretime(key)
        replies = pipe.execute()
        found = zip(keys, zip(replies[::2], replies[1::2], strict=True), strict=True)
        # A key may end between its two answers.
        return {key: each for key, each in found if each[0] is not None and each[1] != _NO_KEY}

    def require_untouched(self, before: dict[bytes, tuple[bytes, int]]) -> None:
        """Fails if a key is new, changed or gone, unless the time of the key is over."""
        found, (seconds, _) = self.dump(), self.redis.time()
        ended = {key for key in before.keys() - found.keys() if 0 < before[key][1] <= (seconds + 1) * 1000}
        assert found == {key: each for key, each in before.items() if key not in ended}

    def outcome(self, method: str, request: Message) -> Message:
        """Returns the answer, or the status of the refusal, without what differs from call to call. Only a dry run has a preview."""
        try:
            answer = timeless(self.send(method, request))
        except grpc.RpcError as error:
            found: status_pb2.Status = rpc_status.from_call(error)
            return found
        answer.ClearField("preview")
        return answer


@pytest.fixture(scope="module")
def world(store_process: StoreServer) -> Iterator[World]:
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=NAMESPACE) as target,
        stubs(target) as call,
        Redis(unix_socket_path=store_process.url.removeprefix("unix://")) as redis,
    ):
        yield World(target, call, redis)


def dry(request: Any) -> Any:
    made = type(request)()
    made.CopyFrom(request)
    made.dry_run = True
    return made


_numbers = itertools.count(1)


@pytest.fixture
def component(world: World) -> Iterator[str]:
    """A component of the test's own, as `prepared` makes it: in ROLLING_OUT, with all that there may be."""
    yield prepared(world.send, f"c{next(_numbers)}")
    world.call("Unfreeze", all=True)


def as_it_is(_world: World, _component: str) -> None:
    pass


def held(world: World, component: str) -> None:
    world.call("Rollback", component=component)


def steady(world: World, component: str) -> None:
    world.call("CancelRelease", component=component, release=4)
    world.call("Abandon", component=component)


def all_frozen(world: World, component: str) -> None:
    """With a queue whose head starts when the freeze ends."""
    world.call("Freeze", all=True)
    world.call("Abandon", component=component)


def reverted(world: World, component: str) -> None:
    world.call("Revert", component=component, tag="t1")


def deleted(world: World, component: str) -> None:
    world.call("DeleteComponent", component=component, confirm=component)


CASES = [
    *itertools.product(ROWS, (as_it_is, held)),
    *itertools.product([row for row in ROWS if row in REQUESTS], (steady, all_frozen, reverted, deleted)),
]


def test_every_rpc_that_changes_something_has_a_row() -> None:
    assert {method_of(row) for row in ROWS} == MUTATING
    assert len(MUTATING) == 19


@pytest.mark.parametrize(("row", "state"), CASES)
def test_a_dry_run_answers_as_the_real_call_and_writes_nothing(
    world: World, component: str, row: str, state: Callable[[World, str], None]
) -> None:
    """In each state, of which some refuse. The dry run has the request id of the real call, which still applies after it."""
    state(world, component)
    method, request = method_of(row), ROWS[row](component)
    request.request_id = f"r-{component}"

    before = world.dump()
    expected = world.outcome(method, dry(request))
    world.require_untouched(before)

    real = world.outcome(method, request)
    assert real == expected
    if isinstance(real, status_pb2.Status):
        world.require_untouched(before)
        return
    assert not real.replayed
    after = world.dump()
    assert after != before

    # The repeat of an applied request.
    assert world.outcome(method, dry(request)) == world.outcome(method, request)
    assert world.outcome(method, dry(request)).replayed
    world.require_untouched(after)


@pytest.mark.parametrize("method", sorted(MUTATING))
def test_a_dry_run_is_refused_at_another_revision(world: World, component: str, method: str) -> None:
    request = REQUESTS[method](component)
    request.expected_revision = 999
    before = world.dump()

    expected = world.outcome(method, dry(request))

    assert isinstance(expected, status_pb2.Status)
    assert world.outcome(method, request) == expected
    world.require_untouched(before)


def test_a_dry_run_of_a_first_release_makes_no_component(world: World) -> None:
    answer = world.call("Release", component="newborn", tag="t1", dry_run=True)

    assert (answer.disposition, answer.release, answer.revision) == (v1.Disposition.DISPOSITION_BOOTSTRAPPED, 1, 1)
    assert answer.rollout.current.tag == "t1"
    with pytest.raises(grpc.RpcError) as caught:
        world.call("GetRollout", component="newborn")
    assert reason_of(caught.value) == "COMPONENT_NOT_FOUND"


def test_a_dry_run_with_the_id_of_another_request_is_refused_as_the_real_call(world: World, component: str) -> None:
    world.call("Ramp", component=component, percent=20, request_id="used")
    other = v1.RampRequest(component=component, percent=30, request_id="used")

    refused = world.outcome("Ramp", dry(other))

    assert refused == world.outcome("Ramp", other)
    with pytest.raises(grpc.RpcError) as caught:
        world.send("Ramp", dry(other))
    assert metadata_of(caught.value) == {"request_id": "used", "method": "Ramp", "differs": "percent"}


def test_a_request_id_stays_free_for_any_other_request_after_a_dry_run(world: World, component: str) -> None:
    """Also after a dry run that would change nothing, because a real call of that kind is remembered, too."""
    for percent in (10, 20):
        world.call("Ramp", component=component, percent=percent, request_id="free", dry_run=True)
    world.call("SetOverride", component=component, repo="acme/app", tag="t1", request_id="free", dry_run=True)

    answer = world.call("Pause", component=component, request_id="free")

    assert (answer.changed, answer.replayed) == (True, False)


def test_a_dry_run_needs_the_role_of_its_verb(store_process: StoreServer, namespace: str) -> None:
    """Given one component, which no dry run changes, expect that each caller gets the status that its real call would get."""
    rows = {row: make for row, make in REQUESTS.items() if method_of(row) in MUTATING}
    with serving(store_process.url, namespace) as (channel, tokens):
        admin = tokens.metadata("admin")
        prepared(lambda method, request: send(channel, method, request, admin), C)
        found = {
            row: {caller: status(channel, method_of(row), dry(make(C)), tokens.metadata(caller)) for caller in CALLERS}
            for row, make in rows.items()
        }
        # The real calls, each on a component of its own, by the roles between which the verbs differ.
        for row, make in rows.items():
            for caller in ("viewer", "ci", "operator", "other component"):
                component = prepared(
                    lambda method, request: send(channel, method, request, admin), f"c{next(_numbers)}"
                )
                real = status(channel, method_of(row), make(component), tokens.metadata(caller))
                assert found[row][caller] == real, (row, caller)
                send(channel, "Unfreeze", v1.UnfreezeRequest(all=True), admin)
    assert {cells["admin"] for cells in found.values()} == {"OK"}
    assert {cells["launcher"] for cells in found.values()} == {"PERMISSION_DENIED"}


def test_the_admin_of_the_library_takes_dry_run_for_every_change(world: World, component: str) -> None:
    before = world.dump()
    with Admin(world.target) as admin:
        assert admin.ramp(component, 20, dry_run=True).rollout.next_percent == 20
        assert admin.delete_component(component, confirm=component, dry_run=True).changed
        assert admin.set_override(component, "acme/web", tag="t1", dry_run=True).changed
        with pytest.raises(FailedPreconditionError):
            admin.finalize(component, tag="t9", dry_run=True)
    world.require_untouched(before)


async def test_the_asyncio_face_takes_dry_run_too(world: World, component: str) -> None:
    before = world.dump()
    async with AsyncAdmin(world.target) as admin:
        assert (await admin.rollback(component, dry_run=True)).rollout.held_reason
    world.require_untouched(before)
