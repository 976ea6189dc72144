"""Puts the metrics of a server together: what counts, and what reads the counts."""

import platform
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from typing import TypeAlias, final

from prometheus_client import ProcessCollector

from rampd_server.automation.controller import SUDDEN, Controller
from rampd_server.doors import Doors
from rampd_server.metrics import families
from rampd_server.metrics.collector import Collector, age_s
from rampd_server.metrics.components import Sources
from rampd_server.metrics.counting import ByComponent, Labels, Reloads
from rampd_server.metrics.families import Family
from rampd_server.metrics.lags import FeedLag, LoopLag
from rampd_server.metrics.rollout_time import RolloutTime
from rampd_server.metrics.shown import LIMIT, Shown
from rampd_server.replica.replica import Replica
from rampd_server.rpc.answer_counts import AnswerCounts
from rampd_server.rpc.call_counts import Calls
from rampd_server.rpc.certificates import Certificates
from rampd_server.rpc.watch.watch import Watches
from rampd_server.service.service import Service
from rampd_server.service.verdict_counts import VerdictCounts
from rampd_server.storage.link import Link

_FILES = ("certificate", "access_file")
_RESULTS = ("used", "refused")

Files: TypeAlias = tuple[Reloads | None, Reloads]
"""In the order of `_FILES`. None: the server has no certificate."""


@final
class Metering:
    """The counts that the parts of a server are made with."""

    def __init__(self, replica: Replica, *, components: int = LIMIT) -> None:
        """`components` is how many components have series of their own."""
        self._replica = replica
        self._shown = Shown(replica, components)
        self._resolves, jobs, failures = (ByComponent(self._shown.name_of) for _ in range(3))
        self._jobs, self._failures = jobs, failures
        self.calls = Calls()
        self.answers = AnswerCounts(self._resolves, replica.get)
        self.outcomes = VerdictCounts(jobs, failures)
        self.decisions = ByComponent(self._shown.name_of, expected=SUDDEN)
        self._lost = ByComponent(self._shown.name_of, expected=[()])
        replica.count_losses(lambda component, revisions: self._lost.add(component, (), revisions))
        self.loop_lag = LoopLag()
        self._feed_lag = FeedLag(replica)
        self._collector: Collector | None = None
        self._time = RolloutTime(replica, ByComponent(self._shown.name_of))

    def collector(
        self,
        link: Link,
        service: Service,
        controller: Controller,
        watches: Watches,
        *,
        doors: Doors,
        certificates: Certificates | None,
    ) -> Collector:
        """What reads all counts of a server."""
        replica = self._replica
        sources = Sources(self._jobs, self._failures, self.decisions, self._lost, self._time, controller.looks)
        found = Collector(replica, self._shown, sources)
        build = metadata.version("rampd"), platform.python_version()
        found.read(families.BUILD_INFO, lambda: [(build, 1)])
        found.read(families.RPC_CALLS, self.calls.samples)
        found.histograms(families.RPC_DURATION, self.calls.histograms)
        found.count_by_component(families.RESOLVES, self._resolves, settle=self.answers.settle)
        found.read_number(families.WATCHERS, lambda: watches.count)
        found.read_number(families.SLOWEST_WATCHER, watches.slowest_age_s)
        found.read_number(families.COPY_AGE, lambda: age_s(replica))
        found.read_number(families.COPY_STALE, lambda: int(not replica.is_confirmed))
        found.count(families.STORE_COMMANDS, link.counts.commands)
        found.count(families.STORE_ERRORS, link.counts.errors)
        found.histograms(families.STORE_DURATION, lambda: [((), link.counts.durations)])
        found.count(families.STORE_RECONNECTS, link.clients.reconnects)
        found.count(families.STORE_PRIMARY_CHANGES, link.clients.primary_changes)
        found.histograms(families.FEED_LAG, lambda: [((), self._feed_lag.seconds)])
        found.count(families.COMMIT_CONFLICTS, service.conflicts)
        found.count(families.OUTCOMES_ACCEPTED, self.outcomes.accepted)
        found.count(families.OUTCOMES_IGNORED, self.outcomes.ignored)
        found.histograms(families.LOOP_LAG, lambda: [((), self.loop_lag.seconds)])
        files = None if certificates is None else certificates.reloads, doors.reloads
        found.read(families.FILE_RELOADS, lambda: _reloads(certificates, files))
        found.read(families.FILE_REFUSED, lambda: _refused(files))
        found.read_number(families.CERTIFICATE_EXPIRE, lambda: None if certificates is None else certificates.expire_s)
        process = _Process()
        for family in families.PROCESS:
            found.read(family, partial(process.samples, family))
        self._collector = found
        return found

    async def keep(self) -> None:
        """Forgets from time to time, for ever, what no scrape needs. This is also needed when nobody scrapes."""
        assert self._collector is not None  # noqa: S101 - the collector is made before anything runs
        await self._collector.keep()


def _reloads(certificates: Certificates | None, files: Files) -> Iterator[tuple[Labels, int]]:
    if certificates is not None:
        # The connection of a scrape may be kept. Without a handshake, nobody would look at the files.
        certificates.look()
    for file, reloads in zip(_FILES, files, strict=True):
        counted = {} if reloads is None else {result: number for (result,), number in reloads.items()}
        for result in _RESULTS:
            yield (file, result), counted.get(result, 0)


def _refused(files: Files) -> Iterator[tuple[Labels, int]]:
    for file, reloads in zip(_FILES, files, strict=True):
        yield (file,), int(reloads is not None and reloads.is_refused)


class _Process:
    """What the system says of the process. It is asked once for each scrape."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)
        self._values: dict[str, float] = {}

    def samples(self, family: Family) -> Iterator[tuple[Labels, float]]:
        """The value of a family. A scrape begins with the first one."""
        if family is families.PROCESS[0]:
            self._values = {each.name: each.value for metric in self._process.collect() for each in metric.samples}
        if family.name in self._values:
            yield (), self._values[family.name]
