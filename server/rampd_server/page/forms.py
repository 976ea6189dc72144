"""Reads the form that a browser sends."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from google.rpc import code_pb2
from starlette.requests import Request

from rampd_server.http import body
from rampd_server.http.context import CallError
from rampd_server.rpc.door import Door

_MOST_BYTES: Final = 64 * 1024
_MOST_FIELDS: Final = 50
_KIND: Final = "application/x-www-form-urlencoded"


async def fields_of(request: Request, door: Door) -> Mapping[str, str]:
    """Returns the fields; of several with one name, the last. Raises CallError: it is no form, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    data = await body.beginning(request, door, _MOST_BYTES)
    try:
        if kind != _KIND or len(data) > _MOST_BYTES:
            raise ValueError
        return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:
        raise CallError.plain(
            code_pb2.INVALID_ARGUMENT, f"That is not a form of this page, or it has over {_MOST_BYTES:,} bytes."
        ) from None
