"""One random sequence of calls has the same result on all three stores."""

import random
import uuid
from dataclasses import replace

import pytest

from rampd_server.domain.errors import InvalidRequestError, RefusedError
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Author, ConflictError, ListedOverride, Namespace, Override, ReplayedError, Result
from rampd_server.storage.store import RedisStore
from tests.contract.driving import random_command, random_override
from tests.replay import fields_in_words, replay
from tests.rollouts import NOW
from tests.stores import FAKEREDIS, REDIS, VALKEY, StoreServer

COMPONENTS = ("restyler", "hlint")
REPOS = [f"{owner}/{repo}" for owner in ("acme", "beta") for repo in ("*", "a", "b", "c", "a/*")]
STEPS = 120


@pytest.mark.parametrize("seed", range(6))
async def test_the_three_stores_agree(
    seed: int, fakeredis_server: StoreServer, valkey_server: StoreServer, redis_server: StoreServer
):
    outcomes = {}
    for server in (fakeredis_server, valkey_server, redis_server):
        store = server.store(f"t{uuid.uuid4().hex[:12]}", max_feed_entries=40)
        store.set_epoch(await store.begin_epoch(adopted=False))
        outcomes[server.kind] = await _Script(store, random.Random(seed)).run()
        await store.close()

    assert outcomes[VALKEY] == outcomes[FAKEREDIS]
    assert outcomes[REDIS] == outcomes[FAKEREDIS]


class _Script:
    """Calls that depend on the seed only; their answers and the final state, without ids and times of the store."""

    def __init__(self, store: RedisStore, chance: random.Random) -> None:
        self._store = store
        self._chance = chance
        self._outcomes: list[object] = []
        self._stale: Rollout | Absent = Absent(COMPONENTS[0])

    async def run(self) -> list[object]:
        calls = (
            [self._command] * 6 + [self._overrides] * 4 + [self._freeze, self._sweep, self._stale_commit, self._pages]
        )
        for step in range(STEPS):
            try:
                self._outcomes.append(await self._chance.choice(calls)(f"id-{step // 2}"))
            except (RefusedError, InvalidRequestError) as refused:
                self._outcomes.append((refused.reason, dict(refused.metadata)))
            except ReplayedError as replayed:
                self._outcomes.append(replayed.result)
            except ConflictError:
                self._outcomes.append("conflict")
        for component in COMPONENTS:
            await self._final_state(component)
        return self._outcomes

    async def _command(self, request_id: str) -> object:
        stored = await self._store.read(self._chance.choice(COMPONENTS))
        if self._chance.random() < 0.1:
            self._stale = stored.rollout
        context = Context(NOW, "ada", "a note", freeze_all=stored.namespace.freeze)
        outcome = transition(stored.rollout, random_command(self._chance), context)
        if not outcome.changed:
            return outcome.message
        result = Result(outcome.after.revision, outcome.disposition or "", outcome.release, outcome.queue_position)
        author = self._author(request_id)
        entry, after = await self._store.commit(stored.rollout, outcome.after, author, result, stored.namespace)
        return entry.patch, (await self._store.read(stored.rollout.component)).rollout == after

    async def _overrides(self, request_id: str) -> object:
        component = self._chance.choice(COMPONENTS)
        repos = self._chance.sample(REPOS, self._chance.choice([1, 1, 3]))
        expected = (await self._store.read(component)).rollout.revision if self._chance.random() < 0.3 else None
        entry, result = await self._store.commit_overrides(
            component,
            {repo: random_override(self._chance) for repo in repos},
            self._author(request_id),
            expected_revision=expected,
            must_exist=len(repos) == 1 and self._chance.random() < 0.5,
        )
        return result, entry and (entry.overrides_set, entry.overrides_deleted, entry.revision)

    async def _freeze(self, request_id: str) -> object:
        head = await self._store.head()
        assert head is not None
        after = Namespace(None if head.namespace.freeze else Freeze("ada", "", NOW))
        return (await self._store.commit_namespace(head.namespace, after, self._author(request_id))).namespace

    async def _sweep(self, _request_id: str) -> object:
        return await self._store.sweep_overrides(self._chance.choice(COMPONENTS), limit=2)

    async def _stale_commit(self, request_id: str) -> object:
        after = Absent(self._stale.component, self._stale.revision + 1, self._stale.last_number)
        await self._store.commit(self._stale, after, self._author(request_id), Result(after.revision), Namespace())
        return "done"

    async def _pages(self, _request_id: str) -> object:
        component, prefix = self._chance.choice(COMPONENTS), self._chance.choice(["", "acme/", "b"])
        after, limit = self._chance.choice(["", *REPOS]), self._chance.randrange(1, 4)
        return (
            _without_times(await self._store.list_overrides(component, prefix=prefix, after=after, limit=limit)),
            await self._store.components(limit=5),
        )

    async def _final_state(self, component: str) -> None:
        rollout = (await self._store.read(component)).rollout
        events = await self._store.events(component, limit=10_000)
        assert replay(reversed(events)) == fields_in_words(rollout)
        walked: dict[str, Override] = {}
        async for piece in self._store.walk_overrides(component):
            walked |= piece.overrides
        self._outcomes += [
            replace(rollout, entry="", state_entry="", **({"update_ms": 0} if isinstance(rollout, Rollout) else {})),
            [replace(event, id="", time_ms=0) for event in events],
            walked,
            _without_times(await self._store.list_overrides(component, prefix="", after="", limit=100)),
            [
                (entry.component, entry.revision, entry.overrides_set, entry.overrides_deleted, entry.namespace)
                for entry in await self._store.feed("0-0", block_ms=0)
            ],
            {name for name, _ in await self._store.deleted_components()},
        ]

    def _author(self, request_id: str) -> Author:
        # Two steps in a row share an id. The second one is a replay with the same digest, and a reuse with another digest.
        is_own = self._chance.random() < 0.3
        digest = self._chance.choice(["d1", "d2"])
        return Author("ada", "Test", "a note", request_id=request_id if is_own else "", digest=digest)


def _without_times(page: list[ListedOverride]) -> list[ListedOverride]:
    return [listed._replace(origin=listed.origin and replace(listed.origin, time_ms=0)) for listed in page]
