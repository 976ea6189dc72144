"""A dry run of the service: it is decided on the store's own state, answers as the real call, and nothing is written."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from rampd import v1
from rampd_server.domain.errors import InvalidRequestError, RefusedError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Author, Namespace, Override
from rampd_server.replica.replica import Replica
from rampd_server.rpc.messages.convert import rollout_or_none
from rampd_server.rpc.rollout import RolloutServicer
from rampd_server.service.service import Answer, Service
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.contract.driving import COMPONENT, contents, do, random_command, random_override
from tests.contract.test_freezes import following
from tests.contract.test_limits import _few, small
from tests.damaging import DAMAGE_OF_A_COMPONENT, DAMAGE_OF_THE_HISTORY, damage
from tests.nights import by_day
from tests.timeless import timeless, timeless_text
from tests.waiting import eventually_async

__all__ = ["_few", "small"]

STEPS = 60
REPOS = [f"{owner}/{repo}" for owner in ("acme", "beta") for repo in ("*", "a", "b")]
REAL = Author("ada", "Ramp", "a note", is_claimed=False)
DRY = replace(REAL, is_dry_run=True)
PINNED = {"acme/app": Override(tag="t")}

Ask = Callable[[Service, Author], Awaitable[Answer]]


async def outcome(answer: Awaitable[Answer]) -> object:
    """Returns the answer of a call, or its refusal, without times."""
    try:
        found = await answer
    except (RefusedError, InvalidRequestError) as refused:
        return type(refused), refused.reason, refused.message, dict(refused.metadata)
    shown = rollout_or_none(found.rollout, found.namespace, 0)
    return found.result, timeless_text(found.message), found.is_replayed, shown and timeless(shown)


async def require_untouched(store: RedisStore, before: Mapping[str, object]) -> None:
    """Fails if the store has changed. The record of a request without an id ends by itself after a minute."""
    found = await contents(store)
    ended = {key for key in before.keys() - found.keys() if ":request:~" in key}
    assert found == {key: value for key, value in before.items() if key not in ended}


def execute(command: commands.Command, component: str = COMPONENT) -> Ask:
    return lambda service, author: service.execute(component, command, author)


def set_overrides(changes: Mapping[str, Override | None], *, must_exist: bool = False) -> Ask:
    return lambda service, author: service.set_overrides(COMPONENT, changes, author, must_exist=must_exist)


def random_ask(chance: random.Random) -> Ask:
    kind = chance.randrange(10)
    if kind == 0:
        return lambda service, author: service.freeze_all(chance.choice([None, 1, 4_000_000_000_000]), author)
    if kind == 1:
        return lambda service, author: service.unfreeze_all(author)
    if kind < 5:
        changes = {repo: random_override(chance) for repo in chance.sample(REPOS, chance.choice([1, 1, 3]))}
        return set_overrides(changes, must_exist=chance.random() < 0.3)
    return execute(random_command(chance))


@pytest.mark.parametrize("seed", by_day(range(3), 1))
async def test_each_call_of_a_random_sequence_answers_as_its_dry_run_did(store: RedisStore, seed: int):
    chance, tried = random.Random(seed), set()
    async with following(store) as replica:
        service = Service(store, replica)
        for step in range(STEPS):
            ask = random_ask(chance)
            author = Author("ada", "Test", "a note", request_id=f"id-{step}", digest=f"digest-{step}")
            # `ask` draws again with each call.
            state, before = chance.getstate(), await contents(store)

            expected = await outcome(ask(service, replace(author, is_dry_run=True)))

            await require_untouched(store, before)
            chance.setstate(state)
            found = await outcome(ask(service, author))
            assert found == expected
            tried.add(type(found[0]) if isinstance(found, tuple) else None)
    assert len(tried) > 1


@pytest.fixture
async def behind(store: RedisStore) -> Replica:
    """The copy of a server that has read nothing since next was at 10 % and no repo had an override."""
    await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(1000))
    async with following(store) as replica:
        pass
    return replica


AHEAD = (commands.Ramp(5000), commands.Pause(), commands.Freeze())
"""What another server has done since."""


@pytest.mark.parametrize(
    "ask",
    [
        execute(commands.Ramp(5000)),
        execute(commands.Ramp(1000)),
        execute(commands.Ramp(6000)),
        execute(commands.Pause()),
        execute(commands.Rollback()),
        execute(commands.Unfreeze()),
        execute(commands.DeleteComponent()),
        execute(commands.Release("b"), "newborn"),
        set_overrides(PINNED),
        set_overrides({"acme/set": None}, must_exist=True),
        set_overrides({"acme/none": None}, must_exist=True),
        lambda service, author: service.unfreeze_all(author),
        lambda service, author: service.freeze_all(None, author),
    ],
)
async def test_a_server_that_is_behind_decides_on_the_state_of_the_store(store: RedisStore, behind: Replica, ask: Ask):
    await do(store, *AHEAD)
    await do(store, commands.Release("a"), component="newborn")
    async with following(store) as replica:
        ahead = Service(store, replica)
        await ahead.set_overrides(COMPONENT, {"acme/set": Override(tag="t")}, REAL)
        await ahead.freeze_all(None, REAL)
        before, entries = await contents(store), {behind.entry_id, replica.entry_id}

        expected = await outcome(ask(Service(store, behind), DRY))

        # Not even a mark that an urgent change met a conflict.
        await require_untouched(store, before)
        # The end of a freeze of all catches up first. No copy gets the entry of a dry run.
        assert behind.entry_id in entries
        assert await outcome(ask(ahead, REAL)) == expected


async def test_a_dry_run_of_an_urgent_change_leaves_no_mark_after_a_conflict(store: RedisStore, behind: Replica):
    """Given the state that the server knows in the place of the present one, expect that others do not have to wait."""
    known = behind.get(COMPONENT)
    assert known is not None
    await do(store, commands.Ramp(2000))
    service = Service(store, behind)

    answer = await service.execute(COMPONENT, commands.Rollback(), DRY)

    assert service.conflicts.value == 1
    assert answer.result.revision == 5
    assert await store.client.hget(store.keys.component(COMPONENT).rollout, "yield_until") is None


@pytest.mark.parametrize(("section", "how"), [*DAMAGE_OF_A_COMPONENT, *DAMAGE_OF_THE_HISTORY])
async def test_a_dry_run_of_a_deletion_does_not_touch_a_damaged_component(store: RedisStore, section: str, how: str):
    await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(1000), commands.Release("c"))
    await do(store, commands.Quarantine("x"), commands.Freeze())
    async with following(store) as replica:
        service = Service(store, replica)
        await service.set_overrides(COMPONENT, {"acme/app": Override(tag="t"), "acme/more": Override(tag="t")}, REAL)
        await damage(store, COMPONENT, section, how)
        before = await contents(store)

        expected = await outcome(service.execute(COMPONENT, commands.DeleteComponent(), DRY))

        await require_untouched(store, before)
        assert await outcome(service.execute(COMPONENT, commands.DeleteComponent(), REAL)) == expected


async def test_a_dry_run_beyond_a_limit_is_refused(small: RedisStore):
    for component in ("b", "c"):
        await do(small, commands.Release("a"), component=component)
    async with following(small) as replica:
        service = Service(small, replica)
        await service.set_overrides(COMPONENT, dict.fromkeys(("a/1", "a/2"), Override(tag="t")), REAL)
        for ask in (
            execute(commands.Release("a"), "d"),
            set_overrides(dict.fromkeys(("a/3", "a/4"), Override(tag="t"))),
        ):
            refused = await outcome(ask(service, DRY))
            assert isinstance(refused, tuple)
            assert refused[0] is RefusedError
            assert await outcome(ask(service, REAL)) == refused


async def test_a_dry_run_is_not_logged_and_changes_no_copy(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"))
    async with following(store) as replica:
        service, told = Service(store, replica), []
        replica.subscribe(
            SimpleNamespace(applied=lambda *_: told.append("applied"), reloaded=lambda: told.append("all"))
        )
        with capture_logs() as lines:
            await service.execute(COMPONENT, commands.Ramp(1000), DRY)
            await service.set_overrides(COMPONENT, PINNED, DRY)
            await service.freeze_all(None, DRY)
            await asyncio.sleep(0)
        assert (lines, told) == ([], [])
        with capture_logs() as lines:
            await service.execute(COMPONENT, commands.Ramp(1000), REAL)
            assert lines == []  # the answer does not wait for the log
            await asyncio.sleep(0)
        assert [line["event"] for line in lines] == ["change_committed"]
        assert told


async def test_a_dry_run_of_the_end_of_a_freeze_starts_no_queue_head(store: RedisStore):
    await do(store, commands.Release("a"))
    async with following(store) as replica:
        service = Service(store, replica)
        await service.freeze_all(None, REAL)
        await service.execute(COMPONENT, commands.Release("b"), REAL)
        # The namespace is not frozen any more, but its queue heads have not started yet.
        await store.commit_namespace(replica.namespace, Namespace(), REAL)
        await eventually_async(lambda: replica.namespace.freeze is None)
        before = await contents(store)

        assert (
            await service.unfreeze_all(DRY)
        ).message == "There is no freeze of all components, as before; nothing changed."

        await require_untouched(store, before)
        await service.unfreeze_all(REAL)
        stored = (await store.read(COMPONENT)).rollout
        assert isinstance(stored, Rollout)
        assert stored.next_release is not None


async def test_a_dry_run_does_not_wait_for_writers_and_no_writer_waits_for_it(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    await do(store, commands.Release("a"), commands.Release("b"))
    commit, begun, may_go_on = store.commit, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **options: Any) -> Any:
        begun.set()
        await may_go_on.wait()
        return await commit(*arguments, **options)

    async with following(store) as replica:
        service = Service(store, replica)
        with monkeypatch.context() as patch:
            patch.setattr(store, "commit", slow)
            writing = asyncio.create_task(service.execute(COMPONENT, commands.Ramp(1000), REAL))
            await begun.wait()
        async with asyncio.timeout(60):
            assert (await service.execute(COMPONENT, commands.Ramp(2000), DRY)).result.revision == 3
        may_go_on.set()
        assert (await writing).result.revision == 3


async def test_a_dry_run_that_the_store_does_not_answer_does_not_say_that_a_change_may_have_been_made(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    await do(store, commands.Release("a"), commands.Release("b"))
    async with following(store) as replica:
        service = Service(store, replica)

        async def silent(*_arguments: object) -> None:
            from rampd_server.storage.redis_errors import note_connection

            note_connection()
            raise TimeoutError

        monkeypatch.setattr(store.client, "evalsha", silent)
        with pytest.raises(
            StoreUnavailableError, match=r"^Redis did not answer in time\. Look at Redis, and try again\.$"
        ):
            await service.execute(COMPONENT, commands.Ramp(1000), DRY)
        with pytest.raises(StoreUnavailableError, match="Whether the change was made is not known"):
            await service.execute(COMPONENT, commands.Ramp(1000), REAL)


PREVIEW = v1.Preview(repos_seen=7)


async def test_a_dry_run_of_a_component_asks_for_a_preview(store: RedisStore):
    """Given every kind of change, expect the component before and after it. A real call and a repeat ask for none."""
    await do(store, commands.Release("a"), commands.Release("b"))
    asked: list[tuple[Rollout | Absent, Rollout | Absent, Mapping[str, Override | None]]] = []

    async def preview(
        before: Rollout | Absent, after: Rollout | Absent, overrides: Mapping[str, Override | None], /
    ) -> v1.Preview:
        asked.append((before, after, overrides))
        return PREVIEW

    status: Any = SimpleNamespace()
    call: Any = SimpleNamespace(
        actor="ada", method="Test", is_actor_claimed=False, digest="d1g35t", parts={}, timeout_s=None
    )
    ramp = v1.RampRequest(component=COMPONENT, percent=10, request_id="r-1")
    pin = v1.SetOverrideRequest(component=COMPONENT, repo="acme/app", tag="t", dry_run=True)
    end = v1.DeleteComponentRequest(component=COMPONENT, confirm=COMPONENT, dry_run=True)
    async with following(store) as replica:
        service = Service(store, replica)
        servicer = RolloutServicer(
            service, replica, store, RedisOutcomes(store.link), SimpleNamespace(), status=status, preview=preview
        )
        dry_ramp = v1.RampRequest.FromString(
            ramp.SerializeToString() + v1.RampRequest(dry_run=True).SerializeToString()
        )
        previewed = [
            await servicer.ramp(dry_ramp, call),
            await servicer.set_override(pin, call),
            await servicer.delete_component(end, call),
        ]
        others = [
            await servicer.freeze(v1.FreezeRequest(all=True, dry_run=True), call),
            await servicer.ramp(ramp, call),
            await servicer.ramp(dry_ramp, call),
        ]

    assert [answer.preview for answer in previewed] == [PREVIEW] * 3
    assert [answer.replayed for answer in others] == [False, False, True]
    assert not any(answer.HasField("preview") for answer in others)
    (before, ramped, none), (unpinned, pinned, changes), (_, gone, _) = asked
    assert isinstance(before, Rollout)
    assert isinstance(ramped, Rollout)
    assert isinstance(pinned, Rollout)
    assert (before.basis_points, ramped.basis_points, ramped.revision, none) == (0, 1000, 3, {})
    assert unpinned == before
    assert (pinned.revision, pinned.releases, changes) == (3, before.releases, {"acme/app": Override(tag="t")})
    assert isinstance(gone, Absent)
    assert gone.revision == 3
