"""The progress of automation is committed with its rollout, and read back."""

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Step
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.progress import Cause, Driver, Progress
from rampd_server.storage.store import RedisStore
from tests.contract.driving import COMPONENT, commit, decide, do, is_committed
from tests.rollouts import NOW

STANDS = Progress(
    Driver.PLAN, NOW + 1, NOW + 2, Cause.STUCK, frozenset({Cause.STUCK, Cause.CHECK_FAILED}), NOW + 3, True
)
NAMES = ("driver", "hold_since_ms", "moved_ms", "paused_by", "said", "is_approved")


async def test_progress_is_read_from_the_store_and_from_the_feed(store: RedisStore):
    before = await do(store, commands.Release("a"), commands.Release("b"))
    after = decide(before, commands.Decide(STANDS, commands.Ramp(500)))
    entry, stored = await commit(store, before, after)

    read = (await store.read(COMPONENT)).rollout
    assert isinstance(read, Rollout)
    assert (read.progress, read.basis_points) == (STANDS, 500)
    assert is_committed(after, read)
    assert store.apply(before, entry) == read == stored


async def test_progress_is_legible_in_redis_and_is_deleted_with_its_next(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"), commands.Decide(STANDS, commands.Ramp(500)))
    key = store.keys.component(COMPONENT).rollout

    shown = await store.client.hmget(key, *NAMES)
    assert shown == ["PLAN", str(NOW + 1), str(NOW + 2), "STUCK", "CHECK_FAILED STUCK", "1"]

    after = await do(store, commands.Finalize(), commands.SetPolicy(automation={"steps": (Step(500),)}))
    assert after.progress == Progress()
    assert await store.client.hmget(key, *NAMES) == [None] * len(NAMES)


async def test_the_history_says_who_drives_and_why_automation_paused(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"), commands.Decide(STANDS, commands.Ramp(500)))

    changes = {change.field: change.after for change in (await store.events(COMPONENT, limit=1))[0].changes}
    assert changes == {"next_percent": "5", "driver": "PLAN", "paused_by": "STUCK", "said": "CHECK_FAILED STUCK"}


async def test_the_actors_of_a_pause_and_a_hold_are_stored_and_may_be_missing(store: RedisStore):
    """A pause and a hold of an earlier rampd still load. Their actor is then unknown."""
    before = await do(store, commands.Release("a"), commands.Release("b"), commands.Pause(Cause.CHECK_BROKEN))
    after = decide(before, commands.Rollback())
    entry, stored = await commit(store, before, after)
    key = store.keys.component(COMPONENT).rollout
    assert await store.client.hmget(key, "pause", "hold", "current_revision") == [
        f'{{"actor":"ada","note":"","create_ms":{NOW},"cause":"CHECK_BROKEN"}}',
        f'{{"actor":"ada","create_ms":{NOW}}}',
        "1",
    ]
    assert (await store.read(COMPONENT)).rollout == store.apply(before, entry) == stored

    await store.client.hdel(key, "pause", "hold", "current_revision")

    read = (await store.read(COMPONENT)).rollout
    assert isinstance(read, Rollout)
    assert (read.paused, read.pause, read.hold, read.current_revision) == (True, None, None, 0)
    assert (await do(store, commands.Abandon())).hold is None
