"""Reads the samples of counters. The scripts write each one as a text of seven numbers, separated by spaces.

The numbers are the release of next, the trial, the revision of current, jobs and failures of current, jobs and failures of next.
"""

import re
from collections.abc import Sequence

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.evidence.samples import Sample
from rampd_server.storage.codec.malformed import MalformedError

_FORM = re.compile(r"[0-9]{1,18}(?: [0-9]{1,18}){6}", re.ASCII)

Entry = tuple[str, Sequence[str]]
"""An entry of a stream as XRANGE returns it: its id, and names and values in turn."""


def read_samples(section: str, entries: Sequence[Entry], step_ms: int) -> list[Sample]:
    """Reads the samples of one step. `section` is the key that has them. Raises MalformedError with the id of the entry."""
    return [read_sample(section, entry_id, _counts(fields), step_ms) for entry_id, fields in entries]


def _counts(fields: Sequence[str]) -> str:
    return dict(zip(fields[::2], fields[1::2], strict=True)).get("counts", "")


def read_sample(section: str, entry_id: str, text: str, step_ms: int) -> Sample:
    """Reads a sample. The first part of the id, or the whole id, is the time. Raises MalformedError."""
    if not _FORM.fullmatch(text):
        raise MalformedError(section, entry_id, f"{text!r} does not have the form of a sample")
    release, trial, current_revision, *counts = map(int, text.split())
    return Sample(
        time_ms=int(entry_id.partition("-")[0]),
        step_ms=step_ms,
        release=release,
        trial=trial,
        current_revision=current_revision,
        current=JobCount(*counts[:2]),
        next=JobCount(*counts[2:]),
    )
