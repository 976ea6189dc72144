"""The limit of open streams of one server. Each open stream costs the server time every second."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from rampd_server.domain.errors import NoSnapshotError

MAX_STREAMS: Final = 4_000
"""The limit of one process. With so many streams, heartbeats take a quarter of a core, and a change that all streams
get takes 0.2 s of a core. With 10,000 streams a Resolve waits for more than 20 s, and reads of the store time out.
"""
_LOW: Final = 0.9
"""Below this share of the limit, the log says that there is room again."""

log = structlog.get_logger()


class Streams:
    """Counts the streams of a server, and refuses streams above the limit."""

    def __init__(self, limit: int = MAX_STREAMS) -> None:
        self._limit = limit
        self._open = 0
        self._is_full = False

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts a stream for as long as the block lasts. Raises NoSnapshotError at the limit: callers then try another
        server.
        """
        if self._open >= self._limit:
            self._tell(is_full=True)
            raise NoSnapshotError(
                f"This server has {self._limit:,} streams open, which is its limit. Try again in a moment, or try another "
                "server. Operators: start more servers, or close streams that no caller reads."
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
                what_to_do="start more servers or workers, or find out which callers open so many streams: more streams are "
                "refused with UNAVAILABLE, and other calls go on",
            )
        else:
            log.info("streams_below_limit", streams=self._open)
