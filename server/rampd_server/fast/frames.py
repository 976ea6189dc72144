"""Messages in the body of a request or an answer: gRPC writes five bytes before each. Pure."""

import struct
from typing import Final, NamedTuple

_PREFIX: Final = struct.Struct(">BI")
_COMPRESSED: Final = 1


class FrameError(Exception):
    """The body is not made of frames."""


class LargeFrameError(Exception):
    """A message is larger than allowed."""


class Frame(NamedTuple):
    """A message as it came."""

    is_compressed: bool
    data: bytes


def framed(message: bytes) -> bytes:
    """Returns a message with its five bytes. It is not compressed."""
    return _PREFIX.pack(0, len(message)) + message


def whole(body: bytes) -> bytes | None:
    """Returns the message of a body that is one message and not compressed, as most bodies are; None for any other body."""
    length = len(body) - _PREFIX.size
    if length < 0 or _PREFIX.unpack_from(body) != (0, length):
        return None
    return body[_PREFIX.size :]


class Frames:
    """A body as it comes: `feed` takes a piece of it, and `take` gives the next message."""

    __slots__ = ("_data", "_limit")

    def __init__(self, limit: int) -> None:
        """`limit` is how many bytes a message may have."""
        self._data: bytes | bytearray = b""
        self._limit = limit

    def feed(self, piece: bytes) -> None:
        """Takes the next piece. Most bodies are one piece, which is not copied."""
        if not self._data:
            self._data = piece
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        self._data += piece

    def take(self) -> Frame | None:
        """Returns the next message; None if it is not there as a whole. Raises FrameError, and LargeFrameError as soon as it is
        announced.
        """
        data = self._data
        if len(data) < _PREFIX.size:
            return None
        flags, length = _PREFIX.unpack_from(data)
        if flags > _COMPRESSED:
            raise FrameError
        if length > self._limit:
            raise LargeFrameError
        end = _PREFIX.size + length
        if len(data) < end:
            return None
        self._data = data[end:]
        return Frame(flags == _COMPRESSED, bytes(data[_PREFIX.size : end]))

    @property
    def announced(self) -> int:
        """How many bytes the next message has, as far as its frame has begun; otherwise 0."""
        return int(_PREFIX.unpack_from(self._data)[1]) if len(self._data) >= _PREFIX.size else 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a further message has come."""
        return not self._data
