"""What the link to the store counts as an error of the store."""

from collections.abc import Sequence
from typing import Any

import pytest

from rampd_server.domain.errors import (
    Reason,
    ShardUnavailableError,
    StoreCorruptError,
    StoreResetError,
    StoreUnavailableError,
)
from rampd_server.storage.clients import Clients
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import ElsewhereError
from rampd_server.storage.scripts import Code

NOTHING = {Reason.STORE_UNAVAILABLE: 0, Reason.STORE_RESET: 0, Reason.STORE_CORRUPT: 0}


class FakeClient:
    """A Redis that has another epoch, and a schema that this server knows."""

    async def hget(self, _key: str, field: str) -> str | None:
        return {"epoch": "another"}.get(field)


@pytest.fixture
def link() -> Link:
    return Link(Clients(FakeClient(), FakeClient()))


def counted(link: Link) -> dict[str, int]:
    """The errors that were counted."""
    return {reason: number for (reason,), number in link.counts.errors.items()}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ([Code.RESET, "another"], Reason.STORE_RESET),
        ([Code.NEWER_SCHEMA, "99"], Reason.STORE_UNAVAILABLE),
        ([Code.WRONG_TYPE, ["key", "string", "hash"]], Reason.STORE_CORRUPT),
        ([Code.MALFORMED, "key", "field"], Reason.STORE_CORRUPT),
    ],
)
def test_an_answer_that_is_an_error_of_the_store_counts(link: Link, reply: list[Any], reason: Reason) -> None:
    assert link.refusal(reply) is not None
    assert counted(link) == {**NOTHING, reason: 1}


@pytest.mark.parametrize(
    "reply", [[Code.NO_COMPONENT], [Code.REUSED], [Code.CONFLICT, "2"], [Code.TOO_MANY_OVERRIDES, 5]]
)
def test_an_answer_that_refuses_a_caller_is_no_error_of_the_store(link: Link, reply: list[Any]) -> None:
    assert link.refusal(reply, component="c") is not None
    assert counted(link) == NOTHING


async def test_a_store_with_another_epoch_counts(link: Link) -> None:
    with pytest.raises(StoreResetError):
        await link.require_epoch()
    assert counted(link) == {**NOTHING, Reason.STORE_RESET: 1}


def test_a_schema_that_this_server_does_not_know_counts(link: Link) -> None:
    link.schema = "99"
    with pytest.raises(StoreUnavailableError):
        link.require_schema()
    assert counted(link) == {**NOTHING, Reason.STORE_UNAVAILABLE: 1}


async def failing(link: Link, error: Exception) -> None:
    """A call of Redis that fails."""
    with link.counts.counted("get"):
        raise error


async def test_damage_counts_once_on_its_way_to_the_caller(link: Link) -> None:
    error = StoreCorruptError("damage", key="key", problem="damage")
    with pytest.raises(StoreCorruptError):
        async with link.of_known_schema():
            await failing(link, error)
    link.counts.note_error(error)
    assert counted(link) == {**NOTHING, Reason.STORE_CORRUPT: 1}
    with pytest.raises(StoreCorruptError):
        async with link.of_known_schema():
            raise StoreCorruptError("damage", key="key", problem="damage")
    assert counted(link) == {**NOTHING, Reason.STORE_CORRUPT: 2}


class MovingShards:
    """The only node of a cluster. A slot is being moved, so it fails an exchange as a whole, and a call for the key of that slot."""

    async def client_of(self, _key: str) -> "MovingShards":
        return self

    async def spread(self, calls: Sequence[Any], _send: object) -> list[Exception]:
        return [ShardUnavailableError("The slot is being moved.", code="ASK")] * len(calls)

    async def hgetall(self, key: str) -> dict[str, str]:
        if key == "moved":
            raise ElsewhereError("node answers ASK: 7 127.0.0.1:1")
        return {"key": key}


async def test_a_slot_that_is_being_moved_hides_only_its_own_hashes() -> None:
    shards: Any = MovingShards()
    link = Link(Clients(FakeClient(), FakeClient(), shards=shards))
    first, moved, last = await link.read_hashes(["first", "moved", "last"])
    assert (first, last) == ({"key": "first"}, {"key": "last"})
    assert isinstance(moved, ShardUnavailableError)
    assert "A slot of the Redis Cluster is being moved" in moved.message
