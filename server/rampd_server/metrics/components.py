"""The metrics of each component, from the copy in memory."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rampd._decision.resolution import Channel, RolloutState
from rampd._evidence import e_process
from rampd_server.domain.automation import guards
from rampd_server.domain.automation.decision import Observed
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.metrics import families
from rampd_server.metrics.counting import ByComponent
from rampd_server.metrics.families import OTHERS, Family
from rampd_server.metrics.rollout_time import RolloutTime
from rampd_server.metrics.text import line, slot_text
from rampd_server.ports import Namespace

_STATES: Final = tuple(RolloutState)
_CHECK_STATES: Final = ("passing", "failing", "error", "unknown")

Lines = Iterator[tuple[Family, str]]
"""Lines of samples, each with its family."""


@dataclass(frozen=True)
class Sources:
    """What is known of components besides the copy."""

    jobs: ByComponent
    """By channel."""
    job_failures: ByComponent
    """By channel."""
    decisions: ByComponent
    """By decision, cause, and whether it was applied."""
    lost: ByComponent
    """Revisions that the store has lost."""
    time: RolloutTime
    looks: Mapping[str, Observed]
    """What automation saw at its last look at each component."""

    @property
    def counts(self) -> tuple[tuple[Family, ByComponent], ...]:
        """The counters, with their families."""
        return (
            (families.JOBS, self.jobs),
            (families.JOB_FAILURES, self.job_failures),
            (families.ROLLOUT_SECONDS, self.time.seconds),
            (families.DECISIONS, self.decisions),
            (families.WRITES_LOST, self.lost),
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """What was written of a component, and from what. It is written again when one of these changes."""

    rollout: Rollout
    is_frozen: bool
    observed: Observed | None
    texts: tuple[tuple[Family, str], ...]

    def is_of(self, rollout: Rollout, observed: Observed | None, *, is_frozen: bool) -> bool:
        """Whether nothing has changed."""
        return self.rollout is rollout and self.observed is observed and self.is_frozen is is_frozen


class Components:
    """Writes the samples of components. What has not changed since the last scrape is not written again."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._known: dict[str, _Known] = {}

    def lines(self, rollout: Rollout, namespace: Namespace, now_ms: int) -> Lines:
        """The samples of one component."""
        component = rollout.component
        self._sources.time.settle(component, now_ms)
        is_frozen = _is_frozen(rollout, namespace, now_ms)
        observed = self._sources.looks.get(component)
        if observed is not None and not _is_of_present_trial(observed.rollout, rollout):
            observed = None
        known = self._known.get(component)
        if known is None or not known.is_of(rollout, observed, is_frozen=is_frozen):
            texts = (*_standing(rollout, is_frozen=is_frozen), *_evidence(component, observed))
            known = self._known[component] = _Known(rollout, is_frozen, observed, texts)
        yield from known.texts
        yield from self.counted(component)
        if observed is not None and observed.checks:
            yield from _checks(component, observed, now_ms)

    def settle(self, rollout: Rollout, now_ms: int) -> None:
        """Counts the time of a component without series of its own."""
        self._sources.time.settle(rollout.component, now_ms)

    def forget(self, exists: Callable[[str], object]) -> None:
        """Forgets what is kept of components that do not exist any more."""
        for component in [name for name in self._known if not exists(name)]:
            del self._known[component]

    def counted(self, name: str) -> Lines:
        """The counters of a component, or of `_others`. Those stay when there are no such components any more."""
        for family, counts in self._sources.counts:
            slot = counts.of(name)
            if slot is not None:
                yield family, slot_text(family, name, slot)


def _standing(rollout: Rollout, *, is_frozen: bool) -> Lines:
    component = rollout.component
    of = (component,)
    yield families.NEXT_PERCENT, line(families.NEXT_PERCENT, of, rollout.basis_points / 100)
    for state in _STATES:
        yield families.STATE, line(families.STATE, (component, state), int(rollout.state is state))
    for channel, release in ((Channel.CURRENT, rollout.current_release), (Channel.NEXT, rollout.next_release)):
        if release is not None:
            labels = (component, channel.lower(), release.tag, str(release.number))
            yield families.RELEASE_INFO, line(families.RELEASE_INFO, labels, 1)
    for family, value in _numbers(rollout, is_frozen=is_frozen):
        yield family, line(family, of, value)


def _evidence(component: str, observed: Observed | None) -> Lines:
    if observed is None:
        return
    automation = observed.automation
    e = e_process.to_odds(guards.log_evidence(automation, observed.counters))
    yield families.EVIDENCE, line(families.EVIDENCE, (component,), e)
    yield families.EVIDENCE_LIMIT, line(families.EVIDENCE_LIMIT, (component,), 1 / automation.alpha)


def _checks(component: str, observed: Observed, now_ms: int) -> Lines:
    readings = {reading.name: reading for reading in observed.checks}
    for check in observed.automation.checks:
        yield from _check_lines((component, check.name), readings.get(check.name) or CheckReading(check.name), now_ms)


class Others:
    """The components without series of their own, summed."""

    def __init__(self) -> None:
        self._states = dict.fromkeys(_STATES, 0)
        self._sums: dict[Family, int] = {}

    def add(self, rollout: Rollout, namespace: Namespace, now_ms: int) -> None:
        """Adds one component."""
        self._states[rollout.state] += 1
        for family, value in _numbers(rollout, is_frozen=_is_frozen(rollout, namespace, now_ms)):
            self._sums[family] = self._sums.get(family, 0) + value

    def lines(self) -> Lines:
        """The samples; none without a component."""
        if not self._sums:
            return
        for state, number in self._states.items():
            yield families.STATE, line(families.STATE, (OTHERS, state), number)
        for family, value in self._sums.items():
            yield family, line(family, (OTHERS,), value)


def _is_frozen(rollout: Rollout, namespace: Namespace, now_ms: int) -> bool:
    return bool(freezes(rollout, Context(now_ms, freeze_all=namespace.freeze)))


def _numbers(rollout: Rollout, *, is_frozen: bool) -> Iterator[tuple[Family, int]]:
    """What can be summed over components."""
    yield families.QUEUE_LENGTH, len(rollout.queue)
    yield families.PAUSED, int(rollout.paused)
    yield families.FROZEN, int(is_frozen)
    yield families.HELD, int(bool(rollout.held_reason))


def _check_lines(labels: tuple[str, str], reading: CheckReading, now_ms: int) -> Lines:
    if reading.value is not None:
        yield families.CHECK_VALUE, line(families.CHECK_VALUE, labels, reading.value)
    present = _state_of(reading)
    for state in _CHECK_STATES:
        yield families.CHECK_STATE, line(families.CHECK_STATE, (*labels, state), int(state == present))
    if reading.asked_ms is not None:
        age_s = max(0, now_ms - reading.asked_ms) / 1000
        yield families.CHECK_AGE, line(families.CHECK_AGE, labels, age_s)


def _state_of(reading: CheckReading) -> str:
    if reading.error:
        return "error"
    if reading.failures:
        return "failing"
    return "unknown" if reading.value is None or math.isnan(reading.value) else "passing"


def _is_of_present_trial(before: Rollout, now: Rollout) -> bool:
    """Whether the result of a look still counts: it was about the same next, in the same trial."""
    return now.next is not None and (before.next, before.trial) == (now.next, now.trial)
