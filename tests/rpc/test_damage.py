"""A component whose data somebody has damaged by hand: what the lists, the resolvers and the verbs make of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

import rampd
from rampd import Resolver, v1
from rampd_server import testing
from rampd_server.storage.redis_store import RedisStore
from tests.damaging import damage, have_it_read_again
from tests.servers import Stubs, metadata_of, reason_of, short_directory, stubs
from tests.stores import StoreServer

C = "restyler"


@pytest.fixture
async def store(store_process: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """A hand with redis-cli."""
    made = store_process.store(namespace)
    yield made
    await made.close()


async def until(is_so: Callable[[], Any], within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def listed(call: Stubs) -> dict[str, v1.Rollout]:
    """All rollouts, two a page."""
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
async def test_a_damaged_component_is_listed_with_what_is_wrong_among_the_others(
    call: Stubs, second: Stubs, store: RedisStore, kind: tuple[str, str]
) -> None:
    """Given damage that no server has heard of, expect every page as ever, on each server."""
    for name in ("a", "b", C, "x", "z"):
        call("Release", component=name, tag="t1")
    await damage(store, C, *kind)

    for stub in (call, second):
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


async def test_damage_beside_the_rollout_is_shown_with_it(call: Stubs, store: RedisStore) -> None:
    call("Release", component=C, tag="t1")
    call("SetOverride", component=C, repo="acme/app", tag="t1")
    await damage(store, C, "overrides", "gone")
    await have_it_read_again(store, C)
    await until(lambda: listed(call)[C].HasField("damage"))
    for rollout in (listed(call)[C], call("GetRollout", component=C).rollout):
        assert (rollout.current.tag, rollout.damage.key) == ("t1", store.keys.component(C).overrides)


async def test_a_text_that_is_no_text_and_a_name_that_is_none_hide_nothing(
    call: Stubs, store: RedisStore, target: str
) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component="z", tag="t1")
    await store.client.hset(store.keys.component(C).rollout, "paused", b"\xff" * 100_000)
    await store.client.zadd(store.keys.components, {b"\xff": 0})
    await have_it_read_again(store, C)

    found = listed(call)
    assert list(found) == [C, "z"]
    assert "\\udcff" in found[C].damage.problem
    with Resolver(target) as resolver:
        assert resolver.resolve("z", repo="acme/app").tag == "t1"


@pytest.fixture
def begun(store_process: StoreServer, namespace: str) -> Iterator[Callable[[], contextlib.AbstractContextManager[str]]]:
    """A server that can be ended and begun again at the same address."""
    with short_directory() as directory:

        @contextlib.contextmanager
        def run() -> Iterator[str]:
            path = directory / "rampd.sock"
            with testing.run(directory, store_process.url, namespace=namespace, socket=path):
                yield f"unix:{path}"

        yield run


async def test_a_launcher_keeps_what_it_holds_of_a_component_that_a_new_server_cannot_read(
    begun: Callable[[], contextlib.AbstractContextManager[str]], store: RedisStore
) -> None:
    """Given a launcher, a component that is damaged, and a server that never read it, expect the last answers, for good."""
    with begun() as target:
        with stubs(target) as call:
            for each in ("t1", "t2"):
                call("Release", component=C, tag=each)
            call("Ramp", component=C, percent=100)
            call("Release", component="other", tag="t1")
        told: list[Any] = []
        resolver = Resolver(target, next_max_stale=60)
        resolver.on_change(told.append)
        assert resolver.resolve(C, repo="acme/app").tag == "t2"
    try:
        await damage(store, C, "releases", "type")
        with begun() as again:
            await until(lambda: resolver.status().damaged == (C,))
            status = resolver.status()
            assert (status.components, status.deleted, status.connected) == (2, (), True)
            answer = resolver.resolve(C, repo="acme/app")
            assert (answer.tag, answer.reason) == ("t2", "WEIGHT")
            assert not told
            # Long after what a component that is gone is answered for.
            feed = resolver._watching.local.feed
            last = feed.damaged[C]
            assert last is not None
            feed.damaged = {C: type(last)(last.component, last.since_s - 3600)}
            answer = resolver.resolve(C, repo="acme/app")
            assert (answer.tag, answer.reason, answer.stale) == ("t1", "STALE", True)
            assert not resolver.resolve("other", repo="acme/app").stale

            # A launcher that knows nothing of it is told why.
            with Resolver(again) as new:
                assert new.resolve("other", repo="acme/app").tag == "t1"
                with pytest.raises(rampd.NoVersionError, match="its data in the store is damaged") as caught:
                    new.resolve(C, repo="acme/app")
                assert caught.value.reason == "STORE_CORRUPT"
    finally:
        resolver.close()
