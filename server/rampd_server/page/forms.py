"""Reads the form that a browser sends."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from google.rpc import code_pb2
from starlette.requests import Request

from rampd_server.http import body
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door

_MOST_BYTES: Final = 64 * 1024
_MOST_FIELDS: Final = 50
_KIND: Final = "application/x-www-form-urlencoded"


async def fields_of(request: Request, door: Door) -> Mapping[str, str]:
    """Returns the fields; of several with one name, the last. The sender of a large form has to prove who it is first. Raises CallError:
    it is no form, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    data = await body.beginning(request, door, _MOST_BYTES)
    fields = _fields(data) if kind == _KIND and len(data) <= _MOST_BYTES else None
    if fields is None:
        text = (
            f"That is not a form of this page, or it has over {_MOST_BYTES:,} bytes. Go back, and load the page again."
        )
        raise CallError.plain(code_pb2.INVALID_ARGUMENT, text)
    return fields


def _fields(data: bytes) -> Mapping[str, str] | None:
    try:
        return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:
        return None
