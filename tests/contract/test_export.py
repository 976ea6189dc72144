"""An export is everything at one entry of the feed, also while servers write."""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Any

import fakeredis
import pytest
import redis

from rampd_server.backup import exporting, lines
from rampd_server.backup.exporting import Exported, export
from rampd_server.backup.lines import Content, InputError
from rampd_server.domain.errors import RefusedError, StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import ConflictError, Event, Namespace, Override, entry_order
from rampd_server.process.startup import StartupError
from rampd_server.storage.codec import history
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, commit, do, random_command, random_override
from tests.replay import fields_in_words, replay
from tests.rollouts import NOW
from tests.stores import StoreServer

NAMES = [f"c{number}" for number in range(12)]


async def exported(store: RedisStore, *, with_history: bool = True) -> tuple[Content, Exported]:
    written: list[bytes] = []
    done = await export(store, "blue", written.append, with_history=with_history)
    return lines.read(b"".join(written)), done


async def change(store: RedisStore, chance: random.Random) -> None:
    """Makes a random change of a random component, if the rules allow it."""
    name = chance.choice(NAMES)
    stored = await store.read(name)
    if not isinstance(stored.rollout, Absent) and chance.random() < 0.4:
        repo = f"acme/{chance.randrange(5)}"
        await store.commit_overrides(name, {repo: random_override(chance)}, ADA)
        return
    try:
        effect = transition(stored.rollout, random_command(chance), Context(NOW, "ada"))
    except RefusedError:
        return
    if effect.changed:
        await commit(store, stored.rollout, effect.after)


async def delete(store: RedisStore, name: str) -> None:
    stored = (await store.read(name)).rollout
    await commit(store, stored, transition(stored, commands.DeleteComponent(), Context(NOW, "ada")).after)


def events_of(content: Content, name: str) -> list[Event]:
    return [history.read_event(name, *entry) for entry in content.events.get(name, ())]


def overrides_after(events: list[Event]) -> dict[str, str]:
    """Returns the overrides after the events, in the words of the history."""
    found: dict[str, str] = {}
    for event in events:
        for each in event.changes:
            if each.field.startswith("override/"):
                found.pop(each.field, None)
                if each.after is not None:
                    found[each.field] = each.after
        if any((each.field, each.after) == ("state", None) for each in event.changes):
            found.clear()
    return found


def in_words(overrides: Mapping[str, Override]) -> dict[str, str]:
    return {
        f"override/{repo}": override.channel.lower() or f"tag {override.tag}" for repo, override in overrides.items()
    }


@pytest.mark.parametrize("seed", range(2))
async def test_an_export_during_writes_is_the_replay_of_the_history_at_its_last_entry(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Given changes while everything is read, and changes before the histories are read."""
    chance = random.Random(seed)
    for _ in range(120):
        await change(store, chance)
    first, write_histories = await store.head(), exporting._write_histories

    async def write(number: int) -> None:
        own_chance = random.Random(f"{seed} {number}")
        for _ in range(30):
            with contextlib.suppress(ConflictError, RefusedError):
                await change(store, own_chance)

    async def after_more(store: RedisStore, *arguments: Any) -> int:
        await asyncio.gather(*writers)
        await write(3)
        return await write_histories(store, *arguments)

    components = store.components

    async def is_unchanged() -> bool:
        return first is not None and (found := await store.head()) is not None and found.entry_id == first.entry_id

    async def after_a_change(**options: Any) -> list[str]:
        # However slow the writers are, something changes while everything is read.
        while not all(writer.done() for writer in writers) and await is_unchanged():
            pass
        return await components(**options)

    monkeypatch.setattr(exporting, "_write_histories", after_more)
    monkeypatch.setattr(store, "components", after_a_change)
    writers = [asyncio.create_task(write(number)) for number in range(3)]
    content, done = await exported(store)
    head = await store.head()
    assert first is not None
    assert head is not None
    assert entry_order(first.entry_id) < entry_order(content.about.entry) < entry_order(head.entry_id)

    changes = [entry for entry in await all_of_the_feed(store) if entry[0] <= entry_order(content.about.entry)]
    assert changes[-1][0] == entry_order(content.about.entry)
    newest = {name: entry for entry, name in changes}
    found = {rollout.component: rollout.entry for rollout, _ in content.components}
    found |= {absent.component: absent.entry for absent in content.gone}
    assert {name: entry_order(entry) for name, entry in found.items()} == newest
    for rollout, overrides in content.components:
        events = events_of(content, rollout.component)
        assert replay(events) == fields_in_words(rollout)
        assert events[-1].id == rollout.entry
        assert {key: text.partition(" until ")[0] for key, text in overrides_after(events).items()} == in_words(
            overrides
        )
        known = {event.id for event in events}
        assert set(content.origins.get(rollout.component, {}).values()) <= known
    for absent in content.gone:
        assert replay(events_of(content, absent.component)) == {}
    assert done.events == sum(map(len, content.events.values()))


async def all_of_the_feed(store: RedisStore) -> list[tuple[tuple[int, int], str]]:
    entries = await store.client.xrange(store.keys.feed)
    return [(entry_order(entry_id), fields["component"]) for entry_id, fields in entries]


async def test_an_export_has_the_freeze_the_deleted_components_and_who_set_the_overrides(store: RedisStore):
    await do(store, commands.Release("a", {"commit": "c1"}), commands.Release("b"), commands.Ramp(1000))
    await store.commit_overrides("restyler", {"acme/app": Override(tag="a"), "acme/*": Override("NEXT")}, ADA)
    await store.commit_overrides("restyler", {"acme/web": Override(tag="a", expire_ms=4_000_000_000_000)}, ADA)
    await do(store, commands.Release("h1"), component="hlint")
    await delete(store, "hlint")
    freeze = Namespace(Freeze("ada", "holidays", NOW))
    entry = await store.commit_namespace(Namespace(), freeze, ADA)

    content, done = await exported(store)

    [(rollout, overrides)] = content.components
    assert rollout == (await store.read("restyler")).rollout
    assert overrides == {
        "acme/app": Override(tag="a"),
        "acme/*": Override("NEXT"),
        "acme/web": Override(tag="a", expire_ms=4_000_000_000_000),
    }
    assert content.gone == [(await store.read("hlint")).rollout]
    assert (content.about.entry, content.about.shared) == (entry.id, freeze)
    assert {name: len(events) for name, events in content.events.items()} == {"": 1, "hlint": 2, "restyler": 5}
    by_entry = [event.id for event in events_of(content, "restyler")]
    assert content.origins == {
        "restyler": dict.fromkeys(["acme/app", "acme/*"], by_entry[3]) | {"acme/web": by_entry[4]}
    }
    assert done == Exported(components=1, overrides=3, events=8, entry=entry.id)

    brief, done = await exported(store, with_history=False)
    assert (brief.components, brief.gone) == (content.components, content.gone)
    assert (brief.events, brief.origins, done.events) == ({}, {}, 0)


async def test_a_component_that_is_deleted_and_made_again_during_the_export_keeps_its_numbers(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given a deletion before the last entry of the export, and a release after it, expect the tombstone of the deletion."""
    await do(store, commands.Release("a"))
    await do(store, commands.Release("h"), component="hlint")
    tombstones, deletions = exporting._tombstones, exporting._deletions
    gone: list[Absent] = []

    async def then_delete(store: RedisStore) -> dict[str, Absent]:
        found = await tombstones(store)
        await delete(store, "hlint")
        stored = (await store.read("hlint")).rollout
        assert isinstance(stored, Absent)
        gone.append(stored)
        return found

    async def after_a_release(store: RedisStore, after: str, last: str) -> dict[str, Absent]:
        await do(store, commands.Release("h2"), component="hlint")
        return await deletions(store, after, last)

    monkeypatch.setattr(exporting, "_tombstones", then_delete)
    monkeypatch.setattr(exporting, "_deletions", after_a_release)
    content, _ = await exported(store, with_history=False)
    assert [rollout.component for rollout, _ in content.components] == ["restyler"]
    assert content.gone == gone


async def test_a_damaged_component_or_event_refuses_the_export(store: RedisStore):
    await do(store, commands.Release("a"))
    await do(store, commands.Release("h"), component="hlint")
    key = store.keys.component("hlint").rollout
    await store.client.hset(key, "current", "7")
    with pytest.raises(StartupError) as refused:
        await exported(store)
    assert key in refused.value.sentences[0]
    assert refused.value.sentences[-1] == "Nothing was exported, because 1 component can't be read."

    await store.client.hset(key, "current", "1")
    await store.client.delete(store.keys.component("hlint").history)
    await store.client.xadd(store.keys.component("hlint").history, {"what": "?"}, "1-1")
    assert (await exported(store, with_history=False))[1].components == 2
    with pytest.raises(StoreCorruptError, match="history:hlint, field '1-1': has no 'time'"):
        await exported(store)


async def test_a_namespace_without_data_refuses_the_export(store: RedisStore):
    with pytest.raises(StartupError, match=r"has no component, so there is nothing to export. Check --namespace"):
        await exported(store)
    await store.client.delete(store.keys.meta)
    with pytest.raises(StoreResetError, match="has no epoch"):
        await exported(store)


async def test_a_store_that_goes_back_during_the_export_refuses_it(server: StoreServer, store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"))
    client = (
        redis.Redis.from_url(server.url)
        if server.url
        else fakeredis.FakeRedis(server=server.fake, decode_responses=True)
    )
    written: list[bytes] = []

    def write(line: bytes) -> None:
        if b'"history"' in line:
            client.xtrim(store.keys.feed, maxlen=0)
        written.append(line)

    with client, pytest.raises(StoreUnavailableError, match=r"The output is not whole\. Export again"):
        await export(store, "blue", write, with_history=True)
    with pytest.raises(InputError, match="is not a whole export"):
        lines.read(b"".join(written))


async def test_a_cut_or_changed_export_is_refused(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"))
    written: list[bytes] = []
    await export(store, "blue", written.append, with_history=True)

    for number in range(len(written)):
        with pytest.raises(InputError, match="is not a whole export"):
            lines.read(b"".join(written[:number]) or b"\n")
        changed = [line.replace(b"a", b"b", 1) if place == number else line for place, line in enumerate(written)]
        with pytest.raises(InputError, match="Nothing was written"):
            lines.read(b"".join(changed))
    with pytest.raises(InputError, match="was changed or damaged"):
        lines.read(b"".join(written).replace(b"\n", b"\r\n"))
    later = b"".join(written).replace(b'"rampd_export":1', b'"rampd_export":2')
    with pytest.raises(InputError, match="was changed or damaged"):
        lines.read(later)


async def test_more_than_a_namespace_may_have_is_refused(store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    await do(store, commands.Release("a"))
    await store.commit_overrides("restyler", {"acme/1": Override(tag="a"), "acme/2": Override(tag="a")}, ADA)
    await do(store, commands.Release("h"), component="hlint")
    content, _ = await exported(store)
    lines.require_fitting(content)
    monkeypatch.setattr(lines, "MAX_OVERRIDES", 1)
    with pytest.raises(InputError, match=r"The input has 2 overrides, and a component may have at most 1\."):
        lines.require_fitting(content)
    monkeypatch.setattr(lines, "MAX_COMPONENTS", 1)
    with pytest.raises(InputError, match=r"The input has 2 components, and a namespace may have at most 1\."):
        lines.require_fitting(content)
