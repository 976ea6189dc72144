"""Many streams and one caller in one thread. It measures when messages arrive."""

import contextlib
import selectors
import time
from collections.abc import Callable, Iterator

from tests.bench.http2 import Http2

STREAMS_PER_CONNECTION = 100
_WAIT_S = 60.0


class Watchers:
    """Streams of one method of one server, and a separate connection for calls."""

    def __init__(self, target: str, path: str, request: bytes, number: int) -> None:
        self.number = number
        self.received: dict[tuple[int, int], int] = {}
        """The bytes of messages that each stream has received, by connection and stream."""
        self._selector = selectors.DefaultSelector()
        self._caller = self._connect(target, 0)
        self._connections = [
            self._connect(target, place + 1) for place in range((number - 1) // STREAMS_PER_CONNECTION + 1)
        ]
        for place, connection in enumerate(self._connections):
            streams = min(STREAMS_PER_CONNECTION, number - place * STREAMS_PER_CONNECTION)
            connection.socket.sendall(b"".join(connection.request(path, request) for _ in range(streams)))

    def _connect(self, target: str, place: int) -> Http2:
        connection = Http2(target)
        self._selector.register(connection.socket, selectors.EVENT_READ, (place, connection))
        return connection

    def close(self) -> None:
        self._selector.close()
        for connection in (self._caller, *self._connections):
            connection.close()

    def until_each_has(self, size: int) -> float:
        """Waits until each stream has received `size` bytes. Returns how many seconds that took. Raises TimeoutError."""
        began = time.perf_counter()
        self._follow(lambda: sum(has >= size for has in self.received.values()) == self.number)
        return time.perf_counter() - began

    def change(self, path: str, request: bytes, marker: bytes) -> tuple[float, float, bytes]:
        """Makes a call, and waits until each stream has received a message that contains `marker`.

        Returns the seconds from the call to its answer, the seconds from the answer to the last stream (0 if the last
        stream came before the answer), and the message of a stream.
        """
        seen: set[tuple[int, int]] = set()
        marked = b""
        answered = last = 0.0
        self._caller.socket.sendall(self._caller.request(path, request))
        began = time.perf_counter()
        while not answered or len(seen) < self.number:
            for place, stream, data, is_end in self._next(began + _WAIT_S):
                if place == 0:
                    answered = answered or (time.perf_counter() if is_end else 0.0)
                elif marker in data:
                    seen.add((place, stream))
                    marked, last = data, time.perf_counter()
        return answered - began, max(0.0, last - answered), marked

    def drain(self, seconds: float) -> None:
        """Reads all messages for some seconds."""
        end = time.perf_counter() + seconds
        with contextlib.suppress(TimeoutError):
            self._follow(lambda: False, end)

    def _follow(self, is_over: Callable[[], bool], end: float | None = None) -> None:
        end = time.perf_counter() + _WAIT_S if end is None else end
        while not is_over():
            for _ in self._next(end):
                pass

    def _next(self, end: float) -> Iterator[tuple[int, int, bytes, bool]]:
        ready = self._selector.select(max(0.0, end - time.perf_counter()))
        if not ready and time.perf_counter() >= end:
            raise TimeoutError(f"{len(self.received)} of {self.number} streams have received something")
        for key, _ in sorted(ready, key=lambda each: each[0].data[0]):
            place, connection = key.data
            for stream, data, is_end in connection.read():
                if place and is_end:
                    raise ConnectionError(f"stream {stream} has ended")
                if place and data:
                    self.received[place, stream] = self.received.get((place, stream), 0) + len(data)
                yield place, stream, data, is_end
