"""Reads the samples of counters. The scripts write each one as a text of eight numbers, separated by spaces.

The numbers are the time, the release of next, the trial, the revision of current, jobs and failures of current, jobs and failures
of next.
"""

import re
from collections.abc import Sequence

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.evidence.samples import Sample
from rampd_server.storage.codec.malformed import MalformedError

_FORM = re.compile(r"[0-9]{1,18}(?: [0-9]{1,18}){7}", re.ASCII)


def read_samples(fine: Sequence[str], coarse: Sequence[str], now: str, *, fine_ms: int, coarse_ms: int) -> list[Sample]:
    """Returns the samples in the order of their times, with coarse ones only from before the first fine one. `fine_ms` and `coarse_ms`
    are their steps. `now` is the sample of now. Raises MalformedError with the name of the key.
    """
    present = _sample("outcomes", now, 0)
    # What is ahead of now is from before the clock was set back.
    samples = [each for each in _samples("fine_samples", fine, fine_ms) if each.time_ms <= present.time_ms]
    samples.append(present)
    older = [each for each in _samples("coarse_samples", coarse, coarse_ms) if each.time_ms < samples[0].time_ms]
    return older + samples


def _samples(section: str, texts: Sequence[str], step_ms: int) -> list[Sample]:
    return [_sample(section, text, step_ms) for text in texts]


def _sample(section: str, text: str, step_ms: int) -> Sample:
    if not _FORM.fullmatch(text):
        raise MalformedError(section, text, "does not have the form of a sample")
    time_ms, release, trial, current_revision, *counts = map(int, text.split())
    return Sample(
        time_ms=time_ms,
        step_ms=step_ms,
        release=release,
        trial=trial,
        current_revision=current_revision,
        current=JobCount(*counts[:2]),
        next=JobCount(*counts[2:]),
    )
