"""Request ids: a repeat does nothing and returns the result of the first request."""

import asyncio
from dataclasses import replace

import pytest
from redis import exceptions

from rampd_server.domain.errors import Reason, RefusedError, StoreCorruptError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.ports import Author, Namespace, Override, ReplayedError, RequestRecord, Result
from rampd_server.storage.store import RedisStore
from tests.contract.driving import COMPONENT, contents, decide, do
from tests.rollouts import NOW

OWN = Author("ada", "Release", request_id="ci-42", digest="d1g35t")
OTHER = Author("ada", "Release", request_id="ci-42", digest="an0th3r")
RESULT = Result(3, disposition="QUEUED", release=3, queue_position=1)
OVERRIDE = {"acme/app": Override(channel="CURRENT")}


@pytest.fixture
async def rollout(store: RedisStore) -> Rollout:
    return await do(store, commands.Release("a"), commands.Release("b"))


@pytest.fixture
async def committed(store: RedisStore, rollout: Rollout) -> Rollout:
    after = decide(rollout, commands.Release("c"))
    assert isinstance(after, Rollout)
    _, stored = await store.commit(rollout, after, OWN, RESULT, Namespace())
    assert isinstance(stored, Rollout)
    return stored


async def test_the_result_of_a_request_id_is_remembered_for_a_day(store: RedisStore, committed: Rollout):
    assert await store.request_record("ci-42") == RequestRecord("d1g35t", RESULT, entry=committed.entry)
    assert 86_300_000 < await store.client.pttl(store.keys.request("ci-42")) <= 86_400_000


async def test_the_content_of_a_request_is_remembered(store: RedisStore, rollout: Rollout):
    parts = {"method": "Release", "actor": "1a2b", "tag": "3c4d"}
    unchanged = replace(RESULT, changed=False)
    await store.remember(replace(OWN, parts=parts), unchanged)

    assert await store.request_record("ci-42") == RequestRecord("d1g35t", unchanged, parts)
    with pytest.raises(ReplayedError) as caught:
        await _write(store, rollout, OWN, "commit")
    assert caught.value.record.parts == parts


async def test_a_record_of_an_earlier_rampd_is_read(store: RedisStore, rollout: Rollout):
    await store.client.set(store.keys.request("ci-42"), f"{'0' * 64} 5c1e 1-0 3 1 3 1 QUEUED")

    assert await store.request_record("ci-42") == RequestRecord("0" * 64, RESULT, entry="1-0")


@pytest.mark.parametrize("parts", ["tag", "tag:a:b", "tag:a,", "a b"])
async def test_an_error_names_a_record_that_rampd_did_not_write(store: RedisStore, rollout: Rollout, parts: str):
    await store.client.set(store.keys.request("ci-42"), f"d1g35t 5c1e 1-0 3 1 3 1 QUEUED {parts}")

    with pytest.raises(StoreCorruptError, match="request:ci-42"):
        await store.request_record("ci-42")


async def test_an_unused_id_has_no_record(store: RedisStore, committed: Rollout):
    assert await store.request_record("ci-43") is None


async def test_a_write_without_an_id_is_remembered_for_a_minute_with_a_generated_id(
    store: RedisStore, rollout: Rollout
):
    made_up = [key for key in await contents(store) if ":request:" in key]

    assert len(made_up) == 2
    for key in made_up:
        assert ":request:~" in key
        assert 10_000 < await store.client.pttl(key) <= 60_000


@pytest.mark.parametrize("write", ["commit", "overrides", "namespace", "remember"])
async def test_a_repeat_writes_nothing_and_gives_the_first_result(store: RedisStore, committed: Rollout, write: str):
    before = await contents(store)

    with pytest.raises(ReplayedError) as caught:
        await _write(store, committed, OWN, write)

    assert caught.value.result == RESULT
    assert await contents(store) == before


@pytest.mark.parametrize("write", ["commit", "overrides", "namespace", "remember"])
async def test_an_id_that_was_used_for_something_else_is_refused(store: RedisStore, committed: Rollout, write: str):
    before = await contents(store)

    with pytest.raises(RefusedError) as caught:
        await _write(store, committed, OTHER, write)

    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    assert await contents(store) == before


async def test_a_digest_with_the_same_beginning_is_a_different_digest(store: RedisStore, committed: Rollout):
    with pytest.raises(RefusedError):
        await _write(store, committed, Author("ada", "Release", request_id="ci-42", digest="d1g"), "commit")


async def test_the_repeat_of_a_commit_is_recognised_after_later_commits(store: RedisStore, committed: Rollout):
    before = await store.read(COMPONENT)
    await do(store, commands.Ramp(1000))

    with pytest.raises(ReplayedError) as caught:
        await store.commit(committed, decide(committed, commands.Release("c2")), OWN, RESULT, before.namespace)

    assert caught.value.result == RESULT


async def test_a_success_that_changed_nothing_is_remembered_too(store: RedisStore, rollout: Rollout):
    unchanged = Result(2, disposition="UNCHANGED", release=2, changed=False)
    await store.remember(OWN, unchanged)

    assert await store.request_record("ci-42") == RequestRecord("d1g35t", unchanged)
    with pytest.raises(ReplayedError) as caught:
        await _write(store, rollout, OWN, "commit")
    assert caught.value.result == unchanged
    assert (await store.read(COMPONENT)).rollout == rollout


async def test_a_result_without_an_id_is_not_remembered(store: RedisStore, rollout: Rollout):
    before = await contents(store)

    await store.remember(Author("ada", "Release"), Result(2))

    assert await contents(store) == before


async def test_overrides_that_already_had_their_values_are_remembered_only_with_an_id_of_the_caller(
    store: RedisStore, rollout: Rollout
):
    await store.commit_overrides(COMPONENT, OVERRIDE, Author("ada", "SetOverride"))
    before = await contents(store)

    assert await store.commit_overrides(COMPONENT, OVERRIDE, Author("ada", "SetOverride")) == (
        None,
        Result(3, changed=False),
    )
    assert await contents(store) == before

    await store.commit_overrides(COMPONENT, OVERRIDE, OWN)
    assert await store.request_record("ci-42") == RequestRecord("d1g35t", Result(3, changed=False))


async def test_one_of_ten_requests_with_the_same_id_writes(store: RedisStore, rollout: Rollout):
    attempts = (store.commit_overrides(COMPONENT, OVERRIDE, OWN) for _ in range(10))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)

    replays = [outcome for outcome in outcomes if isinstance(outcome, ReplayedError)]
    assert [replay.result for replay in replays] == [Result(3)] * 9
    assert (await store.read(COMPONENT)).rollout.revision == 3


@pytest.mark.parametrize("author", [OWN, Author("ada", "Release")], ids=["own id", "no id"])
@pytest.mark.parametrize("write", ["commit", "overrides", "namespace", "remember"])
async def test_a_write_whose_reply_is_lost_happens_once(
    store: RedisStore, rollout: Rollout, write: str, author: Author, monkeypatch: pytest.MonkeyPatch
):
    _lose_the_next_reply(store, monkeypatch)
    entry = await _write(store, rollout, author, write)

    if write == "remember":
        assert (await store.read(COMPONENT)).rollout == rollout
        return
    (found,) = (await store.feed((await _feed_ids(store))[-2], block_ms=0))[-1:]
    assert entry == found
    assert len(await store.events("" if write == "namespace" else COMPONENT, limit=10)) == (
        1 if write == "namespace" else 3
    )


async def _feed_ids(store: RedisStore) -> list[str]:
    return [entry.id for entry in await store.feed("0-0", block_ms=0)]


def _lose_the_next_reply(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    evalsha = store.client.evalsha
    lost: list[object] = []

    async def lossy(*arguments: object) -> object:
        reply = await evalsha(*arguments)
        if not lost:
            lost.append(reply)
            raise exceptions.ConnectionError("Connection closed by server.")
        return reply

    monkeypatch.setattr(store.client, "evalsha", lossy)


async def _write(store: RedisStore, rollout: Rollout | Absent, author: Author, write: str) -> object:
    match write:
        case "commit":
            after = decide(rollout, commands.Ramp(4000))
            return (await store.commit(rollout, after, author, Result(after.revision), Namespace()))[0]
        case "overrides":
            return (await store.commit_overrides(COMPONENT, OVERRIDE, author))[0]
        case "namespace":
            return await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "", NOW)), author)
    return await store.remember(author, RESULT)
