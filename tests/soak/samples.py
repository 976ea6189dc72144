"""What a process holds over time, and whether that is a leak."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

MAX_SLOPE = 1.0
"""MiB in 10 minutes."""
SETTLED_S = 180.0
"""From here on memory is judged: caches have filled by then."""
SETTLED_SAMPLES = 24
MAX_POOL = 16
"""gRPC keeps a pool of threads as large as it once needed, and lets those go that found nothing to do for 20 s. A busy
process has as many as work comes at once, whatever it did before: so they have a bound, and not a place to come back to.
"""
_POOL = "event_engine"


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at_s: float
    rss_mib: float
    anonymous_mib: float
    """Of that, what is no file: heap and stacks."""
    descriptors: int
    threads: int
    """Without gRPC's pool."""
    pool: int


def take(process_id: int, at_s: float) -> Sample:
    """A sample of a running process. Raises OSError where there is none."""
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
        with contextlib.suppress(OSError):  # it has ended meanwhile
            names.append((task / "comm").read_text().strip())
    return names


def least(samples: Sequence[Sample]) -> Sample:
    """The least of each that a process held."""
    return Sample(
        samples[-1].at_s,
        min(sample.rss_mib for sample in samples),
        min(sample.anonymous_mib for sample in samples),
        min(sample.descriptors for sample in samples),
        min(sample.threads for sample in samples),
        min(sample.pool for sample in samples),
    )


def slope(samples: Sequence[Sample], settled_s: float = SETTLED_S) -> float | None:
    """By how many MiB the memory grows in 10 minutes, by least squares; None where the samples are too few to tell."""
    settled = [(sample.at_s / 600, sample.rss_mib) for sample in samples if sample.at_s >= settled_s]
    if len(settled) < SETTLED_SAMPLES:
        return None
    middle, mean = fmean(at for at, _ in settled), fmean(rss for _, rss in settled)
    return sum((at - middle) * (rss - mean) for at, rss in settled) / sum((at - middle) ** 2 for at, _ in settled)


@dataclass(frozen=True, slots=True)
class Course:
    """One process from the calm before the storm to the calm after it."""

    name: str
    began: Sample
    storm: Sequence[Sample]
    ended: Sample

    def faults(self) -> list[str]:
        """What it has not given back, in sentences."""
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
