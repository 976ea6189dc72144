"""How many streams one server carries: each costs it something every second, for as long as it is open."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from rampd_server.domain.errors import NoSnapshotError

MAX_STREAMS: Final = 4_000
"""Of one process. Heartbeats for so many take a quarter of a core, and a change that all are told of 0.2 s of one. Beside
10,000 a Resolve waits for more than 20 s, and reads of the store time out.
"""
_LOW: Final = 0.9
"""The share of the limit below which the log says that there is room again."""

log = structlog.get_logger()


class Streams:
    """Counts the streams of a server, and refuses those beyond the limit."""

    def __init__(self, limit: int = MAX_STREAMS) -> None:
        self._limit = limit
        self._open = 0
        self._is_full = False

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """For as long as a stream is open. Raises NoSnapshotError, which callers take as a reason to go elsewhere."""
        if self._open >= self._limit:
            self._tell(is_full=True)
            raise NoSnapshotError(
                f"This server has {self._limit:,} streams open, which is all that it takes beside its other calls. Try again "
                "in a moment, where there are others at another server. Whoever runs it: start more servers, or close "
                "streams that nobody reads."
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if self._open < self._limit * _LOW:
                self._tell(is_full=False)

    def _tell(self, *, is_full: bool) -> None:
        if is_full == self._is_full:
            return
        self._is_full = is_full
        if is_full:
            log.warning(
                "streams_at_limit",
                streams=self._limit,
                what_to_do="start more servers or workers, or find out who opens so many: further streams are refused with "
                "UNAVAILABLE, and other calls go on",
            )
        else:
            log.info("streams_below_limit", streams=self._open)
