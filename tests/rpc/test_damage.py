"""A component whose data a person has damaged: what the lists, the resolvers and the verbs do with it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import rampd
from rampd import Resolver, v1
from rampd_server import testing
from rampd_server.storage.store import RedisStore
from tests.damaging import DAMAGE_OF_A_COMPONENT, DAMAGE_OF_THE_HISTORY, damage, make_servers_read_again
from tests.servers import Stubs, metadata_of, reason_of, short_directory, stubs
from tests.stores import StoreServer

C = "restyler"


@pytest.fixture
async def store(store_process: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """A store to damage data with, as a person with redis-cli would."""
    made = store_process.store(namespace)
    yield made
    await made.close()


async def until(condition: Callable[[], Any], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def listed(call: Stubs) -> dict[str, v1.Rollout]:
    """Returns all rollouts, read in pages of two."""
    found: list[v1.Rollout] = []
    token = ""
    while True:
        page = call("ListRollouts", page_size=2, page_token=token)
        found += page.rollouts
        assert len(page.rollouts) <= 2
        if not (token := page.next_page_token):
            break
    names = [rollout.component for rollout in found]
    assert names == sorted(set(names))
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("kind", [("rollout", "type"), ("releases", "3"), ("everything", "gone"), ("rollout", "state")])
async def test_a_damaged_component_is_listed_with_its_damage_among_the_others(
    call: Stubs, second: Stubs, store: RedisStore, kind: tuple[str, str]
) -> None:
    """Given damage, expect that each server lists every page, with the damage once the server has met it."""
    for name in ("a", "b", C, "x", "z"):
        call("Release", component=name, tag="t1")
    await damage(store, C, *kind)

    for stub in (call, second):
        assert list(listed(stub)) == ["a", "b", C, "x", "z"]
        with pytest.raises(grpc.RpcError):
            stub("GetRollout", component=C)
        await until(lambda: listed(stub)[C].HasField("damage"))  # noqa: B023 - called at once
        found = listed(stub)
        assert list(found) == ["a", "b", C, "x", "z"]
        bad = found.pop(C)
        assert bad == v1.Rollout(component=C, damage=bad.damage)
        assert C in bad.damage.key
        assert bad.damage.problem.startswith(bad.damage.key)
        assert "DeleteComponent" in bad.damage.problem
        assert {name: (each.current.tag, each.HasField("damage")) for name, each in found.items()} == dict.fromkeys(
            ("a", "b", "x", "z"), ("t1", False)
        )
        with pytest.raises(grpc.RpcError) as caught:
            stub("GetRollout", component=C)
        assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.INTERNAL, "STORE_CORRUPT")
        assert metadata_of(caught.value) == {"key": bad.damage.key}
        assert caught.value.details() == bad.damage.problem


async def test_damage_outside_the_rollout_is_shown_with_the_rollout(call: Stubs, store: RedisStore) -> None:
    call("Release", component=C, tag="t1")
    call("SetOverride", component=C, repo="acme/app", tag="t1")
    await damage(store, C, "overrides", "gone")
    await make_servers_read_again(store, C)
    await until(lambda: listed(call)[C].HasField("damage"))
    for rollout in (listed(call)[C], call("GetRollout", component=C).rollout):
        assert (rollout.current.tag, rollout.damage.key) == ("t1", store.keys.component(C).overrides)


async def test_damaged_counts_of_current_hide_neither_the_component_nor_the_others(
    call: Stubs, store: RedisStore
) -> None:
    for name in ("a", C):
        call("Release", component=name, tag="t1")
    key = store.keys.outcomes(C).release_outcomes
    await store.client.set(key, "no hash")

    found = {each.component: each for each in call("ListRollouts", current_outcomes=True).rollouts}

    assert (found[C].current.tag, found[C].damage.key, found[C].HasField("current_outcomes")) == ("t1", key, False)
    assert (found["a"].HasField("current_outcomes"), found["a"].HasField("damage")) == (True, False)


async def test_health_shows_that_a_component_is_damaged_without_its_name(call: Stubs, store: RedisStore) -> None:
    """Given a damaged component, expect that only the health of the components changes, and that its repair ends this."""
    stub = health_pb2_grpc.HealthStub(call.channel)

    def not_serving() -> list[str]:
        statuses = stub.List(health_pb2.HealthListRequest(), timeout=60).statuses
        return [name for name, each in statuses.items() if each.status != health_pb2.HealthCheckResponse.SERVING]

    call("Release", component=C, tag="t1")
    await until(lambda: not_serving() == [])
    await damage(store, C, "releases", "type")
    await make_servers_read_again(store, C)
    await until(lambda: not_serving() == ["rampd.v1.components"])
    call("DeleteComponent", component=C, confirm=C)
    await until(lambda: not_serving() == [])


async def test_a_stored_text_and_a_stored_name_that_are_not_utf8_hide_no_component(
    call: Stubs, store: RedisStore, target: str
) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component="z", tag="t1")
    await store.client.hset(store.keys.component(C).rollout, "paused", b"\xff" * 100_000)
    await store.client.zadd(store.keys.components, {b"\xff": 0})
    await make_servers_read_again(store, C)

    found = listed(call)
    assert list(found) == [C, "z"]
    assert "\\udcff" in found[C].damage.problem
    with Resolver(target) as resolver:
        assert resolver.resolve("z", repo="acme/app").tag == "t1"


@pytest.fixture
def begun(store_process: StoreServer, namespace: str) -> Iterator[Callable[[], contextlib.AbstractContextManager[str]]]:
    """Gives a function that starts a server. A server that starts again has the same address, but no last state."""
    with short_directory() as directory:

        @contextlib.contextmanager
        def run() -> Iterator[str]:
            for remembered in directory.rglob("last-state-*"):
                remembered.unlink()
            path = directory / "rampd.sock"
            with testing.run(directory, store_process.url, namespace=namespace, socket=path):
                yield f"unix:{path}"

        yield run


async def test_a_launcher_keeps_its_versions_of_a_component_that_a_new_server_can_not_read(
    begun: Callable[[], contextlib.AbstractContextManager[str]], store: RedisStore
) -> None:
    """Given a launcher, a damaged component, and a server that never read it, expect that the launcher keeps giving its
    last answers.
    """
    with begun() as target:
        with stubs(target) as call:
            for each in ("t1", "t2"):
                call("Release", component=C, tag=each)
            call("Ramp", component=C, percent=100)
            call("Release", component="other", tag="t1")
        changes: list[Any] = []
        resolver = Resolver(target, next_max_stale=600)
        resolver.on_change(changes.append)
        assert resolver.resolve(C, repo="acme/app").tag == "t2"
    try:
        await damage(store, C, "releases", "type")
        with begun() as again:
            await until(lambda: resolver.status().damaged == (C,) and resolver.status().connected)
            status = resolver.status()
            assert (status.components, status.deleted, status.connected) == (2, (), True)
            answer = resolver.resolve(C, repo="acme/app")
            assert (answer.tag, answer.reason) == ("t2", "WEIGHT")
            assert not changes
            # Long after the time for which a launcher answers for a deleted component.
            feed = resolver._watching.local.feed
            last = feed.damaged[C]
            assert last is not None
            feed.damaged = {C: type(last)(last.component, last.since_s - 3600)}
            answer = resolver.resolve(C, repo="acme/app")
            assert (answer.tag, answer.reason, answer.stale) == ("t1", "STALE", True)
            await until(lambda: not resolver.resolve("other", repo="acme/app").stale)

            # A launcher without a state of the component gets an error that says why.
            with Resolver(again) as new:
                assert new.resolve("other", repo="acme/app").tag == "t1"
                await until(lambda: new.status().connected)
                with pytest.raises(rampd.NoVersionError, match="its data in the store is damaged") as caught:
                    new.resolve(C, repo="acme/app")
                assert caught.value.reason == "STORE_CORRUPT"
    finally:
        resolver.close()


@pytest.mark.parametrize("kind", [*DAMAGE_OF_A_COMPONENT, *DAMAGE_OF_THE_HISTORY])
async def test_a_component_with_any_damage_can_be_deleted_and_created_again(
    call: Stubs, store: RedisStore, store_process: StoreServer, namespace: str, kind: tuple[str, str]
) -> None:
    """Given two damaged components, one server that has read them before, and one server that has not, expect that each server
    can delete one of them and that the other server follows. Expect that a new release continues the numbers.
    """
    names = ("by-new", "by-old")
    for name in names:
        for tag in ("a0", "a"):
            call("Release", component=name, tag=tag)
        call("Finalize", component=name, force=True)
        call("Release", component=name, tag="b", attributes={"k": "v"})
        call("Ramp", component=name, percent=10)
        for tag in ("c", "d"):
            call("Release", component=name, tag=tag)
        call("Quarantine", component=name, tag="x")
        call("SetOverride", component=name, repo="acme/app", tag="a")
        revision = call("GetRollout", component=name).rollout.revision
        await damage(store, name, *kind)

    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as new,
        stubs(new) as other,
    ):
        for name, deleting, following in (("by-new", other, call), ("by-old", call, other)):
            answer = deleting("DeleteComponent", component=name, confirm=name, request_id=f"id-{name}", note="broken")
            assert (answer.changed, answer.replayed) == (True, False)
            assert answer.revision > revision
            assert deleting(
                "DeleteComponent", component=name, confirm=name, request_id=f"id-{name}", note="broken"
            ).replayed
            await until(lambda: is_gone(following, name))  # noqa: B023 - called at once
            assert is_gone(deleting, name)
            event = following("ListEvents", component=name).events[0]
            assert (event.action, event.note, event.revision) == ("DeleteComponent", "broken", answer.revision)
            assert ("state", "") in [(change.field, change.after) for change in event.changes]

            # A damaged state may have named more releases than there were. No number is used again, so that some may be skipped.
            again = following("Release", component=name, tag="e")
            assert again.disposition == v1.DISPOSITION_BOOTSTRAPPED
            assert again.release >= 6
            assert again.revision == answer.revision + 1
            await until(lambda: is_at(deleting, name, again.revision))  # noqa: B023
            for stub in (deleting, following):
                assert stub("Resolve", component=name, repo="acme/app").tag == "e"
                assert not listed(stub)[name].HasField("damage")
            assert not other("ListOverrides", component=name).overrides


def is_gone(call: Stubs, name: str) -> bool:
    try:
        call("Resolve", component=name, repo="acme/app")
    except grpc.RpcError as error:
        return reason_of(error) == "COMPONENT_NOT_FOUND"
    return False


def is_at(call: Stubs, name: str, revision: int) -> bool:
    return not is_gone(call, name) and call("Resolve", component=name, repo="acme/app").revision >= revision


async def test_a_release_does_not_create_a_component_whose_data_are_lost_but_whose_name_is_listed(
    call: Stubs, store: RedisStore, second: Stubs
) -> None:
    """Given a component without any data, expect that no Release makes a tag current until an admin deletes the component."""
    call("Release", component=C, tag="t1")
    await damage(store, C, "everything", "gone")
    for stub in (call, second):
        with pytest.raises(grpc.RpcError) as caught:
            stub("Release", component=C, tag="t2")
        assert reason_of(caught.value) == "STORE_CORRUPT"
    call("DeleteComponent", component=C, confirm=C)
    assert second("Release", component=C, tag="t2").release == 2


async def test_a_damaged_component_is_not_deleted_with_an_expected_revision(call: Stubs, store: RedisStore) -> None:
    call("Release", component=C, tag="t1")
    await damage(store, C, "releases", "type")
    with pytest.raises(grpc.RpcError) as caught:
        call("DeleteComponent", component=C, confirm=C, expected_revision=1)
    assert reason_of(caught.value) == "STORE_CORRUPT"
    assert await store.client.exists(store.keys.component(C).rollout)
