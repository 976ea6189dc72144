"""A fake replica and a fake source, to test the part that asks checks without a server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from rampd_server.automation import checks as asking
from rampd_server.domain.automation.check_answer import Answer
from rampd_server.domain.rollout.automation_policy import Automation, Check, Step
from rampd_server.domain.rollout.model import Policy, Rollout
from rampd_server.domain.rollout.progress import Driver, Progress
from rampd_server.replica.state import Component
from tests.rollouts import NOW, rolling_out

WITHIN_S = 30


def checked(*checks: Check, component: str = "restyler") -> Rollout:
    """Returns a rollout whose next is B, at 10 % and in its hold, with these checks."""
    policy = Policy(automation=Automation(steps=(Step(500),), checks=checks))
    return replace(rolling_out(), component=component, policy=policy, progress=Progress(Driver.PLAN, NOW, NOW))


class FakeReplica:
    """The part of a replica that the checks use."""

    def __init__(self, *rollouts: Rollout) -> None:
        self._rollouts = list(rollouts)
        self._listeners: list[asking.Checks] = []
        self.age_s = 0.0
        self.loaded = asyncio.Event()
        self.loaded.set()

    @property
    def rollouts(self) -> list[Rollout]:
        return self._rollouts

    @rollouts.setter
    def rollouts(self, rollouts: list[Rollout]) -> None:
        self._rollouts = rollouts
        for listener in self._listeners:
            for _ in listener.reloaded():
                pass

    def subscribe(self, listener: asking.Checks) -> None:
        self._listeners.append(listener)

    def get(self, component: str) -> Component | None:
        return next((known for known in self.components() if known.rollout.component == component), None)

    def components(self) -> list[Component]:
        return [Component(rollout, None, None) for rollout in self.rollouts]


class ScriptedSource:
    """A source that gives a fixed answer and remembers each query."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or Answer(0.5)
        self.asked: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def ask(self, query: str) -> Answer:
        self.asked.append(query)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.goes_on.wait()
            await asyncio.sleep(0.01)
        finally:
            self.under_way -= 1
        return self.answer


@asynccontextmanager
async def running(*all_checks: asking.Checks) -> AsyncIterator[None]:
    """Runs the checks until the block ends."""
    tasks = [asyncio.create_task(checks.run()) for checks in all_checks]
    try:
        yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
