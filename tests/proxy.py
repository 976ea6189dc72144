"""A TCP proxy in front of a real server. A test tells the proxy what to lose."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator


class Proxy:
    """Listens on a free port of the loopback, and passes bytes on in both directions until a test says otherwise."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.most_open = 0
        """The most connections that were open at the same time."""
        self.loses_reply: Callable[[bytes], bool] = lambda _request: False
        """Called with each piece of a request. If true, the connection is cut when the reply has come."""
        self.keeps_back: Callable[[bytes], bool] = lambda _request: False
        """Called with each piece of a request. If true, the connection is stalled and stays open."""
        self.cuts_new = False
        """Whether each new connection is cut as soon as it is open."""
        self.is_silent = threading.Event()
        """While set, nothing that the server sends is passed on: the link looks open but is dead."""
        self.delay_s = 0.0
        """How long each piece of a request is delayed."""
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._stalled: set[tuple[socket.socket, socket.socket]] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends every connection that is open now."""
        for pair in list(self._pairs):
            _end(pair)

    def stall(self) -> None:
        """Stops passing data on over the connections that are open now, and leaves them open."""
        self._stalled |= self._pairs

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.accepted += 1
                try:
                    far = self._connect()
                except OSError:
                    near.close()
                    continue
                pair = (near, far)
                if self.cuts_new:
                    _end(pair)
                    continue
                self._pairs.add(pair)
                self.most_open = max(self.most_open, len(self._pairs))
                is_doomed = threading.Event()
                threading.Thread(target=self._requests, args=(pair, is_doomed), daemon=True).start()
                threading.Thread(target=self._replies, args=(pair, is_doomed), daemon=True).start()

    def _requests(self, pair: tuple[socket.socket, socket.socket], is_doomed: threading.Event) -> None:
        near, far = pair
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                if self.loses_reply(data):
                    is_doomed.set()
                if self.keeps_back(data):
                    self._stalled.add(pair)
                if self.delay_s:
                    time.sleep(self.delay_s)
                if pair not in self._stalled:
                    far.sendall(data)
        self._drop(pair)

    def _replies(self, pair: tuple[socket.socket, socket.socket], is_doomed: threading.Event) -> None:
        near, far = pair
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 16):
                if is_doomed.is_set():
                    break
                while self.is_silent.is_set() or (pair in self._stalled and pair in self._pairs):
                    threading.Event().wait(0.02)
                near.sendall(data)
        self._drop(pair)

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self._pairs.discard(pair)
        self._stalled.discard(pair)
        _end(pair)


def _end(pair: tuple[socket.socket, socket.socket]) -> None:
    for each in pair:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextlib.contextmanager
def proxy_to_unix(path: str) -> Iterator[Proxy]:
    """Starts a proxy to a unix socket."""

    def connect() -> socket.socket:
        far = socket.socket(socket.AF_UNIX)
        far.connect(path)
        return far

    with _proxy(connect) as proxy:
        yield proxy


@contextlib.contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    """Starts a proxy to `host:port`."""
    host, _, port = target.rpartition(":")
    with _proxy(lambda: socket.create_connection((host, int(port)))) as proxy:
        yield proxy


@contextlib.contextmanager
def _proxy(connect: Callable[[], socket.socket]) -> Iterator[Proxy]:
    proxy = Proxy(connect)
    try:
        yield proxy
    finally:
        proxy.close()
