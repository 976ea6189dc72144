"""An import is all or nothing, and a namespace can be used only after its import has ended."""

import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from rampd_server.backup import importing, lines
from rampd_server.backup.exporting import export
from rampd_server.backup.lines import Content
from rampd_server.domain.errors import StoreResetError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Namespace, Override, entry_order
from rampd_server.storage.importing import Import, NotEmptyError
from rampd_server.storage.link import Link
from rampd_server.storage.scripts import Script
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, commit, contents, do
from tests.contract.test_export import change, events_of
from tests.replay import fields_in_words, replay
from tests.rollouts import NOW
from tests.stores import StoreServer

LATER = 4_000_000_000_000


@pytest.fixture
async def target(server: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """Another namespace of the same server, without any key."""
    store = server.store(f"{namespace}-target")
    yield store
    await store.close()


async def content_of(store: RedisStore, *, with_history: bool = True) -> tuple[Content, str]:
    """Returns an export and its digest."""
    written: list[bytes] = []
    await export(store, "blue", written.append, with_history=with_history)
    return lines.read(b"".join(written)), hashlib.sha256(b"".join(written)).hexdigest()


async def import_into(store: RedisStore, content: Content, digest: str) -> None:
    """Imports, and lets the store go on with the new epoch."""
    attempt = Import(store.link, digest)
    assert await attempt.begin()
    store.set_epoch(await importing.write(attempt, content))


def another_like(attempt: Import) -> Import:
    """Returns the same attempt, without what waits to be sent."""
    other = Import(attempt._link, attempt._digest)
    other._mark = attempt._mark
    return other


async def write_now(writing: Awaitable[None], attempt: Import) -> None:
    await writing
    await attempt._exchange()


async def fill(store: RedisStore) -> None:
    """Makes something of everything, and more overrides than one piece has."""
    await do(store, commands.Release("a", {"commit": "c1"}), commands.Release("b"), commands.Ramp(1000))
    await do(store, commands.Release("c"), commands.Quarantine("x"))
    many: dict[str, Override | None] = {f"acme/{number}": Override(tag="a") for number in range(1100)}
    await store.commit_overrides("restyler", many, ADA)
    await store.commit_overrides("restyler", {"acme/1": Override("NEXT", expire_ms=LATER)}, ADA)
    await do(store, commands.Release("h"), component="hlint")
    gone = await do(store, commands.Release("g"), component="gone")
    await commit(store, gone, transition(gone, commands.DeleteComponent(), Context(NOW, "ada")).after)
    await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "holidays", NOW)), ADA)


def as_imported(rollout: Rollout, found: Rollout) -> Rollout:
    return replace(rollout, revision=rollout.revision + 1, entry=found.entry, state_entry=found.entry)


def check_same(before: Content, after: Content) -> None:
    """Checks that the content is the same after an import: each component is at its next revision."""
    assert len(after.components) == len(before.components)
    for (rollout, overrides), (found, found_overrides) in zip(before.components, after.components, strict=True):
        assert (found, found_overrides) == (as_imported(rollout, found), overrides)
        assert entry_order(rollout.entry) < entry_order(found.entry) < entry_order(after.about.entry)
    assert (after.gone, after.origins) == (before.gone, before.origins)
    assert after.about.shared == before.about.shared
    for name, events in before.events.items():
        kept = after.events[name]
        assert kept if any(name == absent.component for absent in before.gone) else kept[:-1] == events


@pytest.mark.parametrize("with_history", [True, False])
async def test_an_import_gives_what_was_exported(store: RedisStore, target: RedisStore, with_history: bool):
    await fill(store)
    content, digest = await content_of(store, with_history=with_history)

    await import_into(target, content, digest)

    after, _ = await content_of(target)
    check_same(content, after)
    for rollout, _ in after.components:
        [*earlier, last] = events_of(after, rollout.component)
        assert (last.action, last.revision, last.id) == ("Import", rollout.revision, rollout.entry)
        assert last.note.startswith("from namespace blue, as of 20")
        assert (len(earlier) > 0) == with_history
        changes = {change.field: change.after for change in last.changes}
        assert changes == ({} if with_history else fields_in_words(rollout))
    listed = await target.list_overrides("restyler", prefix="", after="", limit=2000)
    assert len(listed) == 1100
    assert {each.origin.actor if each.origin else None for each in listed} == {"ada" if with_history else None}
    head = await target.head()
    assert head is not None
    assert head.adopted_ms is not None
    assert head.namespace.freeze == Freeze("ada", "holidays", NOW)
    assert (await target.events("", limit=1))[0].action == "Import"
    assert not await target.has_lost(head.entry_id)
    assert not await target.missing_entries([(each.component, each.entry) for each, _ in after.components])


@pytest.mark.parametrize("seed", range(2))
async def test_changes_go_on_after_an_import(store: RedisStore, target: RedisStore, seed: int):
    chance = random.Random(seed)
    for _ in range(120):
        await change(store, chance)
    before, digest = await content_of(store)
    await import_into(target, before, digest)
    after, _ = await content_of(target)
    check_same(before, after)

    for _ in range(80):
        await change(target, chance)
    later, _ = await content_of(target)
    for rollout, _ in later.components:
        assert replay(events_of(later, rollout.component)) == fields_in_words(rollout)


async def test_an_import_that_is_killed_anywhere_leaves_no_epoch_and_is_repeated(
    store: RedisStore, target: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    await fill(store)
    content, digest = await content_of(store)
    calls, dies_at = 0, 0

    def dying(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == dies_at:
                raise KeyboardInterrupt
            return await method(*arguments, **named)

        return call

    monkeypatch.setattr("rampd_server.storage.importing._EXCHANGE", 1)
    monkeypatch.setattr(Link, "write", dying(Link.write))
    monkeypatch.setattr(Link, "run_many", dying(Link.run_many))
    while True:
        calls, dies_at = 0, dies_at + 1
        try:
            await import_into(target, content, digest)
        except KeyboardInterrupt:
            calls = -100
            if dies_at == 1:
                assert not await contents(target)
                continue
            assert not await target.is_empty()
            with pytest.raises(StoreResetError, match="An import into this namespace has not ended"):
                await target.head()
            with pytest.raises(StoreResetError, match="An import into this namespace has not ended"):
                await target.begin_epoch(adopted=True)
            with pytest.raises(StoreResetError, match="An import into this namespace has not ended"):
                await Import(target.link, "another").begin()
        else:
            break
    assert dies_at > 10
    dies_at = 0
    check_same(content, (await content_of(target))[0])


async def test_a_second_import_of_the_same_content_changes_nothing(store: RedisStore, target: RedisStore):
    await fill(store)
    content, digest = await content_of(store)
    await import_into(target, content, digest)
    await do(target, commands.Ramp(2000))
    before = await contents(target)

    assert not await Import(target.link, digest).begin()
    with pytest.raises(NotEmptyError):
        await Import(target.link, "another").begin()
    assert not await Import(target.link, "discarded").discard()

    assert await contents(target) == before


async def test_an_import_whose_replies_are_lost_writes_once(
    store: RedisStore, target: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given that each script runs twice, as if its reply had been lost."""
    await fill(store)
    content, digest = await content_of(store)

    def twice(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(*arguments: Any) -> Any:
            await method(*arguments)
            return await method(*arguments)

        return run

    with monkeypatch.context() as patched:
        patched.setattr(Script, "run", twice(Script.run))
        patched.setattr(Script, "run_many", twice(Script.run_many))
        await import_into(target, content, digest)

    check_same(content, (await content_of(target))[0])
    assert [event.action for event in await target.events("", limit=9)] == ["Import", "Ramp"]


async def test_discard_empties_a_namespace_whose_import_has_not_ended(store: RedisStore, target: RedisStore):
    await fill(store)
    content, digest = await content_of(store)
    first = Import(target.link, digest)
    assert await first.begin()
    await first.component(*content.components[0], {})
    await first._exchange()
    assert len(await contents(target)) > 1

    assert await Import(target.link, "discarded").discard()
    assert not await contents(target)
    with pytest.raises(StoreResetError, match="This one wrote nothing more"):
        await write_now(first.component(*content.components[0], {}), first)
    assert not await Import(target.link, "discarded").discard()
    assert await target.is_empty()


@pytest.mark.parametrize("ended_by", ["import", "adopt of an earlier rampd"])
async def test_an_import_that_is_taken_over_writes_nothing_more(store: RedisStore, target: RedisStore, ended_by: str):
    await fill(store)
    content, digest = await content_of(store)
    first = Import(target.link, digest)
    assert await first.begin()
    if ended_by == "import":
        await import_into(target, content, digest)
    else:
        await target.client.hset(target.keys.meta, "epoch", "e1")
    before = await contents(target)
    again, last = (another_like(first) for _ in range(2))

    for write in (
        first._unlink([target.keys.components]),
        write_now(first.component(*content.components[0], {}), first),
        write_now(again.events("", content.events[""]), again),
        last.end(newest="1-1", shared=Namespace(), event=()),
    ):
        with pytest.raises(StoreResetError, match="This one wrote nothing more"):
            await write
    assert await contents(target) == before


@pytest.mark.parametrize("what", ["a component", "a change of the namespace", "a key without its component"])
async def test_a_namespace_with_data_is_not_imported_into(store: RedisStore, what: str):
    if what == "a component":
        await do(store, commands.Release("a"))
    elif what == "a change of the namespace":
        await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "", NOW)), ADA)
    else:
        await store.client.hset(store.keys.component("restyler").rollout, "revision", "3")
    before = await contents(store)

    with pytest.raises(NotEmptyError):
        await Import(store.link, "d1").begin()
    assert await contents(store) == before


async def test_a_change_between_the_look_and_the_beginning_is_not_lost(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    async def change_now(link: Link) -> list[str]:
        await do(store, commands.Release("a"))
        return []

    monkeypatch.setattr("rampd_server.storage.importing._keys", change_now)
    with pytest.raises(NotEmptyError):
        await Import(store.link, "d1").begin()
    assert (await do(store, commands.Release("b"))).revision == 2


async def test_a_namespace_whose_servers_have_written_nothing_gets_another_epoch(store: RedisStore, target: RedisStore):
    await fill(store)
    content, digest = await content_of(store)
    first = await target.begin_epoch(adopted=False)

    await import_into(target, content, digest)
    head = await target.head()
    assert head is not None
    assert head.epoch != first
    check_same(content, (await content_of(target))[0])


async def test_ids_go_on_after_those_of_a_store_whose_clock_was_ahead(store: RedisStore, target: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"))
    content, digest = await content_of(store)
    [(rollout, overrides)], [*earlier, (_, newest)] = content.components, content.events["restyler"]
    ahead = f"{LATER}-7"
    content = replace(
        content,
        components=[(replace(rollout, entry=ahead, state_entry=ahead), overrides)],
        events={"restyler": [*earlier, (ahead, newest)]},
    )

    await import_into(target, content, digest)
    changed = await do(target, commands.Ramp(100), commands.Ramp(200))
    assert entry_order(changed.entry) > entry_order(ahead)
    assert [event.revision for event in await target.events("restyler", limit=9)] == [5, 4, 3, 2, 1]
    assert changed.entry == (await target.events("restyler", limit=1))[0].id
