"""Reads the body of a request, within bounds of size and time."""

import asyncio
from typing import Final

from google.rpc import code_pb2
from starlette.requests import ClientDisconnect, Request

from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.domain.errors import InvalidRequestError, RampdError
from rampd_server.domain.refusals import too_large
from rampd_server.http.call import proven, refuse
from rampd_server.rpc import large
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door
from rampd_server.rpc.large import LARGE_BYTES, LargerError, NotGzipError

BODY_S: Final = 30.0
"""How long a caller may take to send a body."""
GZIP: Final = "gzip"
ENCODINGS: Final = ("identity", GZIP)


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
            return large.expanded(data, LARGE_BYTES)
        except LargerError:
            await proven(door, request)
        try:
            return await asyncio.to_thread(large.expanded, data, MAX_MESSAGE_BYTES)
        except LargerError:
            await refuse(_too_large(), request)
    except NotGzipError:
        await refuse(_not_gzip(), request)


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


def _not_gzip() -> RampdError:
    return InvalidRequestError([("request", "is not whole, or not compressed with gzip")])


def _too_large() -> RampdError:
    return too_large(f"The body of a request has at most {MAX_MESSAGE_BYTES:,} bytes.", limit=MAX_MESSAGE_BYTES)
