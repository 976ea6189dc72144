"""Counts for the metrics how many outcomes were accepted or ignored: each once, when the store has counted it."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rampd_server.domain.evidence.admission import IgnoredReason, JobOutcome
from rampd_server.metrics.counting import ByComponent, Count, Counts

_CHANNELS: Final = {False: "current", True: "next", None: "none"}


class VerdictCounts:
    """`jobs` and `failures` count accepted outcomes by channel."""

    def __init__(self, jobs: ByComponent, failures: ByComponent) -> None:
        self.accepted = Count()
        self.ignored = Counts()
        """By the reason."""
        for reason in IgnoredReason:
            # Prometheus sees no increase from nothing to one.
            self.ignored.add(reason, number=0)
        self._jobs = jobs
        self._failures = failures

    def decided(self, component: str, outcomes: Sequence[JobOutcome], verdicts: Sequence[IgnoredReason | None]) -> None:
        """Counts outcomes of a component, each with why it is ignored; None: it is accepted."""
        jobs: Counter[bool | None] = Counter()
        failures: Counter[bool | None] = Counter()
        for outcome, verdict in zip(outcomes, verdicts, strict=True):
            if verdict is not None:
                self.ignored.add(verdict)
                continue
            jobs[outcome.is_next] += 1
            failures[outcome.is_next] += outcome.is_failed
        self.accepted.add(jobs.total())
        for is_next, number in jobs.items():
            labels = (_CHANNELS[is_next],)
            self._jobs.add(component, labels, number)
            # Failures have a series from the first job on: Prometheus sees no increase from nothing to one.
            self._failures.add(component, labels, failures[is_next])
