"""The task that moves rollouts without a person: it looks, decides with pure code, and commits.

It runs in every server. There is no leader: two servers that decide the same thing at once compare the state that they
decided on, one of them commits, and the other looks again. A rollout to which nothing happens costs nothing: each server has
in memory when time alone may bring a decision.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import SystemRandom

import structlog

from rampd._decision.resolution import ComponentSnapshot, RolloutState
from rampd._decision.staleness import is_stale
from rampd._evidence.counters import TrialCounters
from rampd_server.automation.release_spans import release_span
from rampd_server.automation.turns import Turns
from rampd_server.domain.automation import clock as clocks
from rampd_server.domain.automation import next_look
from rampd_server.domain.automation.clock import Clock, Deadline, Look
from rampd_server.domain.automation.decision import Action, Decision, Observed, decide
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.errors import RampdError, StoreCorruptError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.progress import Cause
from rampd_server.metrics.counting import ByComponent
from rampd_server.ports import SELF, Author, CheckSource, CountedSource, FeedEntry, OutcomeStore, UntimelyError
from rampd_server.process.long_work import in_pieces
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.tracing import switch

_LOOKERS = 8
_BY_PLAN = "PLAN"
"""The cause of a decision that only follows the plan."""
_SPREAD_S = 0.1
_PACE_S = 0.002
"""The time for each look, where there are many to make at once: so much that calls and watchers do not wait for them."""
_DISTANCE_S = 0.01
"""The time between two looks after changes. A look costs about half as much as a change, so a thousand changes a second of as many
components would not leave the server much time.
"""
_LATEST_S = 5.0
"""How long after a change the look at it comes at the latest."""
_CLOCK_S = 1.0

_ROLLS_BACK = (Cause.CONFIRM, Cause.RELATIVE_GUARD, Cause.ABSOLUTE_GUARD, Cause.CHECK_FAILED)
_ON_REGRESSION = ((Action.ROLLBACK, "false"), (Action.PAUSE, "true"))
_EXPECTED = (
    *((action, _BY_PLAN, "true") for action in (Action.STEP, Action.FINALIZE)),
    *((Action.ROLLBACK, cause, "true") for cause in _ROLLS_BACK),
    *((Action.ROLLBACK, cause, "false") for cause in _ROLLS_BACK if cause is not Cause.CONFIRM),
    *((Action.PAUSE, cause, "true") for cause in Cause if cause is not Cause.CONFIRM),
)
"""The decisions that may come, as `decisions` counts them."""
SUDDEN = (
    *((Action.ROLLBACK, cause, "true") for cause in _ROLLS_BACK),
    *(
        (action, cause, applied)
        for action, applied in _ON_REGRESSION
        for cause in _ROLLS_BACK
        if cause is not Cause.CONFIRM
    ),
)
"""Those of them that may come before a scrape has seen that a rollout is under way."""

_chance = SystemRandom()

log = structlog.get_logger()


class NoChecks:
    """A source without checks: no check ever passes or fails."""

    async def readings(self, _rollout: Rollout) -> Sequence[CheckReading]:
        return ()


class Controller:
    """Looks at every rollout under way: at once when something happened to it, and when time alone may bring a decision."""

    def __init__(
        self,
        service: Service,
        replica: Replica,
        outcomes: OutcomeStore,
        *,
        checks: CheckSource | None = None,
        decisions: ByComponent | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`decisions` counts decisions by what was decided, why, and whether it was carried out."""
        self._service = service
        self._replica = replica
        self._outcomes = outcomes
        self._checks = checks or NoChecks()
        self._monotonic = monotonic
        self._turns: Turns[str] = Turns(rest_s=next_look.REST_S, monotonic=monotonic)
        self._clock: Clock | None = None
        self._look: Look | None = None
        self._changed: set[str] = set()
        """The rollouts that have changed, and at which the look for that is planned."""
        self._spaced_s = -math.inf
        """When the last of these looks is planned."""
        self._failed: set[str] = set()
        """The rollouts at which the last look has failed. What it has decided may lower exposure."""
        self._waiting: set[str] = set()
        """The rollouts that wait, by a look since their last change."""
        self._decisions = decisions
        self.looks: dict[str, Observed] = {}
        """What the last look at each component saw. It stays after the end of the rollout, until the component is gone."""
        self._deadlines: dict[str, Deadline] = {}
        self._moves: dict[str, Look] = {}
        """For each rollout under way: the store's time of its last progress, and the own clock when it was first seen."""
        self._spans = switch.spans()
        self._freeze_all_changed = asyncio.Event()
        replica.subscribe(self)

    def wake(self, component: str) -> None:
        """There are new outcomes, or new readings of checks: looks at once."""
        if self._is_under_way(component):
            self._turns.call(component)

    async def follow(self, news: CountedSource) -> None:
        """Looks, for ever and at once, at the components that have new outcomes or a new answer of a check."""
        while True:
            for component in await news.wait():
                self.wake(component)

    def waits_for(self, component: str) -> str:
        """Says what the rollout waits for now, by what the last look since the last change saw; empty if there was no such look,
        or if it is about to do something.
        """
        if component not in self._waiting:
            return ""
        freeze_all = self._replica.namespace.freeze
        decision = decide(replace(self.looks[component], clock=self._read_clock(), freeze_all=freeze_all))
        return decision.reason if decision.action is Action.WAIT else ""

    async def run(self) -> None:
        """Looks for ever. A look that fails is tried again."""
        await self._replica.loaded.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_clock())
            tasks.create_task(self._watch_freeze_all())
            for _ in range(_LOOKERS):
                tasks.create_task(self._look_in_turn())

    async def _watch_clock(self) -> None:
        """Looks at everything after the store's clock has jumped, because what was planned by it may be wrong."""
        jump_ms: int | None = None
        while True:
            clock = self._read_clock()
            if clock.jump_ms is not None and clock.jump_ms != jump_ms:
                under_way = [
                    each.rollout.component for each in self._replica.components() if _is_rolling_out(each.rollout)
                ]
                async for _ in in_pieces(self._plan_all(under_way)):
                    pass
            jump_ms = clock.jump_ms
            await asyncio.sleep(_CLOCK_S)

    async def _watch_freeze_all(self) -> None:
        """Looks at everything after the namespace's freeze has changed."""
        while True:
            await self._freeze_all_changed.wait()
            self._freeze_all_changed.clear()
            async for _ in in_pieces(self.reloaded()):
                pass

    async def _look_in_turn(self) -> None:
        while True:
            component = await self._turns.take()
            self._changed.discard(component)
            self._failed.discard(component)
            delay_s: float | None = next_look.RETRY_S
            try:
                delay_s = await self.look(component)
            except (RampdError, UntimelyError) as error:
                # Another writer was first, or the store is away. A change by another writer starts the next look by itself, and it may
                # be here already.
                self._failed.add(component)
                if component in self._changed:
                    delay_s = next_look.AFTER_CHANGE_S
                log.debug("controller_waits", component=component, error=str(error))
            except Exception:
                # One component must not stop the others.
                log.exception("controller_failed", component=component)
                delay_s = next_look.AFTER_DEFECT_S
            finally:
                self._turns.done(component)
            if delay_s is not None:
                self._turns.plan(component, delay_s)
            elif not self._is_under_way(component):
                self._forget(component)

    async def look(self, component: str) -> float | None:
        """Looks once: decides, and commits the decision. Returns in how many seconds to look again; None: when called.

        Raises RefusedError if another writer changed the rollout first, UntimelyError if the store did not answer for a
        while or somebody changed its clock, and the errors of the store.
        """
        known = self._replica.get(component)
        if known is None or not self._is_under_way(component):
            return None
        if is_stale(self._replica.age_s):
            return next_look.RETRY_S
        observed = await self._observe(known.rollout)
        if component not in self.looks and self._decisions is not None:
            # Prometheus sees no increase from nothing to one.
            for labels in _EXPECTED:
                self._decisions.add(component, labels, 0)
        self.looks[component] = observed
        decision = decide(observed)
        if decision.action is Action.WAIT:
            self._waiting.add(component)
            return next_look.RETRY_S if observed.counters_problem else _delay_s(observed)
        await self._commit(observed, decision)
        return next_look.RETRY_S

    async def _observe(self, rollout: Rollout) -> Observed:
        counters, problem = await self._read_counters(rollout)
        readings = await self._checks.readings(rollout) if rollout.policy.automation.checks else ()
        clock = self._read_clock()
        return Observed(
            rollout,
            counters,
            clock,
            readings,
            self._replica.namespace.freeze,
            counters_problem=problem,
            confirm_by_ms=self._confirm_by_ms(rollout, clock),
            moved_seen_ms=self._moved_seen_ms(rollout, clock),
        )

    async def _read_counters(self, rollout: Rollout) -> tuple[TrialCounters, str]:
        """Returns the counters of the trial. If they can't be read, those of the last look, and why: a Ramp that nobody confirms goes
        back all the same.
        """
        try:
            return await self._outcomes.counters(rollout.component, rollout.next or 0, rollout.trial), ""
        except (StoreUnavailableError, StoreCorruptError) as error:
            last = self.looks.get(rollout.component)
            if last is None or (last.rollout.next, last.rollout.trial) != (rollout.next, rollout.trial):
                return TrialCounters(), error.message
            return last.counters, error.message

    def _read_clock(self) -> Clock:
        look = self._replica.look
        if self._clock is None or look != self._look:
            clock = clocks.read(self._clock, self._look, look)
            if self._clock is not None and clock.jump_ms != self._clock.jump_ms:
                log.warning("clock_jumped", by_s=round(clock.jumped_by_ms / 1000))
            self._clock, self._look = clock, look
        return replace(self._clock, now_ms=max(self._clock.now_ms, self._replica.now_ms()))

    def _confirm_by_ms(self, rollout: Rollout, clock: Clock) -> int | None:
        deadline = self._deadlines.get(rollout.component)
        if deadline is None or deadline.at_ms != rollout.confirm_deadline_ms:
            return None
        return clock.now_ms + deadline.latest_ms - self._monotonic_ms()

    def _moved_seen_ms(self, rollout: Rollout, clock: Clock) -> int | None:
        seen = self._moves.get(rollout.component)
        if seen is None or seen.store_ms != rollout.progress.moved_ms:
            return None
        return clock.now_ms + seen.monotonic_ms - self._monotonic_ms()

    def _monotonic_ms(self) -> int:
        return round(self._monotonic() * 1000)

    async def _commit(self, observed: Observed, decision: Decision) -> None:
        rollout = observed.rollout
        author = Author(SELF, decision.action.capitalize(), decision.reason, is_claimed=False)
        command = commands.Decide(decision.progress, decision.command)
        about = {"rampd.action": decision.action.value, "rampd.decision": decision.reason}
        if decision.cause is not None:
            about["rampd.cause"] = decision.cause.value
        with release_span(self._spans, f"automation {author.action}", rollout, about):
            await self._service.execute(
                rollout.component,
                command,
                author,
                ground=rollout,
                # A store that did not answer for a while could carry out an outdated decision, and the hold would begin before
                # the step. If its clock was set back an hour, it could get a decision that takes a hold as over.
                decided_ms=observed.clock.now_ms,
            )
            if self._decisions is not None:
                would = decision.would
                labels = (would or decision.action, decision.cause or _BY_PLAN, "false" if would else "true")
                self._decisions.add(rollout.component, labels)
            log.info(
                "automation_decided",
                component=rollout.component,
                action=decision.action,
                cause=decision.cause,
                reason=decision.reason,
            )

    def _is_under_way(self, component: str) -> bool:
        known = self._replica.get(component)
        return known is not None and _is_rolling_out(known.rollout)

    def _forget(self, component: str) -> None:
        if self._replica.get(component) is None:
            self.looks.pop(component, None)
        self._turns.drop(component)
        self._changed.discard(component)
        self._failed.discard(component)
        self._waiting.discard(component)
        self._deadlines.pop(component, None)
        self._moves.pop(component, None)

    def _see_move(self, component: str) -> None:
        """Times the last progress with the own clock from here on, whatever happens to the store's clock."""
        known, seen = self._replica.get(component), self._moves.get(component)
        if known is not None and (seen is None or seen.store_ms != known.rollout.progress.moved_ms):
            self._moves[component] = Look(known.rollout.progress.moved_ms, self._monotonic_ms())

    def _see_deadline(self, component: str) -> None:
        """Times a Ramp that must be confirmed with the own clock from here on, whatever happens to the store's clock."""
        known = self._replica.get(component)
        at_ms = None if known is None else known.rollout.confirm_deadline_ms
        if known is None or at_ms is None:
            self._deadlines.pop(component, None)
        elif component not in self._deadlines or self._deadlines[component].at_ms != at_ms:
            look = Look(self._replica.now_ms(), self._monotonic_ms())
            self._deadlines[component] = clocks.first_seen(at_ms, known.rollout.progress.moved_ms, look)

    # Called by the replica.

    def applied(self, entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """A component or the namespace's freeze changed."""
        if not entry.component:
            self._freeze_all_changed.set()
        elif entry.patch and not entry.is_of_overrides_only and self._notice(entry.component):
            self._plan_after_change(entry.component)

    def reloaded(self) -> Iterator[None]:
        """Anything may have changed."""
        under_way = []
        for known in self._replica.components():
            if self._notice(known.rollout.component):
                under_way.append(known.rollout.component)
            yield
        yield from self._plan_all(under_way)

    def _notice(self, component: str) -> bool:
        """Takes in that a component changed. Returns whether to look at it."""
        if not self._replica.loaded.is_set():
            # The state is from before the start: no decision may depend on it, and the store's time is not known.
            return False
        self._waiting.discard(component)
        self._see_deadline(component)
        self._see_move(component)
        if not self._is_under_way(component):
            self._forget(component)
            return False
        return True

    def _plan_after_change(self, component: str) -> None:
        """Plans a look soon, at a distance from the others, but before the time to confirm a Ramp is over. What may lower exposure at
        once does not wait for the looks at others.
        """
        now_s = self._monotonic()
        if component in self._failed or self._has_other_policy(component):
            self._turns.plan(component, next_look.AFTER_CHANGE_S)
        elif component not in self._changed:
            self._changed.add(component)
            soon_s = now_s + next_look.AFTER_CHANGE_S
            self._spaced_s = min(max(soon_s, self._spaced_s + _DISTANCE_S), now_s + _LATEST_S)
            self._turns.plan(component, self._spaced_s - now_s)
        self._turns.plan(component, next_look.AFTER_CHANGE_S + self._left_s(component))

    def _has_other_policy(self, component: str) -> bool:
        """Whether the policy has changed since the last look: the outcomes so far may be over a limit now."""
        known, last = self._replica.get(component), self.looks.get(component)
        return known is not None and last is not None and last.rollout.policy != known.rollout.policy

    def _plan_all(self, components: Sequence[str]) -> Iterator[None]:
        """Plans a look at each of many rollouts under way: one after the other, but before the time to confirm a Ramp is over."""
        for component in components:
            within_s = min(_chance.uniform(0, len(components) * _PACE_S), self._left_s(component))
            self._turns.plan(component, next_look.AFTER_CHANGE_S + within_s)
            yield

    def _left_s(self, component: str) -> float:
        """Returns how much time is left to confirm the Ramp, by either clock; infinite if no Ramp waits for that."""
        deadline = self._deadlines.get(component)
        if deadline is None:
            return math.inf
        left_ms = min(deadline.at_ms - self._replica.now_ms(), deadline.latest_ms - self._monotonic_ms())
        return max(0, left_ms / 1000)


def _is_rolling_out(rollout: Rollout) -> bool:
    return rollout.state is RolloutState.ROLLING_OUT


def _delay_s(observed: Observed) -> float | None:
    """Returns when time alone may change the decision; None: never. The time is random within a range, so that servers, and the
    rollouts of one server, do not look at the same moment.
    """
    at_ms = next_look.next_change_ms(observed)
    return None if at_ms is None else (at_ms - observed.clock.now_ms) / 1000 + _chance.uniform(0, _SPREAD_S)
