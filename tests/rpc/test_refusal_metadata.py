"""The metadata that only some refusals of a reason have: a real server sends each key."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import grpc
import pytest
from redis import Redis

from rampd import v1
from rampd_server import testing
from rampd_server.domain.errors import Reason
from rampd_server.storage.schema import SCHEMA
from tests.rpc.access_table import Tokens, send
from tests.servers import Stubs, metadata_of, reason_of, short_directory, stubs
from tests.stores import VALKEY, store_server
from tests.unit.server.test_errors import HOMES

C = "restyler"
META = "rampd:{default}:meta"


@dataclass
class World:
    """A server with a store of its own, in which C has the release t1."""

    call: Stubs
    redis: Redis
    url: str
    """Of the store."""

    def refusal(self, method: str, **fields: object) -> tuple[str, dict[str, str]]:
        """Returns the reason and the metadata of a call that is refused."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, **fields)
        return reason_of(caught.value), metadata_of(caught.value)


@pytest.fixture
def world() -> Iterator[World]:
    with (
        store_server(VALKEY) as store,
        short_directory() as directory,
        testing.run(directory, store.url) as target,
        stubs(target) as call,
        Redis.from_url(store.url, decode_responses=True) as redis,
    ):
        call("Release", component=C, tag="t1", request_id="r-1")
        yield World(call, redis, store.url)


Refusal = tuple[str, dict[str, str]]
"""A reason and its metadata."""


def another_tag_with_a_used_request_id(world: World) -> tuple[Refusal, Refusal]:
    said = {"request_id": "r-1", "method": "Release", "differs": "tag"}
    return world.refusal("Release", component=C, tag="t2", request_id="r-1"), ("REQUEST_ID_REUSED", said)


def a_release_that_is_not_kept(world: World) -> tuple[Refusal, Refusal]:
    said = {"component": C, "release": "99"}
    return world.refusal("CancelRelease", component=C, release=99), ("RELEASE_NOT_FOUND", said)


def a_tag_that_was_never_current(world: World) -> tuple[Refusal, Refusal]:
    return world.refusal("Revert", component=C, tag="t9"), ("RELEASE_NOT_FOUND", {"component": C, "tag": "t9"})


def a_store_without_memory(world: World) -> tuple[Refusal, Refusal]:
    world.redis.config_set("maxmemory", "1")
    return world.refusal("Freeze", component=C), ("STORE_UNAVAILABLE", {"code": "OOM"})


def a_newer_schema(world: World) -> tuple[Refusal, Refusal]:
    world.redis.hset(META, "schema", str(SCHEMA + 1))
    said = {"found": str(SCHEMA + 1), "known": str(SCHEMA)}
    return world.refusal("Freeze", component=C), ("STORE_UNAVAILABLE", said)


def another_epoch(world: World) -> tuple[Refusal, Refusal]:
    said = {"believed": str(world.redis.hget(META, "epoch")), "found": "other"}
    world.redis.hset(META, "epoch", "other")
    return world.refusal("Freeze", component=C), ("STORE_RESET", said)


def a_revision_that_does_not_come(world: World) -> tuple[Refusal, Refusal]:
    refusal = world.refusal("Resolve", component=C, repo="acme/app", min_revision=10_000)
    return refusal, ("NO_SNAPSHOT", {"revision": "1"})


def a_component_outside_of_the_grant(world: World) -> tuple[Refusal, Refusal]:
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("deployer", "operator", f'components = ["{C}"]')
        with (
            testing.run(directory, world.url, access_file=tokens.path, insecure_admin=False) as target,
            grpc.insecure_channel(target) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            send(channel, "Release", v1.ReleaseRequest(component="website", tag="t1"), tokens.metadata("deployer"))
    refusal = reason_of(caught.value), metadata_of(caught.value)
    return refusal, ("ROLE_REQUIRED", {"role": "ci", "component": "website"})


CASES: Mapping[tuple[Reason, str], Callable[[World], tuple[Refusal, Refusal]]] = {
    (Reason.REQUEST_ID_REUSED, "method"): another_tag_with_a_used_request_id,
    (Reason.REQUEST_ID_REUSED, "differs"): another_tag_with_a_used_request_id,
    (Reason.RELEASE_NOT_FOUND, "release"): a_release_that_is_not_kept,
    (Reason.RELEASE_NOT_FOUND, "tag"): a_tag_that_was_never_current,
    (Reason.ROLE_REQUIRED, "component"): a_component_outside_of_the_grant,
    (Reason.STORE_UNAVAILABLE, "code"): a_store_without_memory,
    (Reason.STORE_UNAVAILABLE, "found"): a_newer_schema,
    (Reason.STORE_UNAVAILABLE, "known"): a_newer_schema,
    (Reason.STORE_RESET, "believed"): another_epoch,
    (Reason.STORE_RESET, "found"): another_epoch,
    (Reason.NO_SNAPSHOT, "revision"): a_revision_that_does_not_come,
}
"""Makes a refusal that has the key. Returns the refusal and what it has to be."""


@pytest.mark.parametrize(("reason", "key"), CASES, ids=str)
def test_a_key_that_some_refusals_of_a_reason_have_is_sent(world: World, reason: Reason, key: str) -> None:
    refusal, expected = CASES[reason, key](world)
    assert refusal == expected
    assert refusal[0] == reason
    assert key in refusal[1]


def test_each_key_that_a_refusal_may_leave_out_has_its_case() -> None:
    optional = {
        (reason, each.name)
        for reason, make in HOMES.items()
        for each in inspect.signature(make).parameters.values()
        if each.kind is each.KEYWORD_ONLY and each.default is None
    }
    assert CASES.keys() == optional
