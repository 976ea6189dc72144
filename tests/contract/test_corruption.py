"""Data that somebody edited by hand give an error that names the key and the field, and never a wrong version."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from rampd import v1
from rampd_server.access.rpc_roles import Role
from rampd_server.caretaker import Caretaker
from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import Override, Stored
from rampd_server.replica import replica as module
from rampd_server.replica.replica import Replica
from rampd_server.rpc.door import local
from rampd_server.rpc.resolver import ResolverServicer
from rampd_server.rpc.rollout_list import RolloutList
from rampd_server.service.service import Service
from rampd_server.storage.limits import SWEEP_AFTER_MS
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, decide, do
from tests.contract.test_freezes import following
from tests.damaging import DAMAGE_OF_A_COMPONENT, damage, make_servers_read_again
from tests.in_background import in_background
from tests.rollouts import NOW
from tests.waiting import PATIENCE_S

Read = tuple[str, Stored | Exception]
"""As `Store.read_many` gives it."""


@pytest.fixture(autouse=True)
async def component(store: RedisStore) -> None:
    """Current a, previous a0; b is next at 10 %; c and d wait."""
    await do(store, commands.Release("a0"), commands.Release("a"), commands.Finalize(force=True))
    await do(
        store, commands.Release("b", {"k": "v"}), commands.Ramp(1000), commands.Release("c"), commands.Release("d")
    )
    await do(store, commands.Quarantine("x"), commands.Freeze(NOW + 1))


WRONG_FIELDS = [
    ("rollout", "revision", ""),
    ("rollout", "revision", "-1"),
    ("rollout", "revision", "1e3"),
    ("rollout", "revision", "9" * 30),
    ("rollout", "revision", " 5"),
    ("rollout", "revision", "٣"),
    ("rollout", "revision", "3"),  # less than the last revision of the timeline
    ("rollout", "last_number", "2"),
    ("rollout", "current", "3"),
    ("rollout", "current", "1"),
    ("rollout", "current", "77"),
    ("rollout", "current_tag", "b"),
    ("rollout", "current_tag", b"\xff\xfe"),
    ("rollout", "next", "2"),
    ("rollout", "next", "4"),
    ("rollout", "next", "77"),
    ("rollout", "next_tag", "a"),
    ("rollout", "next_percent", "10.001"),
    ("rollout", "next_percent", "010"),
    ("rollout", "next_percent", "10.0"),
    ("rollout", "next_percent", "-1"),
    ("rollout", "next_percent", "100.01"),
    ("rollout", "next_percent", "NaN"),
    ("rollout", "state", "STEADY"),
    ("rollout", "state", "HELD"),
    ("rollout", "state", "steady"),
    ("rollout", "held_reason", "because"),
    ("rollout", "held_reason", b"\xff"),
    ("rollout", "paused", "yes"),
    ("rollout", "trial", "one"),
    ("rollout", "driver", "ROBOT"),
    ("rollout", "driver", "NOBODY"),  # the default is not written
    ("rollout", "hold_since_ms", "soon"),
    ("rollout", "moved_ms", "-1"),
    ("rollout", "paused_by", "ADA"),
    ("rollout", "pause", '{"actor":"ada","note":"","create_ms":1}'),  # it is not paused
    ("rollout", "hold", '{"actor":"ada","create_ms":1}'),  # it is not held
    ("rollout", "current_revision", "99"),
    ("rollout", "is_approved", "0"),
    ("rollout", "said", ""),
    ("rollout", "said", "STUCK STUCK"),
    ("rollout", "said", "STUCK CHECK_FAILED"),  # not in order
    ("rollout", "unit", "USER"),
    ("rollout", "previous", "1 1"),
    ("rollout", "previous", "1,2"),
    ("rollout", "previous", "77"),
    ("rollout", "freeze", "{"),
    ("rollout", "freeze", '{"actor":"ada"}'),
    ("rollout", "freeze", r'{"actor":"\ud800","note":"","create_ms":1}'),
    ("rollout", "freeze", '{"actor": "ada", "note": "", "create_ms": 1}'),
    ("rollout", "policy", '{"queue_mode":"LIFO","unit":"REPO"}'),
    ("rollout", "policy", "{}"),
    ("rollout", "policy", r'{"queue_mode":"FIFO","unit":"REPO","later":"\ud800"}'),
    ("rollout", "policy", "[" * 100_000),
    ("rollout", "create_ms", "yesterday"),
    ("rollout", "deleted", "1"),
    ("releases", "3", ""),
    ("releases", "3", "null"),
    ("releases", "3", '{"tag":"b","state":"NEXT","actor":"ada","create_ms":1'),
    ("releases", "3", '{"tag":"","state":"NEXT","actor":"ada","create_ms":1,"update_ms":1}'),
    ("releases", "3", '{"tag":"b","state":"NEXT","actor":7,"create_ms":1,"update_ms":1}'),
    ("releases", "3", '{"tag":"b","state":"NEXT","actor":"ada","create_ms":true,"update_ms":1}'),
    ("releases", "3", '{"tag":"b","state":"NEXT","actor":"ada","create_ms":-1,"update_ms":1}'),
    ("releases", "3", '{"tag":"b","state":"GOING","actor":"ada","create_ms":1,"update_ms":1}'),
    ("releases", "3", '{"tag":"b","state":"RETIRED","actor":"ada","create_ms":1,"update_ms":1}'),
    ("releases", "1", '{"tag":"a0","state":"CURRENT","actor":"ada","create_ms":1,"update_ms":1}'),
    ("releases", "4", b'{"tag":"\xff","state":"QUEUED","actor":"ada","create_ms":1,"update_ms":1}'),
    ("releases", "4", r'{"tag":"\ud800","state":"QUEUED","actor":"ada","create_ms":1,"update_ms":1}'),
    ("releases", "99", '{"tag":"z","state":"RETIRED","actor":"ada","create_ms":1,"update_ms":1}'),
    ("releases", "x", '{"tag":"z","state":"RETIRED","actor":"ada","create_ms":1,"update_ms":1}'),
    ("attributes", "3", '{"k":1}'),
    ("attributes", "3", '["k"]'),
    ("attributes", "3", "{"),
    ("attributes", "3", b'{"k":"\xff"}'),
    ("attributes", "3", r'{"k":"\ud800"}'),
    ("attributes", "3", r'{"\udfff":"v"}'),
    ("attributes", "77", '{"k":"v"}'),
    ("quarantine", "x", '{"actor":"ada"}'),
    ("quarantine", "x", "x"),
    ("quarantine", "x", r'{"actor":"ada","note":"\ud800","create_ms":1}'),
    ("timeline", "99", "3 1000 REPO 1"),
    ("timeline", "5", "3 1000 REPO"),
    ("timeline", "5", "3 10001 REPO 1"),
    ("timeline", "5", "3 1000 repo 1"),
    ("timeline", "-1", "3 1000 REPO 1"),
]


@pytest.mark.parametrize(("section", "field", "text"), WRONG_FIELDS)
async def test_an_error_names_a_wrong_field(store: RedisStore, section: str, field: str, text: str | bytes):
    key = getattr(store.keys.component(COMPONENT), section)
    await store.client.hset(key, field, text)

    with pytest.raises(StoreCorruptError) as caught:
        await store.read(COMPONENT)

    named = caught.value.metadata["key"]
    assert named.endswith(f":{COMPONENT}")
    assert named in caught.value.message
    # A contradiction between two fields names one of them, not always the one that was edited.
    assert "field" in caught.value.message or named == store.keys.component(COMPONENT).queue


@pytest.mark.parametrize(
    "field",
    [
        *("revision", "last_number", "current", "current_tag", "next", "next_tag", "next_percent", "state", "paused"),
        *("trial", "unit", "policy", "create_ms", "update_ms"),
    ],
)
async def test_an_error_names_a_missing_field(store: RedisStore, field: str):
    key = store.keys.component(COMPONENT).rollout
    await store.client.hdel(key, field)

    with pytest.raises(StoreCorruptError) as caught:
        await store.read(COMPONENT)

    assert caught.value.message.startswith(key) or field in {"current", "next"}


@pytest.mark.parametrize("queue", [["77"], ["4"], ["4", "5", "4"], ["4", "5", "3"], ["4", "x"], ["4", b"\xff"], []])
async def test_an_error_names_a_queue_that_contradicts_the_releases(store: RedisStore, queue: list[str | bytes]):
    key = store.keys.component(COMPONENT).queue
    await store.client.delete(key)
    if queue:
        await store.client.rpush(key, *queue)

    with pytest.raises(StoreCorruptError):
        await store.read(COMPONENT)


@pytest.mark.parametrize("section", ["rollout", "queue", "releases"])
async def test_a_missing_key_makes_the_whole_component_an_error(store: RedisStore, section: str):
    await store.client.delete(getattr(store.keys.component(COMPONENT), section))

    with pytest.raises(StoreCorruptError):
        await store.read(COMPONENT)


@pytest.mark.parametrize("section", ["rollout", "queue", "releases", "attributes", "quarantine", "timeline"])
async def test_an_error_names_a_key_of_the_wrong_type_anywhere(store: RedisStore, section: str):
    key = getattr(store.keys.component(COMPONENT), section)
    await store.client.delete(key)
    await store.client.set(key, "x")

    with pytest.raises(StoreCorruptError) as caught:
        await store.read(COMPONENT)

    assert caught.value.metadata == {"key": key}
    wanted = "list" if section == "queue" else "hash"
    assert caught.value.problem == f"{key} is a string, and rampd keeps a {wanted} there."
    assert caught.value.message == (
        f"{caught.value.problem} Restore it from a backup, or rename it. Or begin {COMPONENT} again: DeleteComponent works, "
        "and then Release."
    )


async def test_an_error_names_a_tombstone_without_its_numbers(store: RedisStore):
    key = store.keys.component("gone").rollout
    await store.client.hset(key, mapping={"deleted": "1", "revision": "7"})

    with pytest.raises(StoreCorruptError, match="'last_number'") as caught:
        await store.read("gone")

    assert caught.value.metadata == {"key": key}


@pytest.mark.parametrize("text", ["", "x", "a b c d e f g", "a b 1-1 x 1 0 0 ", "a b 1-1 7 maybe 0 0 "])
async def test_an_error_names_a_malformed_idempotency_record(store: RedisStore, text: str):
    key = store.keys.request("ci-1")
    await store.client.set(key, text)

    with pytest.raises(StoreCorruptError) as caught:
        await store.request_record("ci-1")

    assert caught.value.metadata == {"key": key}


async def test_one_corrupt_component_leaves_the_others_readable(store: RedisStore):
    await do(store, commands.Release("a"), component="other")
    await store.client.hset(store.keys.component(COMPONENT).rollout, "current", "77")

    assert (await store.read("other")).rollout.revision == 1
    assert await store.components(limit=9) == ["other", COMPONENT]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - the replica has no event for damage
            await asyncio.sleep(0.02)


async def set_override(store: RedisStore, component: str = COMPONENT) -> None:
    await store.commit_overrides(component, {"acme/app": Override(channel="CURRENT")}, ADA)


@pytest.mark.parametrize(("section", "how"), DAMAGE_OF_A_COMPONENT)
async def test_a_damaged_component_does_not_harm_the_others_at_a_start(store: RedisStore, section: str, how: str):
    await do(store, commands.Release("a"), component="other")
    await set_override(store)
    await damage(store, COMPONENT, section, how)

    async with following(store) as replica:
        assert replica.get("other") is not None
        assert replica.get(COMPONENT) is None
        found = replica.damage(COMPONENT)
        assert found is not None
        assert COMPONENT in found.metadata["key"]
        assert replica.damage("other") is None
        await until(lambda: replica.is_confirmed)


async def test_a_damaged_component_keeps_its_last_good_state_until_it_is_repaired(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_DAMAGE_CHECK_S", 0.0)
    key = store.keys.component(COMPONENT).rollout
    async with following(store) as replica:
        before = replica.get(COMPONENT)
        assert before is not None
        state = await store.client.hget(key, "state")
        await store.client.hset(key, "state", "{")
        # Any cause that makes the server read everything again.
        await make_servers_read_again(store, COMPONENT)
        await until(lambda: replica.damage(COMPONENT) is not None)
        known = replica.get(COMPONENT)
        assert known is not None
        assert known.rollout == before.rollout

        await store.client.hset(key, "state", state)
        await until(lambda: replica.damage(COMPONENT) is None)
        assert replica.get(COMPONENT) is not None


@pytest.mark.parametrize(("field", "is_repaired"), [("policy", False), ("state", True)])
async def test_a_rollback_of_a_damaged_component_reaches_jobs_and_repairs_what_it_writes(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, field: str, is_repaired: bool
):
    monkeypatch.setattr(module, "_DAMAGE_CHECK_S", 0.0)
    async with following(store) as replica:
        await store.client.hset(store.keys.component(COMPONENT).rollout, field, "{")
        await make_servers_read_again(store, COMPONENT)
        await until(lambda: replica.damage(COMPONENT) is not None)

        await Service(store, replica).execute(COMPONENT, commands.Rollback(), ADA)

        known = replica.get(COMPONENT)
        assert known is not None
        assert known.rollout.basis_points == 0
        if is_repaired:
            await until(lambda: replica.damage(COMPONENT) is None)
        else:
            assert replica.damage(COMPONENT) is not None


@pytest.mark.parametrize("patch", ["{", "[]", '{"rollout":{"set":["revision","{"]}}', '{"rollout":7}'])
async def test_an_entry_that_cannot_be_applied_makes_the_server_read_again(store: RedisStore, patch: str):
    async with following(store) as replica:
        known = replica.get(COMPONENT)
        assert known is not None
        revision = known.rollout.revision
        key = store.keys.component(COMPONENT).rollout
        entry_id = await store.client.xadd(
            store.keys.feed,
            {"component": COMPONENT, "revision": revision + 1, "patch": patch, "prev": replica.entry_id},
        )
        await store.client.hset(key, "revision", revision + 1)
        await store.client.hset(store.keys.meta, "head", entry_id)

        assert await replica.wait_for(COMPONENT, revision + 1, timeout_s=PATIENCE_S)
        assert replica.damage(COMPONENT) is None


class FailingListener:
    """Fails at its first entry."""

    def __init__(self) -> None:
        self.failed = False
        self.reloads = 0

    def applied(self, *_: object) -> None:
        self.failed = True
        raise RuntimeError("a defect")

    def reloaded(self) -> None:
        self.reloads += 1


async def test_a_listener_that_fails_is_reloaded(store: RedisStore):
    listener = FailingListener()
    async with following(store) as replica:
        replica.subscribe(listener)
        await set_override(store)
        await until(lambda: listener.reloads == 1)
        assert listener.failed


async def test_the_other_components_are_unfrozen_despite_a_damaged_component(store: RedisStore):
    async with following(store) as replica:
        service = Service(store, replica)
        for name in ("alpha", "zeta"):
            await do(store, commands.Release("a"), component=name)
        await service.freeze_all(None, ADA)
        for name in ("alpha", "zeta"):
            assert await replica.catch_up(timeout_s=PATIENCE_S)
            await service.execute(name, commands.Release("b"), ADA)
        releases = store.keys.component("alpha").releases
        await store.client.delete(releases)
        await store.client.set(releases, "x")

        answer = await service.unfreeze_all(ADA)

        assert "There is no freeze of all components now" in answer.message
        assert "alpha" in answer.message
        healthy = (await store.read("zeta")).rollout
        assert isinstance(healthy, Rollout)
        assert healthy.next is not None


async def test_a_damaged_component_does_not_end_the_sweep_of_others(store: RedisStore):
    now_ms = (await store.read(COMPONENT)).time_ms
    for name in ("alpha", "zeta"):
        await do(store, commands.Release("a"), component=name)
        expired = Override(channel="CURRENT", expire_ms=now_ms - SWEEP_AFTER_MS)
        await store.commit_overrides(name, {"acme/app": expired}, ADA)
    async with following(store) as replica:
        expiry = store.keys.component("alpha").overrides_expiry
        await store.client.delete(expiry)
        await store.client.set(expiry, "x")
        await Caretaker(Service(store, replica), replica, store, RedisOutcomes(store.link)).sweep()

        assert not await store.list_overrides("zeta", prefix="", after="", limit=9)


@pytest.mark.parametrize("fields", [{"x": "y"}, {"component": COMPONENT, "revision": "x"}, {"prev": "0-0"}])
async def test_a_server_gets_a_state_despite_an_entry_that_no_script_wrote(store: RedisStore, fields: dict[str, str]):
    with capture_logs() as lines:
        async with following(store) as running:
            stray = await store.client.xadd(store.keys.feed, fields)
            await until(lambda: strays(lines) == [stray])
            async with following(store) as starting:
                await until(lambda: starting.is_confirmed)
                await set_override(store)
                for replica in (running, starting):
                    assert await replica.catch_up(timeout_s=PATIENCE_S)
                    known = replica.get(COMPONENT)
                    assert known is not None
                    assert dict(known.overrides.items()).keys() == {"acme/app"}

    # Each server skips it once, and nothing is read again because of it.
    assert strays(lines) == [stray] * 2
    assert [line["event"] for line in lines].count("replica_loaded") == 2


def strays(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return [line["entry"] for line in lines if line["event"] == "feed_entry_stray"]


async def test_entries_that_no_script_wrote_change_nothing_while_a_server_starts(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given an entry of another writer between two valid ones, while the components are read, expect the state in Redis."""
    read_many, is_first = store.read_many, True

    async def read_and_write(components: Sequence[str]) -> AsyncIterator[Read]:
        nonlocal is_first
        async for component, found in read_many(components):
            if is_first:
                is_first = False
                await set_override(store)
                head = await store.client.hget(store.keys.meta, "head")
                revision = (await store.read(component)).rollout.revision
                patch = f'{{"rollout":{{"set":["revision","{revision + 1}","next_percent","99"]}}}}'
                forged = {"component": component, "revision": revision + 1, "patch": patch, "prev": head}
                await store.client.xadd(store.keys.feed, forged)
            yield component, found

    monkeypatch.setattr(store, "read_many", read_and_write)
    async with following(store) as replica:
        known = replica.get(COMPONENT)
        assert known is not None
        assert known.rollout == (await store.read(COMPONENT)).rollout


@pytest.mark.parametrize("error", [RecursionError(), ValueError("x"), UnicodeDecodeError("utf-8", b"x", 0, 1, "x")])
async def test_an_exception_for_one_component_does_not_harm_the_others(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    await do(store, commands.Release("a"), component="other")
    read_many = store.read_many

    async def fail(components: Sequence[str]) -> AsyncIterator[Read]:
        async for component, found in read_many(components):
            yield component, error if component == COMPONENT else found

    monkeypatch.setattr(store, "read_many", fail)
    with capture_logs() as lines:
        async with following(store) as replica:
            assert replica.get("other") is not None
            assert replica.get(COMPONENT) is None
            found = replica.damage(COMPONENT)
            assert found is not None
            assert (COMPONENT in found.message, type(error).__name__ in found.message) == (True, True)
            await until(lambda: replica.is_confirmed)
    assert "component_not_read" in [line["event"] for line in lines]


@pytest.mark.parametrize("error", [StoreUnavailableError("Redis is away."), StoreResetError("Another store.")])
async def test_a_failure_of_the_store_does_not_count_as_damage_of_a_component(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    asked = 0

    async def fail(_components: Sequence[str]) -> AsyncIterator[Read]:
        nonlocal asked
        asked += 1
        raise error
        yield

    monkeypatch.setattr(store, "read_many", fail)
    replica = Replica(store)
    async with in_background(replica.run()):
        await until(lambda: asked >= 2 or replica.loaded.is_set())
        assert not replica.loaded.is_set()
        assert not replica.damaged


async def test_a_starting_server_gets_a_state_though_a_listener_always_fails(store: RedisStore):
    class Failing:
        def applied(self, *_: object) -> None: ...

        def reloaded(self) -> None:
            raise RuntimeError("a defect")

    class Counting:
        reloads = 0

        def applied(self, *_: object) -> None: ...

        def reloaded(self) -> None:
            self.reloads += 1

    others = Counting()
    replica = Replica(store)
    for listener in (Failing(), others):
        replica.subscribe(listener)
    with capture_logs() as lines:
        async with in_background(replica.run()):
            async with asyncio.timeout(PATIENCE_S):
                await replica.loaded.wait()
            await until(lambda: others.reloads > 1)

    assert replica.get(COMPONENT) is not None
    assert replica.age_s >= 0
    assert not replica.is_confirmed
    assert "store_lost" in [line["event"] for line in lines]


async def test_the_log_names_each_damaged_component_once_and_says_when_it_is_repaired(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_DAMAGE_CHECK_S", 0.0)
    await do(store, commands.Release("a"), component="other")
    states = {}
    for name in ("other", COMPONENT):
        key = store.keys.component(name).rollout
        states[key] = await store.client.hget(key, "state")
        await store.client.hset(key, "state", "{")
    with capture_logs() as lines:
        async with following(store) as replica:
            for count, (key, state) in enumerate(states.items(), 1):
                await store.client.hset(key, "state", state)
                await until(lambda: len(replica.damaged) == 2 - count)  # noqa: B023 - called at once

    told = [(line["event"], line["component"]) for line in lines if "damage" in line["event"]]
    assert told == [
        ("component_damaged", "other"),
        ("component_damaged", COMPONENT),
        ("component_damage_ended", "other"),
        ("component_damage_ended", COMPONENT),
    ]


async def test_failures_for_components_have_one_log_event_and_it_ends_with_them(store: RedisStore):
    now_ms = (await store.read(COMPONENT)).time_ms
    for name in ("alpha", "zeta"):
        await do(store, commands.Release("a"), component=name)
        expired = Override(channel="CURRENT", expire_ms=now_ms - SWEEP_AFTER_MS)
        await store.commit_overrides(name, {"acme/app": expired}, ADA)
    with capture_logs() as lines:
        async with following(store) as replica:
            caretaker = Caretaker(Service(store, replica), replica, store, RedisOutcomes(store.link))
            kept = {}
            for name in ("alpha", "zeta"):
                key = store.keys.component(name).overrides_expiry
                kept[name] = await store.client.zrange(key, 0, -1, withscores=True)
                await store.client.delete(key)
                await store.client.set(key, "x")
            await caretaker._look(is_sweep=True)
            await caretaker._look(is_sweep=True)

            # One is repaired, and one is deleted.
            await store.client.delete(store.keys.component("alpha").overrides_expiry)
            await store.client.zadd(store.keys.component("alpha").overrides_expiry, dict(kept["alpha"]))
            await do_delete(store, "zeta")
            assert await replica.catch_up(timeout_s=PATIENCE_S)
            await caretaker._look(is_sweep=True)
            assert not caretaker._troubles.away

    told = [(line["event"], line["component"], line["work"]) for line in lines if "caretaker" in line["event"]]
    assert sorted(told) == [
        *(("caretaker_failed", name, "sweep") for name in ("alpha", "zeta")),
        *(("caretaker_works", name, "sweep") for name in ("alpha", "zeta")),
    ]


async def test_a_defect_in_work_that_needs_only_time_does_not_end_the_server(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rampd_server.caretaker._LOOK_S", 0.01)
    async with following(store) as replica:
        caretaker = Caretaker(Service(store, replica), replica, store, RedisOutcomes(store.link))
        looks = []

        async def look(*, is_sweep: bool) -> None:
            looks.append(is_sweep)
            raise ValueError("a defect")

        monkeypatch.setattr(caretaker, "_look", look)
        with capture_logs() as lines:
            async with in_background(caretaker.run()):
                await until(lambda: len(looks) > 1)

    assert [line["event"] for line in lines].count("caretaker_defect") >= len(looks) - 1


async def do_delete(store: RedisStore, component: str) -> None:
    stored = await store.read(component)
    await commit(store, stored.rollout, decide(stored.rollout, commands.DeleteComponent()))


SEES_ALL = SimpleNamespace(sees=lambda _component: True, caller=local(Role.LAUNCHER))
"""A call of somebody who sees every component."""


def stop_clock(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> float:
    """Stops the clock of a copy at the moment of its last confirmation, and returns this moment."""
    assert replica._confirmed_s is not None
    now_s = replica._confirmed_s
    monkeypatch.setattr(replica, "_monotonic", lambda: now_s)
    return now_s


async def test_the_last_good_state_of_a_damaged_component_gets_stale_and_then_nobody_gets_next(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    await do(store, commands.Unfreeze(), commands.Ramp(10_000))
    await do(store, commands.Release("a"), component="other")
    async with following(store) as replica:
        resolver: Any = ResolverServicer(replica, None, None)  # type: ignore[arg-type]

        def answer(component: str) -> tuple[str, str, bool]:
            request = v1.ResolveRequest(component=component, repo="acme/app")
            found = v1.ResolveResponse.FromString(resolver.resolve(request, SEES_ALL))
            assert found.stale == (found.snapshot_age.ToMilliseconds() >= 5000)
            return found.tag, v1.ResolveReason.Name(found.reason).removeprefix("RESOLVE_REASON_"), found.stale

        await damage(store, COMPONENT, "rollout", "policy")
        await make_servers_read_again(store, COMPONENT)
        await until(lambda: replica.damage(COMPONENT) is not None)
        known = replica.get(COMPONENT)
        assert known is not None
        assert known.damaged_since_s is not None
        known.damaged_since_s = stop_clock(replica, monkeypatch) - 1
        assert answer(COMPONENT) == ("b", "WEIGHT", False)
        for seconds, expected in ((6, ("b", "WEIGHT", True)), (300, ("a", "STALE", True))):
            assert known.damaged_since_s is not None
            known.damaged_since_s -= seconds
            assert answer(COMPONENT) == expected
            assert answer("other") == ("a", "STEADY", False)

        # Reading a damaged component again does not make it fresher.
        replica._state.damaged[COMPONENT] = replace(
            replica._state.damaged[COMPONENT], since_s=known.damaged_since_s or 0.0
        )
        await make_servers_read_again(store, COMPONENT)
        assert await replica.catch_up(timeout_s=PATIENCE_S)
        assert answer(COMPONENT) == ("a", "STALE", True)
        batch = v1.BatchResolveRequest(requests=[v1.ResolveRequest(component=COMPONENT, repo="acme/app")])
        found = v1.BatchResolveResponse.FromString(await resolver.batch_resolve(batch, SEES_ALL))
        assert found.results[0].response.stale


async def test_a_running_server_marks_damage_that_a_request_meets(store: RedisStore):
    """Given a component that is damaged while a server runs, expect that it is marked once a request can't read it."""
    async with following(store) as replica:
        await store.client.set(store.keys.component(COMPONENT).rollout, "x")
        assert replica.damage(COMPONENT) is None
        with pytest.raises(StoreCorruptError):
            await Service(store, replica).read(COMPONENT)
        async with asyncio.timeout(PATIENCE_S):
            while replica.damage(COMPONENT) is None:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        assert replica.get(COMPONENT) is not None


async def test_damage_that_a_request_meets_does_not_affect_other_components(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given damage that a request has met, and a reading of everything that does not end, expect that a Rollback of another
    component is served before it answers, and that the copy stays confirmed.
    """
    await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(10_000), component="sound")
    async with following(store) as replica:
        service = Service(store, replica)
        begun, may_end, components = asyncio.Event(), asyncio.Event(), store.components

        async def slow(*, after: str, limit: int) -> list[str]:
            begun.set()
            await may_end.wait()
            return await components(after=after, limit=limit)

        monkeypatch.setattr(store, "components", slow)
        await store.client.set(store.keys.component(COMPONENT).rollout, "x")
        with pytest.raises(StoreCorruptError):
            await service.read(COMPONENT)
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        # While everything is read, the store confirms nothing.
        stop_clock(replica, monkeypatch)

        answer = await service.execute("sound", commands.Rollback(), ADA)

        known = replica.get("sound")
        assert known is not None
        assert known.snapshot.basis_points == 0
        assert "does not answer with it yet" not in answer.message
        assert replica.is_confirmed
        may_end.set()
        async with asyncio.timeout(PATIENCE_S):
            while replica.damage(COMPONENT) is None:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)


async def test_a_list_from_a_store_that_fails_does_not_read_everything_again(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given a ListRollouts during a second in which the store does not answer, expect no component to count as unreadable."""
    async with following(store) as replica:
        listed = RolloutList(store, replica, RedisOutcomes(store.link))

        async def fail(_components: Sequence[str]) -> AsyncIterator[Read]:
            raise StoreUnavailableError("Redis does not answer.")
            yield

        async def never(**_: object) -> bool:
            return False

        with monkeypatch.context() as patch:
            patch.setattr(store, "read_many", fail)
            patch.setattr(replica, "catch_up", never)
            with pytest.raises(StoreUnavailableError):
                [_ async for _ in listed.rollouts(v1.ListRolloutsRequest(), bool)]
        loads: list[str] = []
        replica.subscribe(SimpleNamespace(applied=lambda *_: None, reloaded=lambda: loads.append(replica.entry_id)))
        await replica._check_head()
        assert not loads


async def test_a_change_that_this_server_can_not_serve_yet_says_so(store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    """Given a copy that can't apply entries until it is read again, expect a change to say that it is not visible here."""
    async with following(store) as replica:
        service = Service(store, replica)

        async def wait(*_what: object) -> bool:
            return False

        monkeypatch.setattr(replica, "wait_for_change", wait)
        for answer in (
            await service.execute(COMPONENT, commands.Ramp(2000), ADA),
            await service.set_overrides(COMPONENT, {"acme/app": Override(channel="NEXT")}, ADA),
            await service.freeze_all(None, ADA),
        ):
            assert answer.message.endswith(
                ". The store has the change, but this server does not answer with it yet: it reads its copy again. A Resolve "
                "with min_revision waits for it."
            )


async def test_missing_overrides_are_an_error_and_not_an_empty_list(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"acme/app": Override(channel="NEXT")}, ADA)
    await store.client.delete(store.keys.component(COMPONENT).overrides)

    with pytest.raises(StoreCorruptError, match="overrides"):
        await store.list_overrides(COMPONENT, prefix="", after="", limit=10)


@pytest.mark.parametrize(
    "verb", [commands.Ramp(2000), commands.Rollback(), commands.Release("e")], ids=lambda verb: type(verb).__name__
)
async def test_a_verb_that_meets_damage_says_how_to_create_the_component_again(
    store: RedisStore, verb: commands.Command
):
    """Given damage that only a write meets, expect that every verb names the repair that always works."""
    rollout = await do(store, commands.Unfreeze())
    key = store.keys.component(COMPONENT).history
    await store.client.delete(key)
    await store.client.set(key, "x")
    with pytest.raises(StoreCorruptError) as caught:
        await commit(store, rollout, decide(rollout, verb))
    assert caught.value.message.startswith(f"{key} is a string, and rampd keeps a stream there.")
    assert f"Or begin {COMPONENT} again: DeleteComponent works, and then Release." in caught.value.message


async def test_the_error_for_a_malformed_number_says_how_to_create_the_component_again(store: RedisStore):
    key = store.keys.component(COMPONENT).rollout
    await store.client.hset(key, "revision", "many")
    with pytest.raises(StoreCorruptError) as caught:
        await set_override(store)
    assert caught.value.message.startswith(
        f"{key}, field 'revision': is not a whole number. This is not what rampd wrote"
    )
    assert caught.value.message.endswith(f"Or begin {COMPONENT} again: DeleteComponent works, and then Release.")


async def test_the_error_for_a_malformed_override_says_how_to_create_the_component_again(store: RedisStore):
    await set_override(store)
    await damage(store, COMPONENT, "overrides", "acme/app")
    with pytest.raises(StoreCorruptError, match=f"Or begin {COMPONENT} again: DeleteComponent works"):
        [_ async for _ in store.walk_overrides(COMPONENT)]


async def test_an_error_names_a_wrong_number_of_overrides_before_it_says_what_to_do(store: RedisStore):
    keys = store.keys.component(COMPONENT)
    await set_override(store)
    await store.client.hset(keys.rollout, "overrides", 2)
    with pytest.raises(StoreCorruptError) as caught:
        await store.list_overrides(COMPONENT, prefix="", after="", limit=10)
    assert caught.value.message == (
        f"{keys.overrides}: has 1 override, and {keys.rollout} counts 2. This is not what rampd wrote: put it right with "
        f"redis-cli, or restore it from a backup. If these overrides are right, type `redis-cli HSET '{keys.rollout}' overrides "
        f"1`. Or begin {COMPONENT} again: DeleteComponent works, and then Release."
    )


async def test_a_deletion_of_a_damaged_component_says_what_was_wrong_and_gives_no_advice(store: RedisStore):
    async with following(store) as replica:
        key = store.keys.component(COMPONENT).releases
        await store.client.delete(key)
        await store.client.set(key, "x")
        answer = await Service(store, replica).execute(COMPONENT, commands.DeleteComponent(), ADA)
    assert answer.message == (
        f"{COMPONENT} is deleted. A Release makes the component again, as number 6. Its data was damaged: {key} is "
        "a string, and rampd keeps a hash there."
    )
