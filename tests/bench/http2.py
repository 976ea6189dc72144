"""The part of HTTP/2 that is needed to hold a thousand gRPC streams in one Python process and to see each message at once.

grpcio's own client takes more time for a message than a server does: a benchmark with it would measure the client. This
client only splits the data into frames. It opens the windows to their maximum at the start, writes headers without
compression, and does not read the headers of answers.
"""

import socket
import struct
from collections.abc import Iterator, Sequence

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WIDEST = 2**31 - 1
_WINDOW, _FRAME_SIZE = 4, 5
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER = struct.Struct(">HBBBI")


class Http2:
    """One connection to a gRPC server. `read` yields (stream, bytes of DATA, whether this ends the stream)."""

    def __init__(self, target: str, *, window: int = WIDEST) -> None:
        host, port = target.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._target = target
        self._next_stream = 1
        self._rest = b""
        settings = struct.pack(">HIHI", _WINDOW, window, _FRAME_SIZE, 2**24 - 1)
        wider = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDEST - 65_535)) if window == WIDEST else b""
        self.socket.sendall(_PREFACE + frame(SETTINGS, 0, 0, settings) + wider)

    def request(self, path: str, message: bytes, more: Sequence[tuple[str, str]] = ()) -> bytes:
        """Returns the frames of a call on the next stream, for the caller to send. `more` are more headers."""
        stream, headers = self.head(path, more)
        body = b"\0" + struct.pack(">I", len(message)) + message
        return frame(HEADERS, END_HEADERS, stream, headers) + frame(DATA, END_STREAM, stream, body)

    def head(self, path: str, more: Sequence[tuple[str, str]] = ()) -> tuple[int, bytes]:
        """Returns the number of the next stream, and the headers of a call on it."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        return stream, b"".join(
            b"\0" + _text(name) + _text(value)
            for name, value in (
                *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", self._target)),
                *(("te", "trailers"), ("content-type", "application/grpc")),
                *more,
            )
        )

    def read(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yields what one read of the socket gives.

        Raises ConnectionError if the server has closed the connection or refused a stream.
        """
        received = self.socket.recv(1 << 20)
        if not received:
            raise ConnectionError(f"{self._target} has closed the connection")
        data = self._rest + received
        place, end = 0, len(data)
        while end - place >= 9:
            high, low, kind, flags, stream = _FRAME_HEADER.unpack_from(data, place)
            after = place + 9 + (high << 8 | low)
            if after > end:
                break
            if kind in (DATA, HEADERS):
                yield stream, data[place + 9 : after] if kind == DATA else b"", bool(flags & END_STREAM)
            elif kind in (SETTINGS, PING) and not flags & ACK:
                payload = data[place + 9 : after] if kind == PING else b""
                self.socket.sendall(frame(kind, ACK, 0, payload))
            # RST_STREAM with error code 0 follows a complete answer.
            elif kind == GOAWAY or (kind == RST_STREAM and any(data[place + 9 : after])):
                raise ConnectionError(f"{self._target} has reset stream {stream}: {data[place + 9 : after]!r}")
            place = after
        self._rest = data[place:]

    def close(self) -> None:
        self.socket.close()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _FRAME_HEADER.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def _text(text: str) -> bytes:
    """Encodes a string for HPACK, without compression."""
    data = text.encode()
    length, rest = len(data), len(data) - 127
    if rest < 0:
        return bytes([length]) + data
    head = bytearray([127])
    while rest >= 128:
        head.append(rest & 127 | 128)
        rest >>= 7
    return bytes(head) + bytes([rest]) + data
