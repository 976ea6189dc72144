"""Samples of what a process holds over time, and the rules that say whether it leaks."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

MAX_SLOPE = 1.0
"""The growth of the memory that counts as a leak, in MiB in 10 minutes."""
SETTLED_S = 180.0
"""Memory is judged from this time on, when caches are full."""
SETTLED_SAMPLES = 24
MAX_POOL = 16
"""The most threads in gRPC's pool at the end. The pool grows with the work that comes at once, and a thread ends after 20 s
without work. So the number depends on the moment, and comparing it with the start makes no sense.
"""
_POOL = "event_engine"


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at_s: float
    rss_mib: float
    anonymous_mib: float
    """The part of `rss_mib` that does not come from files: heap and stacks."""
    descriptors: int
    threads: int
    """All threads except gRPC's pool."""
    pool: int


def take(process_id: int, at_s: float) -> Sample:
    """Takes a sample of a running process. Raises OSError if the process has ended."""
    process = Path(f"/proc/{process_id}")
    names = _thread_names(process)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Sample(
        at_s,
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        anonymous_mib=int(status["RssAnon"].split()[0]) / 1024,
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        threads=len(names) - names.count(_POOL),
        pool=names.count(_POOL),
    )


def _thread_names(process: Path) -> list[str]:
    names = []
    for task in (process / "task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            names.append((task / "comm").read_text().strip())
    return names


def least(samples: Sequence[Sample]) -> Sample:
    """Returns the least value of each field."""
    return Sample(
        samples[-1].at_s,
        min(sample.rss_mib for sample in samples),
        min(sample.anonymous_mib for sample in samples),
        min(sample.descriptors for sample in samples),
        min(sample.threads for sample in samples),
        min(sample.pool for sample in samples),
    )


def slope(samples: Sequence[Sample], settled_s: float = SETTLED_S) -> float | None:
    """Returns by how many MiB the memory grows in 10 minutes, by least squares. None if there are too few samples."""
    settled = [(sample.at_s / 600, sample.rss_mib) for sample in samples if sample.at_s >= settled_s]
    if len(settled) < SETTLED_SAMPLES:
        return None
    middle, mean = fmean(at for at, _ in settled), fmean(rss for _, rss in settled)
    return sum((at - middle) * (rss - mean) for at, rss in settled) / sum((at - middle) ** 2 for at, _ in settled)


@dataclass(frozen=True, slots=True)
class Course:
    """The samples of one process: in the calm before the storm, in the storm, and in the calm after it."""

    name: str
    began: Sample
    storm: Sequence[Sample]
    ended: Sample

    def faults(self) -> list[str]:
        """Returns a sentence for each leak."""
        found = [
            f"{self.name} began with {before} {what} and ended with {after}"
            for what, before, after in (
                ("file descriptors", self.began.descriptors, self.ended.descriptors),
                ("threads", self.began.threads, self.ended.threads),
            )
            if after > before
        ]
        if self.ended.pool > MAX_POOL:
            found.append(f"{self.name} ended with {self.ended.pool} threads in gRPC's pool")
        growth = slope(self.storm)
        if growth is not None and growth >= MAX_SLOPE:
            found.append(f"the memory of {self.name} grows by {growth:.2f} MiB in 10 minutes")
        return found
