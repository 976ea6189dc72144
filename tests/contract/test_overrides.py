"""Overrides: a change is applied completely or not at all, lists are in order, and expired overrides are removed."""

import asyncio

import pytest

from rampd_server.domain.errors import Reason, RefusedError, StoreCorruptError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Override, Result
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, contents, decide, do

PINNED = Override(tag="20200301")
CURRENT = Override(channel="CURRENT")
NEXT = Override(channel="NEXT")
FAR_MS = 4_000_000_000_000
PAST_MS = 1_000_000_000_000
LASTING = Override(tag="pb/x", expire_ms=FAR_MS)
EXPIRED = Override(tag="pb/x", expire_ms=PAST_MS)


@pytest.fixture(autouse=True)
async def component(store: RedisStore) -> Rollout:
    return await do(store, commands.Release("a"))


async def test_an_override_is_set_replaced_and_deleted(store: RedisStore):
    for revision, override in enumerate((PINNED, CURRENT, LASTING, NEXT, None), start=2):
        entry, result = await store.commit_overrides(COMPONENT, {"acme/app": override}, ADA)

        assert result == Result(revision)
        assert entry is not None
        assert entry.revision == revision
        assert await _all(store) == ([("acme/app", override)] if override else [])
        await _check_keys_agree(store)


async def test_an_override_is_legible_in_redis(store: RedisStore):
    changes = {"a/1": CURRENT, "a/2": NEXT, "a/3": PINNED, "a/*": LASTING}
    await store.commit_overrides(COMPONENT, changes, ADA)

    assert await store.client.hgetall(store.keys.component(COMPONENT).overrides) == {
        "a/1": "channel=current",
        "a/2": "channel=next",
        "a/3": "tag=20200301",
        "a/*": "tag=pb/x expire=4000000000000",
    }


async def test_a_change_moves_revision_and_update_time_only(store: RedisStore, component: Rollout):
    entry, _ = await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA)

    after = (await store.read(COMPONENT)).rollout
    assert isinstance(after, Rollout)
    assert entry is not None
    assert store.apply(component, entry) == after
    assert after.revision == 2
    assert after.update_ms > component.update_ms
    assert (after.releases, after.timeline, after.create_ms) == (
        component.releases,
        component.timeline,
        component.create_ms,
    )


async def test_an_override_that_already_has_its_value_changes_nothing(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA)
    before = await contents(store)

    outcome = await store.commit_overrides(COMPONENT, {"acme/app": PINNED, "not/there": None}, ADA)

    assert outcome == (None, Result(2, changed=False))
    assert await contents(store) == before


async def test_one_call_sets_a_thousand_overrides(store: RedisStore):
    many = {f"acme/{n:04}": Override(tag="pb/x", expire_ms=FAR_MS + n) for n in range(1000)}
    await store.commit_overrides(COMPONENT, many, ADA)

    assert await _all(store) == sorted(many.items())
    await _check_keys_agree(store)

    await store.commit_overrides(COMPONENT, dict.fromkeys(many, CURRENT), ADA)
    assert {override for _, override in await _all(store)} == {CURRENT}
    await _check_keys_agree(store)

    await store.commit_overrides(COMPONENT, dict.fromkeys(many), ADA)
    assert await _all(store) == []
    assert (await store.read(COMPONENT)).rollout.revision == 4
    await _check_keys_agree(store)


async def test_one_call_sets_more_overrides_than_fit_into_one_redis_command(store: RedisStore):
    many = {f"acme/{n:04}": CURRENT for n in range(5000)}
    await store.commit_overrides(COMPONENT, many, ADA)

    assert len(await _all(store)) == 5000
    assert await store.commit_overrides(COMPONENT, many, ADA) == (None, Result(2, changed=False))
    await store.commit_overrides(COMPONENT, {**many, "acme/4321": NEXT}, ADA)
    assert (await store.events(COMPONENT, limit=1))[0].count == 1
    assert dict(await _all(store)) == {**many, "acme/4321": NEXT}


async def test_a_component_that_is_not_there_is_refused(store: RedisStore, component: Rollout):
    await commit(store, component, Absent(COMPONENT, 2, 1))
    before = await contents(store)

    for name in (COMPONENT, "never-was"):
        with pytest.raises(RefusedError, match="ListRollouts") as caught:
            await store.commit_overrides(name, {"acme/app": PINNED}, ADA)
        assert caught.value.reason is Reason.COMPONENT_NOT_FOUND
    assert await contents(store) == before


async def test_a_change_is_refused_if_the_revision_is_not_the_expected_one(store: RedisStore):
    before = await contents(store)

    with pytest.raises(RefusedError) as caught:
        await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA, expected_revision=7)

    assert caught.value.reason is Reason.REVISION_MISMATCH
    assert caught.value.metadata == {"expected": "7", "actual": "1"}
    assert await contents(store) == before

    _, result = await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA, expected_revision=1)
    assert result == Result(2)


@pytest.mark.parametrize("there", [None, EXPIRED], ids=["never set", "expired"])
async def test_deleting_a_missing_override_that_must_exist_is_refused(store: RedisStore, there: Override | None):
    if there:
        await store.commit_overrides(COMPONENT, {"acme/app": there}, ADA)
    await store.commit_overrides(COMPONENT, {"acme/other": PINNED}, ADA)
    before = await contents(store)

    with pytest.raises(RefusedError) as caught:
        await store.commit_overrides(COMPONENT, {"acme/other": None, "acme/app": None}, ADA, must_exist=True)

    assert caught.value.reason is Reason.OVERRIDE_NOT_FOUND
    assert caught.value.metadata == {"component": COMPONENT, "repo": "acme/app"}
    assert await contents(store) == before


async def test_deleting_an_existing_override_that_must_exist_succeeds(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"acme/app": LASTING}, ADA)

    _, result = await store.commit_overrides(COMPONENT, {"acme/app": None}, ADA, must_exist=True)

    assert result == Result(3)
    assert await _all(store) == []


async def test_an_empty_list_of_changes_is_a_mistake_of_the_caller(store: RedisStore):
    with pytest.raises(ValueError, match="no overrides"):
        await store.commit_overrides(COMPONENT, {}, ADA)


async def test_no_change_of_32_writers_at_once_is_lost(store: RedisStore):
    changes = [{f"acme/{n}": PINNED} for n in range(32)]
    outcomes = await asyncio.gather(*(store.commit_overrides(COMPONENT, change, ADA) for change in changes))

    assert sorted(result.revision for _, result in outcomes) == list(range(2, 34))
    assert len(await _all(store)) == 32


async def test_a_list_is_in_order_of_bytes_and_in_exact_pages(store: RedisStore):
    repos = ["acme/a", "acme/b", "acme/b2", "acme/~", "acme", "acmf/a", "Zeta/x", "acme/*", 'acme/"q"', "acme/A"]
    await store.commit_overrides(COMPONENT, dict.fromkeys(repos, PINNED), ADA)

    assert [repo for repo, _ in await _all(store)] == sorted(repos)

    in_acme = sorted(repo for repo in repos if repo.startswith("acme/"))
    pages, after = [], ""
    while page := await store.list_overrides(COMPONENT, prefix="acme/", after=after, limit=3):
        pages.append([listed.repo for listed in page])
        after = page[-1].repo
    assert pages == [in_acme[:3], in_acme[3:6], in_acme[6:]]


async def test_a_page_begins_at_its_prefix_even_if_the_page_token_is_before_it(store: RedisStore):
    await store.commit_overrides(COMPONENT, dict.fromkeys(["a/1", "b/1", "b/2", "c/1"], PINNED), ADA)

    async def listed(after: str, limit: int = 9) -> list[tuple[str, Override]]:
        return [found[:2] for found in await store.list_overrides(COMPONENT, prefix="b/", after=after, limit=limit)]

    assert await listed("a/1") == [("b/1", PINNED), ("b/2", PINNED)]
    assert await listed("b/1") == [("b/2", PINNED)]
    assert await listed("c/1") == []
    assert await listed("", limit=0) == []


async def test_a_walk_yields_all_overrides(store: RedisStore):
    many = {f"acme/{n}": Override(tag=f"t{n % 7}") for n in range(2500)}
    await store.commit_overrides(COMPONENT, many, ADA)

    seen: dict[str, Override] = {}
    async for piece in store.walk_overrides(COMPONENT):
        seen |= piece.overrides

    assert seen == many
    assert [piece.overrides async for piece in store.walk_overrides("never-was")] == [{}]


async def test_a_sweep_removes_expired_overrides_only(store: RedisStore):
    expired = {f"old/{n}": Override(tag="x", expire_ms=PAST_MS + n) for n in range(5)}
    await store.commit_overrides(COMPONENT, {**expired, "new/1": LASTING, "new/2": PINNED}, ADA)
    last = (await store.read(COMPONENT)).entry_id
    before = (await store.read(COMPONENT)).rollout

    assert await store.sweep_overrides(COMPONENT, limit=3) == 3
    assert [repo for repo, _ in await _all(store)] == ["new/1", "new/2", "old/3", "old/4"]
    assert await store.sweep_overrides(COMPONENT, limit=3) == 2
    assert await store.sweep_overrides(COMPONENT, limit=3) == 0

    assert await _all(store) == [("new/1", LASTING), ("new/2", PINNED)]
    await _check_keys_agree(store)
    first, second = await store.feed(last, block_ms=0)
    assert (first.previous_id, second.previous_id) == (last, first.id)
    assert [*first.overrides_deleted, *second.overrides_deleted] == sorted(expired)
    assert first.component == COMPONENT
    assert store.apply(before, first) == before
    assert (await store.read(COMPONENT)).rollout == before
    assert len(await store.events(COMPONENT, limit=10)) == 2


async def test_an_override_that_no_longer_expires_is_not_swept(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"acme/app": EXPIRED}, ADA)
    await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA)

    assert await store.sweep_overrides(COMPONENT) == 0
    assert await _all(store) == [("acme/app", PINNED)]


async def test_an_override_that_a_wrong_clock_ended_is_back_once_the_clock_is_right(store: RedisStore):
    """Given a clock that is an hour ahead during a sweep, expect that an override with another half hour stays."""
    head = await store.head()
    assert head is not None
    half_an_hour_ago_ms = head.time_ms - 1_800_000
    two_days_ago_ms = head.time_ms - 2 * 24 * 3_600_000
    ended = {
        "a/1": Override("CURRENT", expire_ms=half_an_hour_ago_ms),
        "a/2": Override("NEXT", expire_ms=two_days_ago_ms),
    }
    await store.commit_overrides(COMPONENT, ended, ADA)

    assert await store.sweep_overrides(COMPONENT) == 1

    assert [repo for repo, _ in await _all(store)] == ["a/1"]
    await _check_keys_agree(store)


async def test_a_component_without_overrides_has_nothing_to_sweep(store: RedisStore):
    before = await contents(store)

    assert await store.sweep_overrides("never-was") == 0
    assert await contents(store) == before


@pytest.mark.parametrize(
    "section", ["overrides", "overrides_index", "overrides_expiry", "overrides_origin", "rollout", "history"]
)
async def test_an_error_names_a_key_of_the_wrong_type_and_nothing_is_written(store: RedisStore, section: str):
    key = getattr(store.keys.component(COMPONENT), section)
    await store.client.delete(key)
    await store.client.sadd(key, "something else")
    before = await contents(store)

    with pytest.raises(StoreCorruptError) as caught:
        await store.commit_overrides(COMPONENT, {"acme/app": LASTING}, ADA)

    assert caught.value.metadata == {"key": key}
    assert await contents(store) == before


@pytest.mark.parametrize("revision", ["", "x", "1.5", "-1"])
async def test_an_error_names_a_revision_that_is_not_a_number_and_nothing_is_written(store: RedisStore, revision: str):
    key = store.keys.component(COMPONENT).rollout
    await store.client.hset(key, "revision", revision)
    before = await contents(store)

    with pytest.raises(StoreCorruptError, match="'revision'") as caught:
        await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA)

    assert caught.value.metadata == {"key": key}
    assert await contents(store) == before


@pytest.mark.parametrize("text", ["", "x", "channel=both", "channel=CURRENT", "tag=", "tag=a b", "tag=a expire=soon"])
async def test_an_error_names_an_override_that_was_edited_by_hand(store: RedisStore, text: str):
    await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA)
    key = store.keys.component(COMPONENT).overrides
    await store.client.hset(key, "acme/app", text)

    for read in (_all(store), _walk(store)):
        with pytest.raises(StoreCorruptError, match="acme/app") as caught:
            await read
        assert caught.value.metadata == {"key": key}


async def test_an_error_names_an_override_whose_repo_is_not_text(store: RedisStore):
    key = store.keys.component(COMPONENT).overrides
    await store.client.hset(key, b"acme/\xff", "tag=a")

    with pytest.raises(StoreCorruptError, match="not UTF-8") as caught:
        await _walk(store)
    assert caught.value.metadata == {"key": key}


async def test_a_read_names_an_index_or_a_hash_of_the_wrong_type(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"acme/app": PINNED}, ADA)
    keys = store.keys.component(COMPONENT)
    for key, read in (
        (keys.overrides_origin, _all),
        (keys.overrides_index, _all),
        (keys.overrides, _walk),
        (keys.overrides, _all),
    ):
        await store.client.delete(key)
        await store.client.set(key, "x")
        with pytest.raises(StoreCorruptError) as caught:
            await read(store)
        assert caught.value.metadata == {"key": key}


async def _all(store: RedisStore) -> list[tuple[str, Override]]:
    return [found[:2] for found in await store.list_overrides(COMPONENT, prefix="", after="", limit=10_000)]


async def _walk(store: RedisStore) -> None:
    async for _ in store.walk_overrides(COMPONENT):
        pass


async def _check_keys_agree(store: RedisStore) -> None:
    """Checks that hash, index, expiry and origin have the same repos."""
    keys = store.keys.component(COMPONENT)
    overrides = await store.client.hgetall(keys.overrides)
    expiries = {repo: float(text.partition(" expire=")[2]) for repo, text in overrides.items() if " expire=" in text}
    assert dict(await store.client.zrange(keys.overrides_index, 0, -1, withscores=True)) == dict.fromkeys(
        overrides, 0.0
    )
    assert dict(await store.client.zrange(keys.overrides_expiry, 0, -1, withscores=True)) == expiries
    assert (await store.client.hgetall(keys.overrides_origin)).keys() == overrides.keys()


async def counted(store: RedisStore) -> tuple[str | None, int]:
    """Returns the number of overrides that the rollout has recorded, and the real number."""
    keys = store.keys.component(COMPONENT)
    return await store.client.hget(keys.rollout, "overrides"), await store.client.hlen(keys.overrides)


async def test_the_rollout_counts_its_overrides_after_every_change(store: RedisStore):
    assert await counted(store) == (None, 0)
    changes: list[dict[str, Override | None]] = [
        {f"acme/{n}": Override(tag="t") for n in range(1200)},
        {"acme/0": Override(tag="t"), "acme/1": Override(tag="u"), "acme/2": None, "acme/none": None},
        {"beta/web": EXPIRED, "acme/3": EXPIRED},
        {"acme/4": None},
    ]
    for change in changes:
        await store.commit_overrides(COMPONENT, change, ADA)
        count, present = await counted(store)
        assert count == str(present)
    assert await counted(store) == ("1199", 1199)
    while await store.sweep_overrides(COMPONENT, limit=1):
        count, present = await counted(store)
        assert count == str(present)
    assert await counted(store) == ("1197", 1197)
    await do(store, commands.Release("b"))
    assert await counted(store) == ("1197", 1197)
    assert len([repo async for piece in store.walk_overrides(COMPONENT) for repo in piece.overrides]) == 1197

    before = (await store.read(COMPONENT)).rollout
    await commit(store, before, decide(before, commands.DeleteComponent()))
    await do(store, commands.Release("c"))
    assert await counted(store) == (None, 0)


async def test_the_loss_of_all_overrides_is_noticed_even_after_later_changes(store: RedisStore):
    await store.commit_overrides(COMPONENT, {f"acme/{n}": Override(tag="t") for n in range(3)}, ADA)
    keys = store.keys.component(COMPONENT)
    await store.client.delete(keys.overrides, keys.overrides_index, keys.overrides_expiry)
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match=r"has (0 overrides|1 override), and .* counts [34]") as caught:
            async for _ in store.walk_overrides(COMPONENT):
                pass
        assert caught.value.metadata == {"key": keys.overrides}
        await store.commit_overrides(COMPONENT, {"acme/more": Override(tag="t")}, ADA)

    await store.client.hset(keys.rollout, "overrides", "1")
    assert [piece.overrides async for piece in store.walk_overrides(COMPONENT)] == [{"acme/more": Override(tag="t")}]


async def test_overrides_of_an_earlier_rampd_without_a_count_are_loaded_and_then_counted(
    store: RedisStore,
):
    await store.commit_overrides(COMPONENT, {f"acme/{n}": Override(tag="t") for n in range(3)}, ADA)
    await store.client.hdel(store.keys.component(COMPONENT).rollout, "overrides")
    assert len([repo async for piece in store.walk_overrides(COMPONENT) for repo in piece.overrides]) == 3
    await store.sweep_overrides(COMPONENT)
    await store.commit_overrides(COMPONENT, {"acme/0": None}, ADA)
    assert await counted(store) == ("2", 2)
