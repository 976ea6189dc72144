"""What gRPC writes into headers and trailers: the time of a call, metadata, and how the call has ended. Pure."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Final, TypeAlias
from urllib.parse import quote

Headers: TypeAlias = list[tuple[bytes, bytes]]

KIND: Final = b"application/grpc"
_KINDS: Final = frozenset({KIND, KIND + b"+proto"})
_BINARY: Final = "-bin"
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS_OF: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_OF_THE_PROTOCOL: Final = frozenset(
    {"host", "te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"}
)
_READABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def is_grpc(content_type: bytes) -> bool:
    """Whether a request is a call with messages of protobuf."""
    return content_type == KIND or content_type.partition(b";")[0].strip().lower() in _KINDS


def timeout_s(text: bytes) -> float:
    """The seconds that a caller gives for a call: `100m` is 0.1. Raises ValueError."""
    found = _TIMEOUT.fullmatch(text)
    if found is None:
        raise ValueError("grpc-timeout is not a number of at most eight digits and a unit")
    return int(found[1]) * _SECONDS_OF[found[2]]


def metadata(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str | bytes]]:
    """The headers that handlers see, in their order. A value under a name that ends with `-bin` is bytes. What is no base64 there
    is left out.
    """
    found: list[tuple[str, str | bytes]] = []
    for key, value in headers:
        name = key.decode("latin-1")
        if name in _OF_THE_PROTOCOL:
            continue
        if name.endswith(_BINARY):
            found += ((name, each) for each in map(_decoded, value.split(b",")) if each is not None)
        else:
            found.append((name, value.decode("latin-1")))
    return found


def _decoded(value: bytes) -> bytes | None:
    value = value.strip()
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def ending(code: int, message: str = "", details: bytes = b"") -> Headers:
    """The trailers that say how a call has ended. `details` is a google.rpc.Status; empty if there are none."""
    found = [(b"grpc-status", str(code).encode())]
    if message:
        found.append((b"grpc-message", _percent_encoded(message)))
    if details:
        found.append((b"grpc-status-details-bin", base64.b64encode(details).rstrip(b"=")))
    return found


def _percent_encoded(text: str) -> bytes:
    found = quote(text, safe=_READABLE, errors="replace")
    # A header has no blank at its ends.
    return (found if found == found.strip() else found.replace(" ", "%20")).encode()
