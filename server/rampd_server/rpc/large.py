"""What large messages have to pass: the caller of one is proven first, and what is compressed gets no larger than allowed."""

import zlib
from typing import Final

LARGE_BYTES: Final = 8 * 1024
"""The largest message that a server takes before it knows who calls, where it reads messages by itself. It also works on larger ones
outside of the event loop: JSON of this size takes up to 15 ms, a hundred times as long as a Resolve.
"""
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS


class LargerError(Exception):
    """What is decompressed has more bytes than allowed."""


class NotGzipError(Exception):
    """The data are not whole, or not compressed with gzip."""


def expanded(data: bytes, limit: int) -> bytes:
    """Decompresses data of gzip. Raises LargerError if they get more than `limit` bytes; NotGzipError."""
    expanding = zlib.decompressobj(_GZIP_BITS)
    try:
        found = expanding.decompress(data, limit + 1)
    except zlib.error:
        raise NotGzipError from None
    if len(found) > limit:
        raise LargerError
    if not expanding.eof or expanding.unused_data:
        raise NotGzipError
    return found
