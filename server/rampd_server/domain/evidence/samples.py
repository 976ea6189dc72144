"""How the jobs of both channels went over time: samples of the counters, and the intervals between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rampd._evidence.release_counters import JobCount


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of a component at one moment. The times of samples are multiples of a step. A step in which no outcome was
    counted has no sample.
    """

    time_ms: int
    """By the store's clock."""
    step_ms: int
    """What is counted between this sample and the next one was counted within this time. 0: the sample of the moment of the reading."""
    release: int
    """Next, when the first outcome after this moment was counted. 0: there was no next."""
    trial: int
    current_revision: int
    """The revision at which current became current."""
    current: JobCount
    """The jobs of current, whichever release it was: these counters go on if another release becomes current."""
    next: JobCount
    """The jobs of next, in the same way."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The jobs whose outcomes were counted between two moments."""

    start_ms: int
    end_ms: int
    """After `start_ms`."""
    release: int
    """As in `Sample`: next, when the first outcome of the interval was counted."""
    trial: int
    current_revision: int
    current: JobCount
    next: JobCount


def intervals(samples: Sequence[Sample]) -> list[Interval]:
    """Returns the intervals between samples, which are in the order of their times. There is none where no job was counted."""
    found = []
    for sample, after in pairwise(samples):
        current, following = _since(sample.current, after.current), _since(sample.next, after.next)
        if current.jobs or following.jobs:
            # The last sample may be of the same millisecond.
            length_ms = max(1, min(sample.step_ms, after.time_ms - sample.time_ms))
            found.append(
                Interval(
                    start_ms=sample.time_ms,
                    end_ms=sample.time_ms + length_ms,
                    release=sample.release,
                    trial=sample.trial,
                    current_revision=sample.current_revision,
                    current=current,
                    next=following,
                )
            )
    return found


def _since(before: JobCount, after: JobCount) -> JobCount:
    """Counters that are lower than before have begun again at zero."""
    if after.jobs < before.jobs or after.failures < before.failures:
        return after
    return JobCount(after.jobs - before.jobs, after.failures - before.failures)
