"""How often a watcher gets a heartbeat, and what is in it: how old the state is, by which a client counts on."""

import time
from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd_server.replica.replica import Replica

HEARTBEAT_S = 1.0
_SLOWEST_HEARTBEAT_S = 2.0
"""Half of what a client waits before it takes a stream for dead."""
_HEARTBEATS_PER_S = 1_500
"""How many a server sends at the usual pace: a tenth of a core's time. For more watchers the pace is slower."""
_MAX_AGE_S = 0.05
"""How old a heartbeat may be that is sent again: one is encoded for many watchers."""


def pause_s(watchers: int) -> float:
    """Between two heartbeats of a watcher, where a server has so many."""
    return min(max(HEARTBEAT_S, watchers / _HEARTBEATS_PER_S), _SLOWEST_HEARTBEAT_S)


class Heartbeats:
    """The heartbeats of a server."""

    def __init__(self, replica: Replica, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._replica = replica
        self._monotonic = monotonic
        self._latest = (b"", 0.0)

    def message(self) -> bytes:
        """A heartbeat of now, encoded."""
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
