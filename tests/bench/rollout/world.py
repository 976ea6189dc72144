"""The platform: jobs arrive, run and end. How often they fail depends on the version that they run."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Release:
    """A release that is rolled out, and the failure rates of current and of next."""

    name: str
    current: float
    next: float
    runs: int
    outage: dict[str, float] | None = None

    @property
    def is_good(self) -> bool:
        return self.next <= self.current

    def rates(self, now_s: float) -> tuple[float, float]:
        """Returns the failure rates of current and of next for a job that starts now."""
        if self.outage and self.outage["from_min"] * 60 <= now_s < self.outage["to_min"] * 60:
            return self.outage["rate"], max(self.outage["rate"], self.next)
        return self.current, self.next


class Job(NamedTuple):
    """A job. It fails if its `luck` (0 to 1) is less than the failure rate of its version. So every rule gets the same jobs with
    the same luck. A job is harmed if it fails on next and would not have failed on current.
    """

    start_s: float
    end_s: float
    repo: str
    luck: float


@dataclass(frozen=True)
class World:
    """Rates and sizes, as in configurations/world.toml."""

    jobs_per_minute: float
    mean_duration_s: float
    repos: int
    horizon_min: float
    releases: tuple[Release, ...]

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "World":
        releases = tuple(Release(**release) for release in settings["releases"])
        return cls(**{**settings, "releases": releases})

    def jobs(self, random: Random) -> Iterator[Job]:
        """Yields all jobs up to the horizon, in the order of their starts."""
        volumes = list(accumulate(1 / rank for rank in range(1, self.repos + 1)))
        now_s = 0.0
        while True:
            for place in random.choices(range(self.repos), cum_weights=volumes, k=1000):
                now_s += random.expovariate(self.jobs_per_minute / 60)
                if now_s >= self.horizon_min * 60:
                    return
                end_s = now_s + random.expovariate(1 / self.mean_duration_s)
                yield Job(now_s, end_s, f"owner/repo-{place}", random.random())
