"""Messages of the API as JSON, by the mapping of proto3, and compressed. What is large is worked on outside of the event loop."""

import asyncio
import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rampd_server.domain.errors import InvalidRequestError
from rampd_server.rpc.large import LARGE_BYTES

_COMPRESSION: Final = 4
_READING: Final = ThreadPoolExecutor(1, "rampd-json")
"""One thread, because each takes turns with the event loop: several would make it wait for all of them."""


async def from_json(kind: Descriptor, data: bytes) -> bytes:
    """The message that JSON describes, as protobuf bytes. Raises InvalidRequestError, also for a field that there is not."""
    if len(data) <= LARGE_BYTES:
        return _parsed(kind, data)
    return await asyncio.get_running_loop().run_in_executor(_READING, _parsed, kind, data)


async def to_json(kind: Descriptor, data: bytes) -> bytes:
    """The JSON of a message that is given as protobuf bytes."""
    if len(data) <= LARGE_BYTES:
        return _written(kind, data)
    return await asyncio.to_thread(_written, kind, data)


async def compressed(data: bytes) -> bytes:
    """With gzip."""
    if len(data) <= LARGE_BYTES:
        return gzip.compress(data, _COMPRESSION, mtime=0)
    return await asyncio.to_thread(gzip.compress, data, _COMPRESSION, mtime=0)


def _parsed(kind: Descriptor, data: bytes) -> bytes:
    message: Message = GetMessageClass(kind)()
    try:
        json_format.Parse(data or b"{}", message)
        return message.SerializeToString()
    except (json_format.ParseError, DecodeError, RecursionError, ValueError, OverflowError) as error:
        raise InvalidRequestError([_violation(kind, error)]) from None


def _violation(kind: Descriptor, error: Exception) -> tuple[str, str]:
    """The field that a fault of the JSON is in, as far as that is known, and what is wrong."""
    what = str(error).partition("\n")[0].rstrip(".")
    _, is_unknown, rest = what.partition(' has no field named "')
    if is_unknown:
        return rest.partition('"')[0], f"is not a field of {kind.full_name}, or of a message in it"
    return "request", f"is not JSON for {kind.full_name}: {what or type(error).__name__}"


def _written(kind: Descriptor, data: bytes) -> bytes:
    content = json_format.MessageToDict(GetMessageClass(kind).FromString(data))
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
