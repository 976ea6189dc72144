"""Reads the body of a request, within bounds of size and time."""

import asyncio
import zlib
from typing import Final

from google.rpc import code_pb2
from starlette.requests import ClientDisconnect, Request

from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.domain.errors import InvalidRequestError, RampdError
from rampd_server.domain.refusals import too_large
from rampd_server.http.call import proven, refuse
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door

LARGE_BYTES: Final = 8 * 1024
"""The largest body that the server takes before it knows who calls. A larger body is also worked on outside of the event loop: JSON of
this size takes up to 15 ms, a hundred times as long as a Resolve.
"""
BODY_S: Final = 30.0
"""How long a caller may take to send a body."""
GZIP: Final = "gzip"
ENCODINGS: Final = ("identity", GZIP)
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS


async def read(request: Request, door: Door, encoding: str = "identity") -> bytes:
    """Returns the body, decompressed. The caller of a large one has to prove who it is first. Raises CallError."""
    data = await beginning(request, door, MAX_MESSAGE_BYTES)
    if len(data) > MAX_MESSAGE_BYTES:
        await refuse(_too_large(), request)
    return await expanded(data, request, door, encoding)


async def expanded(data: bytes, request: Request, door: Door, encoding: str) -> bytes:
    """Returns data, decompressed. If they get large, the caller has to prove who it is first. Raises CallError."""
    if encoding != GZIP or not data:
        return data
    try:
        try:
            return _expanded(data, LARGE_BYTES)
        except _LargerError:
            await proven(door, request)
        try:
            return await asyncio.to_thread(_expanded, data, MAX_MESSAGE_BYTES)
        except _LargerError:
            raise _too_large() from None
    except RampdError as error:
        await refuse(error, request)


async def beginning(request: Request, door: Door, limit: int) -> bytes:
    """Returns the body. Of a body with more than `limit` bytes, returns a part that also has more. The caller of a large one has to
    prove who it is first. Raises CallError.
    """
    data = bytearray()
    is_proven = False
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                data += part
                if len(data) > LARGE_BYTES and not is_proven:
                    await proven(door, request)
                    is_proven = True
                if len(data) > limit:
                    break
    except TimeoutError:
        raise CallError.plain(
            code_pb2.DEADLINE_EXCEEDED, f"The body of the request did not come within {BODY_S:g} s."
        ) from None
    except ClientDisconnect:
        raise CallError.plain(code_pb2.CANCELLED, "The caller has gone.") from None
    return bytes(data)


class _LargerError(Exception):
    pass


def _expanded(data: bytes, limit: int) -> bytes:
    """Raises _LargerError; InvalidRequestError."""
    expanding = zlib.decompressobj(_GZIP_BITS)
    try:
        found = expanding.decompress(data, limit + 1)
    except zlib.error:
        raise _not_gzip() from None
    if len(found) > limit:
        raise _LargerError
    if not expanding.eof or expanding.unused_data:
        raise _not_gzip()
    return found


def _not_gzip() -> RampdError:
    return InvalidRequestError([("request", "is not whole, or not compressed with gzip")])


def _too_large() -> RampdError:
    return too_large(f"The body of a request has at most {MAX_MESSAGE_BYTES:,} bytes.", limit=MAX_MESSAGE_BYTES)
