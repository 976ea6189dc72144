"""Asks the checks of every rollout under way, and keeps their results."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from random import SystemRandom
from typing import NamedTuple, Protocol

import structlog

from rampd._contract.placeholders import QueryError
from rampd._decision.staleness import is_stale
from rampd_server.automation.release_spans import release_span
from rampd_server.domain.automation.check_answer import Answer, Judgement, error
from rampd_server.domain.automation.check_counts import CheckCounts, count, is_asked, query_of, reading, scope_of
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.errors import RampdError
from rampd_server.domain.rollout.automation_policy import Check
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import CheckStore
from rampd_server.replica.replica import Replica
from rampd_server.tracing import switch

MAX_ASKING = 16
"""The most questions that one server asks at once. A source that hangs delays only other checks."""

_LOOK_S = 0.5
_RETRY_S = 1.0
_SPREAD_S = 1.0
_LEASE_MARGIN_S = 5.0
_NO_SOURCE = "this server has no --prometheus-url (RAMPD_PROMETHEUS_URL)"

_chance = SystemRandom()

log = structlog.get_logger()


class Source(Protocol):
    """The source that the checks ask."""

    async def ask(self, query: str) -> Answer:
        """Returns the answer to a query now; without a value if something is wrong with the source."""

    async def judge(self, query: str, *, timeout_s: float | None = None) -> Judgement:
        """Returns whether the source accepts a query; with a `doubt` if it does not say so within its own time-out or `timeout_s`."""


class NoSource:
    """The source if no Prometheus is configured: every check is an error that says what to type."""

    async def ask(self, _query: str) -> Answer:
        return error(_NO_SOURCE)

    async def judge(self, _query: str, *, timeout_s: float | None = None) -> Judgement:  # noqa: ARG002 - as a Source has it
        return Judgement(doubt=_NO_SOURCE)


class _Question(NamedTuple):
    rollout: Rollout
    check: Check

    @property
    def key(self) -> tuple[str, str]:
        return self.rollout.component, self.check.name

    @property
    def mark(self) -> object:
        """Identifies what is asked. Another next, trial or question, or a Resume, gives another mark."""
        return self.rollout.next, self.rollout.trial, self.rollout.progress.resumed_ms, self.check


class _Plan(NamedTuple):
    mark: object
    due_s: float


class Checks:
    """Asks the checks. It runs in every server; each time, a lease in the store decides which server asks a check.

    `timeout_s` is the longest time that the source takes.
    """

    def __init__(
        self,
        store: CheckStore,
        replica: Replica,
        source: Source,
        *,
        timeout_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._replica = replica
        self._source = source
        self._lease_ms = round((timeout_s + _LEASE_MARGIN_S) * 1000)
        self._monotonic = monotonic
        self._plans: dict[tuple[str, str], _Plan] = {}
        self._asking: set[tuple[str, str]] = set()
        self._spans = switch.spans()

    async def readings(self, rollout: Rollout) -> Sequence[CheckReading]:
        """Returns what is known of the checks of a rollout's policy, for its present next. Does not wait for a source.

        Raises StoreUnavailableError, StoreCorruptError.
        """
        checks = rollout.policy.automation.checks
        counts = await self._store.counts(rollout.component) if checks else {}
        return [reading(check, rollout, counts.get(check.name)) for check in checks]

    async def run(self) -> None:
        """Asks for ever. A question that fails is asked again."""
        await self._replica.loaded.wait()
        async with asyncio.TaskGroup() as tasks:
            while True:
                if not is_stale(self._replica.age_s):
                    for question in await self._due():
                        self._asking.add(question.key)
                        tasks.create_task(self._ask(question))
                await asyncio.sleep(_LOOK_S)

    async def _due(self) -> list[_Question]:
        """Returns the questions to ask now, the longest due first, as many as there is room for."""
        now_s = self._monotonic()
        seen: set[tuple[str, str]] = set()
        due: list[tuple[float, _Question]] = []
        for rollout in self._asked_rollouts():
            for check in rollout.policy.automation.checks:
                question = _Question(rollout, check)
                seen.add(question.key)
                due_s = self._due_s(question)
                if due_s <= now_s and question.key not in self._asking:
                    due.append((due_s, question))
            # With a thousand rollouts of twenty checks each, Resolve must not wait until the whole loop is done.
            await asyncio.sleep(0)
        for key in self._plans.keys() - seen:
            del self._plans[key]
        due.sort(key=lambda one: one[0])
        return [question for _, question in due[: max(0, MAX_ASKING - len(self._asking))]]

    def _asked_rollouts(self) -> Iterator[Rollout]:
        for known in self._replica.components():
            if known.rollout.policy.automation.checks and is_asked(known.rollout):
                yield known.rollout

    def _due_s(self, question: _Question) -> float:
        plan = self._plans.get(question.key)
        if plan is None or plan.mark != question.mark:
            # Not at once, so that servers don't ask at the same moment.
            plan = _Plan(question.mark, self._monotonic() + _chance.uniform(0, _SPREAD_S))
            self._plans[question.key] = plan
        return plan.due_s

    async def _ask(self, question: _Question) -> None:
        key, interval_ms = question.key, question.check.interval_ms
        began_s = self._monotonic()
        wait_s = _RETRY_S
        try:
            wait_s = await self._ask_if_leased(question)
        except RampdError as exc:
            log.debug("check_waits", component=key[0], check=key[1], error=exc.message)
        except Exception:
            # One check must not stop the others.
            log.exception("check_broke", component=key[0], check=key[1])
        finally:
            self._asking.discard(key)
            plan = self._plans.get(key)
            if plan is not None and plan.mark == question.mark:
                spread_s = _chance.uniform(0, min(_SPREAD_S, interval_ms / 10_000))
                self._plans[key] = _Plan(plan.mark, began_s + wait_s + spread_s)

    async def _ask_if_leased(self, question: _Question) -> float:
        """Returns in how many seconds, from the start of this call, to look at the check again."""
        rollout, check = question
        turn = await self._store.lease(
            rollout.component,
            check.name,
            scope_of(check, rollout),
            lease_ms=self._lease_ms,
            interval_ms=check.interval_ms,
        )
        if isinstance(turn, int):
            return turn / 1000
        with release_span(self._spans, "automation Check", rollout, {"rampd.check": check.name}):
            answer = await self._answer(rollout, check)
            counts = count(turn.before, answer, check, rollout)
            names = [each.name for each in rollout.policy.automation.checks]
            if await self._store.record(turn, counts, checks=names):
                _tell(rollout, check, turn.before, counts)
            else:
                log.warning("check_came_late", component=rollout.component, check=check.name)
        return check.interval_ms / 1000

    async def _answer(self, rollout: Rollout, check: Check) -> Answer:
        try:
            query = query_of(check, rollout)
        except QueryError as wrong:
            return error(f"the query is not sent: it {wrong}. Set the policy's checks again")
        return await self._source.ask(query)


def _tell(rollout: Rollout, check: Check, before: CheckCounts | None, after: CheckCounts) -> None:
    """Logs only changes: the first error or failure in a row, and the end of the row."""
    if before is not None and (bool(before.errors), bool(before.failures)) == (
        bool(after.errors),
        bool(after.failures),
    ):
        return
    log.info("check_answered", component=rollout.component, check=check.name, value=after.value, error=after.error)
