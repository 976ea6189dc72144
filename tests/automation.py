"""Servers without gRPC that share one store. A test sets the store's clock and the counters."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rampd._evidence.counters import Split, Tally, TrialCounters
from rampd_server.automation.controller import Controller
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import Author, Event, Head, Stored, UntimelyError
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage.link import Link
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.in_background import in_background
from tests.rollouts import NOW
from tests.stores import StoreServer

C = "restyler"
# At 5 %, 8 of the 10 failed repos ran next: E is far over 100.
BAD = TrialCounters({500: Tally(Split(950, 50), Split(2, 9), Split(475, 25), Split(1, 5), Split(2, 8))}, reporters=1)
# At 5 %, next has 5 % of the jobs and 5 % of the failures.
GOOD = TrialCounters(
    {500: Tally(Split(9500, 500), Split(95, 5), Split(950, 50), Split(9, 1), Split(19, 1))}, reporters=1
)


@dataclass
class World:
    """What all servers share: the store's clock, the counters, and the readings of checks."""

    store_ms: int = NOW
    monotonic_s: float = 1_000.0
    counters: dict[tuple[str, int, int], TrialCounters] = field(default_factory=dict)
    readings: Sequence[CheckReading] = ()
    reads: int = 0

    def pass_ms(self, milliseconds: int) -> None:
        self.store_ms += milliseconds
        self.monotonic_s += milliseconds / 1000


class ScriptedStore(RedisStore):
    """A store that takes its time from the world."""

    world: World

    async def head(self) -> Head | None:
        head = await super().head()
        return replace(head, time_ms=self.world.store_ms) if head else None

    async def read(self, component: str) -> Stored:
        return replace(await super().read(component), time_ms=self.world.store_ms)

    async def commit(self, *arguments: Any, decided_ms: int | None = None, **flags: bool) -> Any:
        self._require_timely(decided_ms)
        return await super().commit(*arguments, **flags)

    async def commit_namespace(self, *arguments: Any, decided_ms: int | None = None) -> Any:
        self._require_timely(decided_ms)
        return await super().commit_namespace(*arguments)

    def _require_timely(self, decided_ms: int | None) -> None:
        if decided_ms is not None and abs(self.world.store_ms - decided_ms) > 1_000:
            raise UntimelyError("late")


class ScriptedOutcomes(RedisOutcomes):
    """Outcomes that take their counters from the world."""

    def __init__(self, link: Link, world: World) -> None:
        super().__init__(link)
        self._world = world

    async def counters(self, component: str, release: int, trial: int) -> TrialCounters:
        self._world.reads += 1
        return self._world.counters.get((component, release, trial), TrialCounters())


class ServerWithoutPort:
    """A replica, a service, and a controller that looks only when a test calls `look`."""

    def __init__(self, store: ScriptedStore, world: World) -> None:
        self.world = world
        self.store = store
        self.outcomes = ScriptedOutcomes(store.link, world)
        self.replica = Replica(store, monotonic=lambda: world.monotonic_s)
        self.service = Service(store, self.replica)
        self.controller = Controller(
            self.service, self.replica, self.outcomes, checks=self, monotonic=lambda: world.monotonic_s
        )

    async def readings(self, rollout: Rollout) -> Sequence[CheckReading]:
        return self.world.readings

    async def do(self, *steps: commands.Command, component: str = C, actor: str = "ada", note: str = "") -> None:
        for step in steps:
            author = Author(actor, type(step).__name__, note)
            await self.service.execute(component, step, author)

    async def refresh(self) -> None:
        """Confirms the state with the store, as a running replica does each second."""
        await self.replica._check_head()

    async def look(self, component: str = C) -> float | None:
        await self.refresh()
        return await self.controller.look(component)

    def rollout(self, component: str = C) -> Rollout:
        known = self.replica.get(component)
        assert known is not None
        return known.rollout

    async def history(self, component: str = C) -> list[Event]:
        """Returns all events, oldest first."""
        return list(reversed(await self.store.events(component, limit=1000)))


@contextlib.asynccontextmanager
async def servers(
    server: StoreServer, namespace: str, world: World, count: int = 1
) -> AsyncIterator[list[ServerWithoutPort]]:
    """Starts servers on one namespace. Each server has its own connections."""
    made = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            store = ScriptedStore(server.link(namespace))
            store.world = world
            stack.push_async_callback(store.close)
            if not made:
                await store.begin_epoch(adopted=False)
            each = ServerWithoutPort(store, world)
            await stack.enter_async_context(in_background(each.replica.run()))
            await each.replica.loaded.wait()
            made.append(each)
        yield made
