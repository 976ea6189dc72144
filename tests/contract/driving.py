"""Commits as the service makes them: read, run the state machine, commit; and random commands."""

import random
from collections.abc import Callable

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, QueueMode, Rollout, Unit, numbered
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Author, FeedEntry, Namespace, Override, Result
from rampd_server.replica.replica import Replica
from rampd_server.storage.store import RedisStore
from tests.rollouts import NOW
from tests.waiting import PATIENCE_S

COMPONENT = "restyler"
TAGS = [f"t{n}" for n in range(6)]
ADA = Author("ada", "Ramp", "a note", is_claimed=False)


class PatientReplica(Replica):
    """A copy that waits longer than in production for what the store has, because the machine of a test may be busy."""

    async def wait_for(self, component: str, revision: int, *, timeout_s: float = PATIENCE_S) -> bool:
        return await super().wait_for(component, revision, timeout_s=timeout_s)

    async def wait_for_entry(self, entry_id: str, *, timeout_s: float = PATIENCE_S) -> bool:
        return await super().wait_for_entry(entry_id, timeout_s=timeout_s)

    async def wait_for_change(
        self, entry_id: str, component: str = "", revision: int = 0, *, timeout_s: float = PATIENCE_S
    ) -> bool:
        return await super().wait_for_change(entry_id, component, revision, timeout_s=timeout_s)

    async def catch_up(self, *, timeout_s: float = PATIENCE_S, is_exact: bool = False) -> bool:
        return await super().catch_up(timeout_s=timeout_s, is_exact=is_exact)


def decide(before: Rollout | Absent, command: commands.Command, freeze: Freeze | None = None) -> Rollout | Absent:
    """Returns the rollout after a command. The command must change it."""
    outcome = transition(before, command, Context(NOW, "ada", freeze_all=freeze))
    assert outcome.changed, outcome.message
    return outcome.after


async def commit(
    store: RedisStore,
    before: Rollout | Absent,
    after: Rollout | Absent,
    author: Author = ADA,
    namespace: Namespace | None = None,
) -> tuple[FeedEntry, Rollout | Absent]:
    """Returns the entry, and the component as it was committed."""
    return await store.commit(before, after, author, Result(after.revision), namespace or Namespace())


def is_committed(after: Rollout | Absent, stored: Rollout | Absent) -> bool:
    """Whether the component in the store is the decided one, apart from the fields that the store sets."""
    return (
        bool(stored.entry)
        and stored.entry == stored.state_entry
        and numbered(after, after.revision, stored.entry) == stored
    )


async def do(store: RedisStore, *steps: commands.Command, component: str = COMPONENT) -> Rollout:
    """Returns the component after some commands. Each one is read, decided and committed."""
    for step in steps:
        stored = await store.read(component)
        await commit(store, stored.rollout, decide(stored.rollout, step), namespace=stored.namespace)
    after = (await store.read(component)).rollout
    assert isinstance(after, Rollout)
    return after


async def contents(store: RedisStore) -> dict[str, object]:
    """Returns everything in the namespace, for tests that nothing was written."""
    found: dict[str, object] = {}
    async for key in store.client.scan_iter(match=f"{store.keys.prefix}*"):
        match await store.client.type(key):
            case "hash":
                found[key] = await store.client.hgetall(key)
            case "list":
                found[key] = await store.client.lrange(key, 0, -1)
            case "zset":
                found[key] = await store.client.zrange(key, 0, -1, withscores=True)
            case "stream":
                found[key] = await store.client.xrange(key)
            case "string":
                found[key] = await store.client.get(key)
    return found


def random_override(chance: random.Random) -> Override | None:
    kind = chance.randrange(5)
    expire_ms = chance.choice([None, NOW, 4_000_000_000_000])
    return None if not kind else Override(tag="pb/x", expire_ms=expire_ms) if kind < 3 else Override(channel="NEXT")


def random_command(chance: random.Random) -> commands.Command:
    tag, flag = chance.choice(TAGS), chance.random() < 0.5
    makers: list[Callable[[], commands.Command]] = [
        *[lambda: commands.Release(tag, {"k": tag} if flag else {})] * 4,
        lambda: commands.Release(tag, {}, expedite=True, force=flag),
        *[lambda: commands.Ramp(chance.randrange(10_001))] * 3,
        lambda: commands.Rollback(quarantine=flag),
        *[lambda: commands.Finalize(force=True)] * 2,
        lambda: commands.Abandon(quarantine=flag),
        lambda: commands.Revert(quarantine=flag),
        lambda: commands.Pause() if flag else commands.Resume(),
        lambda: commands.Freeze(None) if flag else commands.Unfreeze(),
        lambda: commands.Quarantine(tag) if flag else commands.Unquarantine(tag),
        lambda: commands.SetPolicy({"queue_mode": QueueMode.LATEST if flag else QueueMode.FIFO}),
        lambda: commands.SetPolicy({"unit": Unit.JOB if flag else Unit.REPO}),
        lambda: commands.CancelRelease(chance.randrange(1, 20)),
        commands.DeleteComponent,
    ]
    return chance.choice(makers)()
