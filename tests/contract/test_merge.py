"""A merge makes each component of its input as it is there, all of them at once or none, and leaves all others alone."""

import random
from dataclasses import replace

import pytest

from rampd_server.backup import plan, table
from rampd_server.backup.lines import Content, InputError
from rampd_server.backup.plan import Plan, Planned
from rampd_server.domain.errors import RefusedError, StoreCorruptError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, Quarantine, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.ports import Author, ConflictError, Namespace, Override, Stored
from rampd_server.storage.store import RedisStore
from rampd_server.storage.together import Change, together
from tests.contract.driving import ADA, contents, do
from tests.contract.test_export import change, delete, events_of
from tests.contract.test_import import content_of
from tests.replay import fields_in_words, replay
from tests.rollouts import NOW

BOB = Author("bob", "Import", "from a backup")


async def planned(store: RedisStore, content: Content) -> Plan:
    return await plan.make(store, content, Context(NOW, "bob", "from a backup"))


async def merge(store: RedisStore, content: Content) -> Plan:
    async with together(store.link) as at_once:
        made = await planned(store, content)
        if made.changes:
            await at_once.commit(made.changes, BOB)
    return made


async def fill(store: RedisStore) -> Content:
    """Makes three components, and returns their export."""
    await do(store, commands.Release("a", {"commit": "c1"}), commands.Release("b"), commands.Ramp(1000))
    await store.commit_overrides("restyler", {"acme/app": Override(tag="a"), "acme/*": Override("NEXT")}, ADA)
    await do(store, commands.Release("h"), component="hlint")
    await do(store, commands.Release("s"), component="stylish")
    return (await content_of(store, with_history=False))[0]


async def test_a_merge_brings_back_what_was_changed_or_deleted_and_nothing_else(store: RedisStore) -> None:
    content = await fill(store)
    await do(store, commands.Ramp(5000), commands.Release("c"))
    await store.commit_overrides("restyler", {"acme/app": None, "acme/web": Override(tag="b")}, ADA)
    await delete(store, "hlint")
    other = await do(store, commands.Release("o"), component="other")
    before = await contents(store)

    made = await planned(store, content)
    assert list(made.lines()) == [
        "hlint: new, current h, 0 overrides",
        "restyler: different",
        "    next_percent: 50 -> 10",
        "    trial: 1 -> 2",
        "    queue: 3 -> (none)",
        "    release/3: c QUEUED -> (none)",
        "    override/acme/app: (none) -> tag a",
        "    override/acme/web: tag b -> (none)",
        "1 component of the input: the same already",
    ]
    assert await contents(store) == before

    await merge(store, content)
    for given, overrides in content.components:
        found = (await store.read(given.component)).rollout
        assert not isinstance(found, Absent)
        assert (found.releases, found.queue, found.basis_points) == (given.releases, given.queue, given.basis_points)
        listed = await store.list_overrides(given.component, prefix="", after="", limit=9)
        assert {each.repo: each.override for each in listed} == overrides
    restyler = (await store.read("restyler")).rollout
    assert (restyler.revision, restyler.last_number) == (9, 3)
    assert [event.action for event in await store.events("restyler", limit=2)] == ["Import", "Import"]
    assert (await store.read("hlint")).rollout.revision == 3
    assert (await store.read("other")).rollout == other
    assert len(await store.events("stylish", limit=9)) == 1

    after = await contents(store)
    again = await merge(store, content)
    assert (again.changes, again.same) == ([], ["hlint", "restyler", "stylish"])
    assert await contents(store) == after


def table_of(*rows: str) -> Content:
    return table.read("\n".join(["component,tag,percent", *rows]).encode(), actor="bob", now_ms=NOW + 5)


async def test_a_table_moves_or_releases_next_and_all_else_of_a_component_stays(store: RedisStore) -> None:
    await fill(store)
    before = {name: (await store.read(name)).rollout for name in ("restyler", "hlint")}
    content = table_of("restyler,a,80", "restyler,b,20", "hlint,h,95", "hlint,i,5", "new,n,100")

    made = await merge(store, content)
    lines = list(made.lines())
    assert "    next_percent: 10 -> 20" in lines
    assert "    next_tag: (none) -> i" in lines
    assert "new: new, current n, 0 overrides" in lines
    for name, share in (("restyler", 2000), ("hlint", 500)):
        found, known = (await store.read(name)).rollout, before[name]
        assert isinstance(found, Rollout)
        assert isinstance(known, Rollout)
        assert (found.basis_points, found.revision) == (share, known.revision + 1)
        assert (found.current_release, found.arrival) == (known.current_release, known.arrival)
    assert len(await store.list_overrides("restyler", prefix="", after="", limit=9)) == 2

    after = await contents(store)
    again = await merge(store, content)
    assert (again.changes, again.same) == ([], ["restyler", "hlint", "new"])
    assert await contents(store) == after


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["restyler,a,100"], r"has current a, next b at 10 % here, and current a in the table\. .*Nothing was changed"),
        (["restyler,x,90", "restyler,b,10"], r"here, and current x, next b at 10 % in the table"),
        (["restyler,a,90", "restyler,x,10"], r"here, and current a, next x at 10 % in the table"),
        (["stylish,x,100"], r"stylish has current s here, and current x in the table"),
        (["hlint,h,50", "hlint,i,50"], r"hlint has current h here, and .* where nothing is frozen"),
    ],
)
async def test_a_table_with_other_tags_than_a_component_or_of_a_frozen_one_is_refused(
    store: RedisStore, rows: list[str], words: str
) -> None:
    await fill(store)
    await do(store, commands.Freeze(), component="hlint")
    before = await contents(store)
    with pytest.raises(InputError, match=words):
        await merge(store, table_of("new,n,100", *rows))
    assert await contents(store) == before


async def test_a_table_makes_a_component_that_is_gone_as_release_and_ramp_do(store: RedisStore) -> None:
    """Expect that its numbers go on, and that nothing is rolled out while everything is frozen."""
    await fill(store)
    gone = (await store.read("restyler")).rollout
    await delete(store, "restyler")
    await merge(store, table_of("restyler,x,80", "restyler,y,20"))
    made = (await store.read("restyler")).rollout
    assert isinstance(made, Rollout)
    assert (made.current, made.next, made.basis_points) == (gone.last_number + 1, gone.last_number + 2, 2000)
    assert made.revision == gone.revision + 2

    await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "holidays", NOW)), ADA)
    before = await contents(store)
    with pytest.raises(InputError, match="new has no release here, and current m, next n at 50 % in the table"):
        await merge(store, table_of("new,m,50", "new,n,50"))
    assert await contents(store) == before
    await merge(store, table_of("new,m,100"))
    assert (await store.read("new")).rollout.revision == 1


async def test_a_table_lifts_no_quarantine_that_outlived_its_component() -> None:
    mark = Quarantine("ada", "it deletes files", NOW)
    [(given, _)] = table_of("hlint,bad,100").components
    with pytest.raises(InputError, match="bad is quarantined"):
        plan._after_table(Absent("hlint", 7, 3, quarantine={"bad": mark}), given, Context(NOW, "bob"))


async def test_a_plan_says_which_quarantine_an_input_lifts_that_outlived_its_component() -> None:
    mark = Quarantine("ada", "it deletes files", NOW)
    [(given, _)] = table_of("hlint,good,100").components
    lost = Absent("hlint", 7, 3, quarantine={"bad": mark})
    after = plan._after(lost, given, Context(NOW, "bob"))
    made = Plan([Planned(Change("hlint", Stored(lost, Namespace(), NOW), after), ())])
    assert list(made.lines()) == ["hlint: new, current good, 0 overrides", "    no longer quarantined: bad"]


@pytest.mark.parametrize("what", ["a component", "overrides", "the namespace"])
async def test_a_change_between_the_plan_and_the_commit_stops_the_merge(store: RedisStore, what: str) -> None:
    content = await fill(store)
    await do(store, commands.Ramp(5000))
    await delete(store, "hlint")
    async with together(store.link) as at_once:
        made = await planned(store, content)
        if what == "a component":
            await do(store, commands.Release("s2"), component="stylish")
        elif what == "overrides":
            await store.commit_overrides("stylish", {"acme/app": Override(tag="s")}, ADA)
        else:
            await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "", NOW)), ADA)
        before = await contents(store)
        with pytest.raises(ConflictError):
            await at_once.commit(made.changes, BOB)
    assert await contents(store) == before


async def test_if_one_component_can_not_be_written_none_is(store: RedisStore) -> None:
    content = await fill(store)
    await do(store, commands.Ramp(5000))
    await delete(store, "hlint")
    await delete(store, "stylish")
    key = store.keys.component("stylish").history
    await store.client.delete(key)
    await store.client.set(key, "damaged")
    before = await contents(store)

    with pytest.raises(StoreCorruptError):
        await merge(store, content)
    assert await contents(store) == before


@pytest.mark.parametrize("seed", range(2))
async def test_a_merge_of_an_earlier_export_brings_back_every_component(store: RedisStore, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        await change(store, chance)
    content, _ = await content_of(store)
    for _ in range(100):
        await change(store, chance)

    await merge(store, content)
    assert not (await merge(store, content)).changes
    after, _ = await content_of(store)
    found = {rollout.component: (rollout, overrides) for rollout, overrides in after.components}
    for given, overrides in content.components:
        rollout, found_overrides = found[given.component]
        assert (rollout.releases, found_overrides) == (given.releases, overrides)
        assert rollout.lost == ()
    for rollout, _ in after.components:
        assert replay(events_of(after, rollout.component)) == fields_in_words(rollout)


async def test_revisions_and_numbers_that_were_given_before_are_not_given_again(store: RedisStore) -> None:
    content = await fill(store)
    [hlint, restyler, stylish] = content.components
    ahead = replace(content, components=[hlint, (replace(restyler[0], revision=40, basis_points=2000), {}), stylish])

    await merge(store, ahead)
    after = (await store.read("restyler")).rollout
    assert (after.revision, after.trial) == (42, 2)
    assert (await do(store, commands.Ramp(3000))).revision == 43


async def test_two_components_of_one_name_are_not_merged(store: RedisStore) -> None:
    content = await fill(store)
    await delete(store, "hlint")
    [_, (restyler, _), _] = content.components
    release = replace(restyler.current_release, tag="z")
    other = replace(restyler, releases={**restyler.releases, restyler.current: release})
    with pytest.raises(InputError, match="Release 1 of restyler is a here and z in the input"):
        await merge(store, replace(content, components=[(other, {})]))


async def test_more_than_redis_can_write_at_once_is_refused(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    content = await fill(store)
    await delete(store, "hlint")
    await delete(store, "restyler")
    monkeypatch.setattr(plan, "MAX_OVERRIDES", 1)
    with pytest.raises(
        InputError, match="2 components and 2 overrides differ, and at once only 1,000 and 1 can be merged"
    ):
        await planned(store, content)
    monkeypatch.setattr(plan, "MAX_OVERRIDES", 2)
    monkeypatch.setattr(plan, "MAX_COMPONENTS", 1)
    with pytest.raises(InputError, match="Nothing was changed"):
        await planned(store, content)


async def test_a_merge_that_gives_a_namespace_too_many_components_changes_nothing(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given room for one more component, expect that two are refused together."""
    content = await fill(store)
    await delete(store, "hlint")
    await delete(store, "restyler")
    before = await contents(store)
    monkeypatch.setattr("rampd_server.storage.together.MAX_COMPONENTS", 2)
    with pytest.raises(RefusedError, match="may have at most 2, so there is no room for 2 more components"):
        await merge(store, content)
    assert await contents(store) == before
    monkeypatch.setattr("rampd_server.storage.together.MAX_COMPONENTS", 3)
    await merge(store, content)
    assert await store.components(limit=9) == ["hlint", "restyler", "stylish"]
