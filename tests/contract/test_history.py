"""The history: who did what, when and why, what changed, and enough of it to rebuild the state."""

import pytest

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, QueueMode
from rampd_server.ports import Author, FieldChange, Namespace, Override
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, decide, do
from tests.replay import fields_in_words, replay
from tests.rollouts import NOW


async def test_an_entry_says_who_did_what_and_why(store: RedisStore):
    author = Author("ci", "Release", "a hotfix: ü", is_claimed=True, request_id="run-7", digest="d")
    after = decide(Absent(COMPONENT), commands.Release("a"))
    await commit(store, Absent(COMPONENT), after, author)

    (event,) = await store.events(COMPONENT, limit=10)

    assert (event.actor, event.action, event.note, event.is_claimed) == ("ci", "Release", "a hotfix: ü", True)
    assert (event.revision, event.request_id, event.count) == (1, "run-7", 0)
    assert event.time_ms == int(event.id.partition("-")[0]) or event.time_ms > NOW


async def test_an_entry_says_what_changed(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"), commands.Release("c"), commands.Ramp(1050))
    await do(store, commands.Rollback(), commands.SetPolicy({"queue_mode": QueueMode.REJECT}), commands.Quarantine("x"))

    quarantined, policy, rolled_back, ramped, queued, *_ = await store.events(COMPONENT, limit=10)

    assert [change.field for change in queued.changes] == ["queue", "release/3"]
    assert queued.changes[0] == FieldChange("queue", None, "3")
    assert ramped.changes == (FieldChange("next_percent", "0", "10.5"), FieldChange("driver", None, "PERSON"))
    assert FieldChange("state", "ROLLING_OUT", "HELD") in rolled_back.changes
    assert policy.changes == (FieldChange("policy.queue_mode", "FIFO", "REJECT"),)
    assert [change.field for change in quarantined.changes] == ["quarantine/x"]


async def test_the_history_replays_to_the_state(store: RedisStore):
    await do(store, *(commands.Release(f"t{n}", {"n": str(n)}) for n in range(4)))
    await do(store, commands.Ramp(100), commands.Finalize(), commands.Quarantine("t3"), commands.Revert())
    await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA)
    last = await do(store, commands.Freeze(NOW + 1), commands.Abandon(quarantine=True))

    events = await store.events(COMPONENT, limit=100)

    assert replay(reversed(events)) == fields_in_words(last)

    gone = Absent(COMPONENT, last.revision + 1, last.last_number)
    await commit(store, last, gone)
    assert replay(reversed(await store.events(COMPONENT, limit=100))) == {}

    again = await do(store, commands.Release("t9"), commands.Release("t8"))
    assert replay(reversed(await store.events(COMPONENT, limit=100))) == fields_in_words(again)


async def test_an_entry_shows_one_override_before_and_after(store: RedisStore):
    await do(store, commands.Release("a"))
    for override in (Override(channel="NEXT"), Override(tag="pb/x", expire_ms=4_000_000_000_000), None):
        await store.commit_overrides(COMPONENT, {"acme/app": override}, ADA)

    events = (await store.events(COMPONENT, limit=3))[::-1]

    assert [event.changes for event in events] == [
        (FieldChange("override/acme/app", None, "next"),),
        (FieldChange("override/acme/app", "next", "tag pb/x until 2096-10-02T07:06:40Z"),),
        (FieldChange("override/acme/app", "tag pb/x until 2096-10-02T07:06:40Z", None),),
    ]
    assert [event.revision for event in events] == [2, 3, 4]


async def test_a_bulk_change_is_one_entry_with_its_count(store: RedisStore):
    await do(store, commands.Release("a"))
    await store.commit_overrides(COMPONENT, {"acme/0": Override(tag="x")}, ADA)
    await store.commit_overrides(COMPONENT, {f"acme/{n}": Override(tag="x") for n in range(10)}, ADA)

    newest = (await store.events(COMPONENT, limit=1))[0]

    assert (newest.count, newest.changes, newest.revision) == (9, (), 3)


async def test_the_namespace_has_its_own_history(store: RedisStore):
    frozen = Namespace(Freeze("ada", "holidays", NOW))
    await store.commit_namespace(Namespace(), frozen, Author("ada", "Freeze", "holidays"))
    await store.commit_namespace(frozen, Namespace(), Author("bob", "Unfreeze"))

    thawed, froze = await store.events("", limit=10)

    text = "by ada: holidays"
    assert froze.changes == (FieldChange("freeze", None, text),)
    assert thawed.changes == (FieldChange("freeze", text, None),)
    assert (froze.actor, froze.action, froze.revision) == ("ada", "Freeze", 0)


async def test_the_history_comes_newest_first_in_exact_pages(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"), *(commands.Ramp(n) for n in range(1, 6)))

    first = await store.events(COMPONENT, limit=3)
    second = await store.events(COMPONENT, before=first[-1].id, limit=3)
    third = await store.events(COMPONENT, before=second[-1].id, limit=3)

    assert [[event.revision for event in page] for page in (first, second, third)] == [[7, 6, 5], [4, 3, 2], [1]]
    assert await store.events(COMPONENT, before=third[-1].id, limit=3) == []
    assert await store.events("never-was", limit=3) == []


async def test_an_invalid_id_is_a_mistake(store: RedisStore):
    with pytest.raises(ValueError, match="not the id"):
        await store.events(COMPONENT, before="(5-1", limit=1)


async def test_the_history_keeps_ten_thousand_entries(store: RedisStore):
    last = await do(store, commands.Release("a"), commands.Release("b"))
    history = store.keys.component(COMPONENT).history
    pipe = store.client.pipeline(transaction=False)
    for _ in range(10_000):
        pipe.xadd(history, {"an": "older one"})
    await pipe.execute()

    await commit(store, last, decide(last, commands.Ramp(1)))

    assert await store.client.xlen(history) == 10_000


@pytest.mark.parametrize(
    "fields",
    [
        {"actor": "ada"},
        {"revision": "x"},
        {"changes": "{"},
        {"changes": '["a"]'},
        {"changes": r'[["note","\ud800",null]]'},
        {"claimed": "maybe"},
        {"note": b"\xff"},
        {"count": "-1"},
    ],
)
async def test_an_error_names_an_entry_that_rampd_did_not_write(store: RedisStore, fields: dict[str, str | bytes]):
    whole = {"revision": "1", "time": "1", "actor": "ada", "claimed": "0", "action": "x", "note": "", "request_id": ""}
    broken = fields if fields == {"actor": "ada"} else whole | fields
    key = store.keys.component(COMPONENT).history
    entry_id = await store.client.xadd(key, broken)

    with pytest.raises(StoreCorruptError, match=entry_id) as caught:
        await store.events(COMPONENT, limit=1)

    assert caught.value.metadata == {"key": key}
