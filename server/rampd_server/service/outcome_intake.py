"""Takes in outcomes, without gRPC and Redis: decides on each outcome, has each component's share counted, answers."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rampd._decision.staleness import CATCH_UP_S
from rampd._evidence.release_counters import JobCount
from rampd_server.domain.errors import NoSnapshotError
from rampd_server.domain.evidence.admission import Admission, Counted, IgnoredReason, JobOutcome
from rampd_server.domain.refusals import contention
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import ConflictError, OutcomeBatch, OutcomeStore, Receipt
from rampd_server.replica.replica import Replica
from rampd_server.service.announced import Announced
from rampd_server.service.marking import Marking
from rampd_server.service.verdict_counts import VerdictCounts

_ATTEMPTS = 5
_CHUNK = 100
"""The number of outcomes that are decided before other tasks get their turn."""

_EXCHANGE = 32
"""The number of components that are counted in one exchange with the store. Other tasks get their turn in between."""
_MAX_UNFINISHED = 1_000

_ACCEPTED = "."
_CODES: Final = {reason: chr(ord("a") + place) for place, reason in enumerate(IgnoredReason)}
_REASONS: Final = {code: reason for reason, code in _CODES.items()}
_RUN = re.compile(r"(\d*)([.a-z])")
_ALL_IGNORED = {Receipt.REUSED: IgnoredReason.SEQUENCE_REUSED, Receipt.TOO_OLD: IgnoredReason.SEQUENCE_TOO_OLD}


@dataclass(frozen=True, slots=True)
class Report:
    """One call of ReportOutcomes."""

    client_id: str
    sequence: int
    digest: str
    """The digest of the whole report, hexadecimal."""
    reporter: str
    """The identity that the credentials prove."""
    outcomes: Sequence[JobOutcome]


Verdict = IgnoredReason | None
"""Why an outcome is ignored; None if it is accepted."""


_Key = tuple[str, str, int, str]


def _key(report: Report) -> _Key:
    return report.reporter, report.client_id, report.sequence, report.digest


class Outcomes:
    """Takes in reports. `counted` announces every component whose outcomes were counted, or may have been."""

    def __init__(
        self,
        store: OutcomeStore,
        replica: Replica,
        counts: VerdictCounts | None = None,
        note_seen: Callable[[str, str], None] | None = None,
        *,
        marking: Marking | None = None,
    ) -> None:
        """`note_seen` is told the component and the repo of each accepted outcome. `marking` tells the other servers of what is
        counted.
        """
        self._store = store
        self._replica = replica
        self._note_seen = note_seen
        self._counts = counts
        self._marking = marking
        self.counted = Announced()
        self._unfinished: dict[tuple[str, _Key], dict[str, str]] = {}
        """For the last reports that failed midway, by epoch and report: the answers of the components that are stored.
        """

    async def report(self, report: Report, sees: Callable[[str], bool] = lambda _component: True) -> list[Verdict]:
        """Returns a verdict for each outcome, after all counts are stored. `sees` says whether a component exists for the
        reporter.

        Counts that were stored before an error stay. A repeat of the report then counts only the missing ones. Raises
        NoSnapshotError, StoreUnavailableError, StoreResetError, StoreCorruptError; CONTENTION.
        """
        await self._replica.require_state()
        places = _by_component(report.outcomes)
        hidden = {component for component in places if not sees(component)}
        # To catch up takes time, and fails without a store: neither must depend on what the reporter does not see.
        await self._catch_up_with(each for each in report.outcomes if each.component not in hidden)
        key = self._replica.epoch, _key(report)
        stored = self._unfinished.pop(key, {})
        for component in hidden:
            stored[component] = self._ignore(IgnoredReason.COMPONENT_NOT_FOUND, len(places[component]))
        try:
            missing = [component for component in places if component not in stored]
            for first in range(0, len(missing), _EXCHANGE):
                await self._take_in(missing[first : first + _EXCHANGE], report, places, stored)
        except BaseException:
            # The call may have run out of time. Without this, a repeat would count everything again, and run out, too.
            self._remember(key, stored)
            raise
        verdicts: list[Verdict] = [None] * len(report.outcomes)
        for component, found in stored.items():
            for place, verdict in zip(places[component], read_answer(found), strict=True):
                verdicts[place] = verdict
        return verdicts

    def _remember(self, key: tuple[str, _Key], stored: dict[str, str]) -> None:
        if stored:
            self._unfinished[key] = stored
            while len(self._unfinished) > _MAX_UNFINISHED:
                del self._unfinished[next(iter(self._unfinished))]

    async def _take_in(
        self, components: Sequence[str], report: Report, places: Mapping[str, Sequence[int]], stored: dict[str, str]
    ) -> None:
        """Stores the shares of several components, and puts the answer of each into `stored`."""
        # An outcome of a history that the store has lost counts for nothing, and ends no trial.
        await self._replica.require_history(components)
        shares = {component: [report.outcomes[place] for place in places[component]] for component in components}
        batches = []
        for component, outcomes in shares.items():
            known = self._replica.get(component)
            if known is not None:
                batches.append(await _decide(known.rollout, report, outcomes))
        async with self._counting(batches):
            found = await self._store.count_many(batches) if batches else ()
        for batch, received in zip(batches, found, strict=True):
            if received is not None:
                stored[batch.component] = self._answer(batch, *received, shares[batch.component])
        for component, outcomes in shares.items():
            if component not in stored:
                stored[component] = await self._take_in_one(component, report, outcomes)

    async def _take_in_one(self, component: str, report: Report, outcomes: Sequence[JobOutcome]) -> str:
        for _ in range(_ATTEMPTS):
            known = self._replica.get(component)
            if known is None:
                return self._ignore(IgnoredReason.COMPONENT_NOT_FOUND, len(outcomes))
            batch = await _decide(known.rollout, report, outcomes)
            try:
                async with self._counting([batch]):
                    found = await self._store.count_outcomes(batch)
                return self._answer(batch, *found, outcomes)
            except ConflictError:
                # Another server knows a later trial, so the decision of this server is out of date.
                await self._catch_up()
        raise contention(f"The trials of {component} change too fast. Send the batch again.")

    @asynccontextmanager
    async def _counting(self, batches: Sequence[OutcomeBatch]) -> AsyncGenerator[None]:
        """Counts batches in its block. They are marked before. They are announced after, also where the block fails: the store may
        have counted them, and a repeat of what another server counted may be all that is left of that server.
        """
        components = [batch.component for batch in batches if batch.outcomes]
        if self._marking is not None:
            await self._marking.before_counting(components)
        # The trials of an old state must not be counted under the epoch of another one.
        self._replica.require_writable()
        try:
            yield
        finally:
            for component in components:
                self.counted.announce(component)

    def _answer(self, batch: OutcomeBatch, receipt: Receipt, answer: str, outcomes: Sequence[JobOutcome]) -> str:
        if receipt is Receipt.COUNTED:
            verdicts = read_answer(answer)
            for outcome, verdict in zip(outcomes, verdicts, strict=True):
                if verdict is None and self._note_seen is not None:
                    self._note_seen(batch.component, outcome.repo)
            if self._counts is not None:
                self._counts.decided(batch.component, outcomes, verdicts)
        if receipt in _ALL_IGNORED:
            return self._ignore(_ALL_IGNORED[receipt], len(outcomes))
        return answer

    def _ignore(self, reason: IgnoredReason, number: int) -> str:
        if self._counts is not None:
            self._counts.ignored.add(reason, number=number)
        return write_answer([reason] * number)

    async def _catch_up_with(self, outcomes: Iterable[JobOutcome]) -> None:
        """Catches up with the store if a job was resolved on a revision or a component that this server does not know
        yet.
        """
        newest: dict[str, int] = {}
        for outcome in outcomes:
            newest[outcome.component] = max(newest.get(outcome.component, 0), outcome.revision)
        for component, revision in newest.items():
            known = self._replica.get(component)
            if known is None or revision > known.rollout.revision:
                await self._catch_up()
                return

    async def _catch_up(self) -> None:
        if not await self._replica.catch_up(timeout_s=CATCH_UP_S):
            raise NoSnapshotError(
                f"This server is behind the store, and did not catch up in {CATCH_UP_S:g} s. Send the batch again: each "
                "outcome is counted only once."
            )


async def _decide(rollout: Rollout, report: Report, outcomes: Sequence[JobOutcome]) -> OutcomeBatch:
    admission = Admission(rollout)
    verdicts: list[Verdict] = []
    counted: list[Counted] = []
    accepted: list[JobOutcome] = []
    for first in range(0, len(outcomes), _CHUNK):
        for outcome in outcomes[first : first + _CHUNK]:
            found = admission.admit(outcome)
            if isinstance(found, Counted):
                counted.append(found)
                found = None
            verdicts.append(found)
            if found is None:
                accepted.append(outcome)
        await asyncio.sleep(0)
    return OutcomeBatch(
        component=rollout.component,
        trial=admission.trial,
        client_id=report.client_id,
        sequence=report.sequence,
        digest=report.digest,
        reporter=report.reporter,
        answer=write_answer(verdicts),
        outcomes=counted,
        mismatches=verdicts.count(IgnoredReason.ASSIGNMENT_MISMATCH),
        maturation_ms=rollout.policy.automation.maturation_ms,
        by_release=_by_release(rollout, accepted),
        current_revision=rollout.current_revision,
        current=_count(each for each in accepted if _ran_current(rollout, each)),
        next_repos={each.repo for each in accepted if each.release == rollout.next},
    )


def _by_release(rollout: Rollout, accepted: Sequence[JobOutcome]) -> dict[int, JobCount]:
    """Counts the outcomes of each known release. A tag that was never released has no release."""
    by_number: dict[int, list[JobOutcome]] = {}
    for outcome in accepted:
        if outcome.release in rollout.releases:
            by_number.setdefault(outcome.release, []).append(outcome)
    return {number: _count(outcomes) for number, outcomes in by_number.items()}


def _ran_current(rollout: Rollout, outcome: JobOutcome) -> bool:
    """Whether the job was resolved to current since it became current."""
    return outcome.release == rollout.current and outcome.revision >= rollout.current_revision


def _count(outcomes: Iterable[JobOutcome]) -> JobCount:
    failed = [outcome.is_failed for outcome in outcomes]
    return JobCount(len(failed), sum(failed))


def write_answer(verdicts: Sequence[Verdict]) -> str:
    """Writes verdicts as a short text for a repeat: `1000.` for a thousand accepted outcomes."""
    codes = (_ACCEPTED if verdict is None else _CODES[verdict] for verdict in verdicts)
    runs = ((code, sum(1 for _ in run)) for code, run in groupby(codes))
    return "".join(f"{length}{code}" if length > 1 else code for code, length in runs)


def read_answer(text: str) -> list[Verdict]:
    """Reads the verdicts that `write_answer` wrote."""
    return [verdict for length, code in _RUN.findall(text) for verdict in [_REASONS.get(code)] * int(length or 1)]


def _by_component(outcomes: Sequence[JobOutcome]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, outcome in enumerate(outcomes):
        places.setdefault(outcome.component, []).append(place)
    return places
