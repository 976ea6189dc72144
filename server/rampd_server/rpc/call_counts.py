"""Counts calls by method and by how they ended, and times them."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

import grpc

from rampd_server.domain.errors import DeadlineError, RampdError
from rampd_server.metrics.counting import Counts, Histogram, Labels
from rampd_server.rpc.error_status import ending_of, status_without_answer

UNKNOWN: Final = "_unknown"
"""The label `method` of calls to methods that there are not. No method has this name."""
_OK: Final = grpc.StatusCode.OK.name


class MethodCalls:
    """The calls of one method."""

    __slots__ = ("_ended", "_refused", "is_stream", "name", "observe", "seconds")

    def __init__(self, name: str, *, is_stream: bool) -> None:
        self.name = name
        self.is_stream = is_stream
        self.seconds = Histogram()
        """Of calls that got an answer or a refusal. Empty for a stream."""
        self.observe = self.seconds.observe
        """Counts a call that got its answer, by its seconds: an answer costs no more than this."""
        self._ended = 0
        """Answered calls = timed calls + this number. A stream is not timed."""
        self._refused = Counts()

    def refused(self, refusal: RampdError | DeadlineError, began_s: float) -> None:
        """A call gets a refusal; it began at `began_s` of `time.perf_counter`."""
        if not self.is_stream:
            self.observe(time.perf_counter() - began_s)
            self._ended -= 1
        status, reason = ending_of(refusal)
        self._refused.add(status.name, reason)

    def ended(self) -> None:
        """A stream ended in order."""
        self._ended += 1

    def cancelled(self, left_s: float | None) -> None:
        """The caller has gone, or its time is over. `left_s` is what is left of the time."""
        self._refused.add(status_without_answer(left_s).name, "")

    def without_handler(self, status: str, reason: str) -> None:
        """A call got its answer or its refusal before a handler had it. It was not timed."""
        if status == _OK:
            self._ended += 1
        else:
            self._refused.add(status, reason)

    def samples(self) -> Iterator[tuple[Labels, int]]:
        """The counts by method, status and reason."""
        # Prometheus sees no increase from nothing to one, so this series is there from the start.
        yield (self.name, _OK, ""), self.seconds.cumulative[-1] + self._ended
        for labels, number in self._refused.items():
            yield (self.name, *labels), number


class Calls:
    """The calls of all methods, whatever address they come in by."""

    def __init__(self) -> None:
        self._of: dict[str, MethodCalls] = {}
        self._unknown = Counts()

    def of(self, method: str, *, is_stream: bool) -> MethodCalls:
        """The calls of a method, by its short name. The same for each address."""
        return self._of.setdefault(method, MethodCalls(method, is_stream=is_stream))

    def without_handler(self, method: str, status: str, reason: str) -> None:
        """A call got its answer or its refusal before a handler had it. `method` is empty if there is no such method."""
        if method in self._of:
            self._of[method].without_handler(status, reason)
        else:
            self._unknown.add(UNKNOWN, status, reason)

    def samples(self) -> Iterable[tuple[Labels, int]]:
        """All counts by method, status and reason."""
        return (*(sample for calls in self._of.values() for sample in calls.samples()), *self._unknown.items())

    def histograms(self) -> Iterable[tuple[Labels, Histogram]]:
        """The times by method."""
        return (((calls.name,), calls.seconds) for calls in self._of.values() if not calls.is_stream)
