"""Counts calls by method and by how they ended, and times them. A call costs two looks at the clock and three additions."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

import grpc

from rampd_server.domain.errors import DeadlineError, RampdError
from rampd_server.metrics.counting import Counts, Histogram, Labels
from rampd_server.rpc.error_status import STATUS_CODES

OK: Final = (grpc.StatusCode.OK.name, "")
CANCELLED: Final = (grpc.StatusCode.CANCELLED.name, "")


class MethodCalls:
    """The calls of one method."""

    __slots__ = ("_counts", "is_stream", "name", "seconds")

    def __init__(self, name: str, *, is_stream: bool) -> None:
        self.name = name
        self.is_stream = is_stream
        self.seconds = Histogram()
        """Of calls that got an answer or a refusal. Empty for a stream."""
        self._counts = Counts()
        # Prometheus sees no increase from nothing to one, so the usual series is there from the start.
        self._counts.add(*OK, number=0)

    def answered(self, began_s: float) -> None:
        """A call got its answer; it began at `began_s` of `time.perf_counter`."""
        self.seconds.observe(time.perf_counter() - began_s)
        self._counts.add(*OK)

    def refused(self, refusal: RampdError | DeadlineError, began_s: float) -> None:
        """A call gets a refusal."""
        if not self.is_stream:
            self.seconds.observe(time.perf_counter() - began_s)
        if isinstance(refusal, DeadlineError):
            self._counts.add(grpc.StatusCode.DEADLINE_EXCEEDED.name, "")
        else:
            self._counts.add(STATUS_CODES[refusal.reason].name, refusal.reason)

    def ended(self) -> None:
        """A stream ended in order."""
        self._counts.add(*OK)

    def cancelled(self) -> None:
        """The caller has gone."""
        self._counts.add(*CANCELLED)

    def samples(self) -> Iterator[tuple[Labels, int]]:
        """The counts by method, status and reason."""
        for labels, number in self._counts.items():
            yield (self.name, *labels), number


class Calls:
    """The calls of all methods, whatever address they come in by."""

    def __init__(self) -> None:
        self._of: dict[str, MethodCalls] = {}

    def of(self, method: str, *, is_stream: bool) -> MethodCalls:
        """The calls of a method, by its short name. The same for each address."""
        return self._of.setdefault(method, MethodCalls(method, is_stream=is_stream))

    def samples(self) -> Iterable[tuple[Labels, int]]:
        """All counts by method, status and reason."""
        return (sample for calls in self._of.values() for sample in calls.samples())

    def histograms(self) -> Iterable[tuple[Labels, Histogram]]:
        """The times by method."""
        return (((calls.name,), calls.seconds) for calls in self._of.values() if not calls.is_stream)
