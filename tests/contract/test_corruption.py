"""What somebody edited by hand: an error that names the key and the field, never a wrong version served as right."""

import pytest

from rampd_server.domain import commands
from rampd_server.domain.errors import StoreCorruptError
from rampd_server.storage.redis_store import RedisStore
from tests.contract.driving import COMPONENT, do
from tests.rollouts import NOW


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
    ("rollout", "revision", "3"),  # less than the timeline's last
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
async def test_a_wrong_field_is_named(store: RedisStore, section: str, field: str, text: str | bytes):
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
async def test_a_missing_field_is_named(store: RedisStore, field: str):
    key = store.keys.component(COMPONENT).rollout
    await store.client.hdel(key, field)

    with pytest.raises(StoreCorruptError) as caught:
        await store.read(COMPONENT)

    assert caught.value.message.startswith(key) or field in {"current", "next"}


@pytest.mark.parametrize("queue", [["77"], ["4"], ["4", "5", "4"], ["4", "5", "3"], ["4", "x"], ["4", b"\xff"], []])
async def test_a_queue_that_is_not_that_of_the_releases_is_named(store: RedisStore, queue: list[str | bytes]):
    key = store.keys.component(COMPONENT).queue
    await store.client.delete(key)
    if queue:
        await store.client.rpush(key, *queue)

    with pytest.raises(StoreCorruptError):
        await store.read(COMPONENT)


@pytest.mark.parametrize("section", ["rollout", "queue", "releases"])
async def test_a_key_that_is_gone_makes_the_rest_an_error(store: RedisStore, section: str):
    await store.client.delete(getattr(store.keys.component(COMPONENT), section))

    with pytest.raises(StoreCorruptError):
        await store.read(COMPONENT)


@pytest.mark.parametrize("section", ["rollout", "queue", "releases", "attributes", "quarantine", "timeline"])
async def test_a_key_of_the_wrong_type_is_named(store: RedisStore, section: str):
    key = getattr(store.keys.component(COMPONENT), section)
    await store.client.delete(key)
    await store.client.set(key, "x")

    with pytest.raises(StoreCorruptError, match="not of the type") as caught:
        await store.read(COMPONENT)

    assert caught.value.metadata == {"key": key}


async def test_a_tombstone_without_its_numbers_is_named(store: RedisStore):
    key = store.keys.component("gone").rollout
    await store.client.hset(key, mapping={"deleted": "1", "revision": "7"})

    with pytest.raises(StoreCorruptError, match="'last_number'") as caught:
        await store.read("gone")

    assert caught.value.metadata == {"key": key}


@pytest.mark.parametrize("text", ["", "x", "a b c d e f g", "a b 1-1 x 1 0 0 ", "a b 1-1 7 maybe 0 0 "])
async def test_an_idempotency_record_that_makes_no_sense_is_named(store: RedisStore, text: str):
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
