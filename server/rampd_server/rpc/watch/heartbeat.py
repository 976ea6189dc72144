"""The pace and the content of heartbeats. A heartbeat says how old the state is, and the client counts on from there."""

import time
from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd_server.replica.replica import Replica

HEARTBEAT_S = 1.0
_SLOWEST_HEARTBEAT_S = 2.0
"""Half of the time after which a client takes a silent stream as dead."""
_HEARTBEATS_PER_S = 1_500
"""The most heartbeats that a server sends at the usual pace; they take a tenth of a core. With more watchers the pace
is slower.
"""
_MAX_AGE_S = 0.05
"""For this time an encoded heartbeat is sent to other watchers, too."""


def pause_s(watchers: int) -> float:
    """Returns the most seconds between two heartbeats of one watcher, for a server with so many watchers. The real pause is 80 to
    100 % of it at random, and the first one 50 to 100 %.
    """
    return min(max(HEARTBEAT_S, watchers / _HEARTBEATS_PER_S), _SLOWEST_HEARTBEAT_S)


class Heartbeats:
    """The heartbeats of a server."""

    def __init__(self, replica: Replica, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._replica = replica
        self._monotonic = monotonic
        self._latest = (b"", 0.0)

    def message(self) -> bytes:
        """Returns a present heartbeat, encoded."""
        message, made_s = self._latest
        now_s = self._monotonic()
        if now_s - made_s > _MAX_AGE_S:
            store_ms = self._replica.likely_ms()
            heartbeat = v1.WatchHeartbeat(
                snapshot_age=_duration(self._replica.age_s),
                store_time=Timestamp(seconds=store_ms // 1000, nanos=store_ms % 1000 * 1_000_000),
                server_clock=_duration(now_s),
            )
            message = v1.WatchResponse(heartbeat=heartbeat).SerializeToString()
            self._latest = message, now_s
        return message


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1_000_000) * 1000)
