"""What a browser sends as a form."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from google.rpc import code_pb2
from starlette.requests import Request

from rampd_server.access.rpc_roles import Role
from rampd_server.page.forms import fields_of
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door, local

FORM = "application/x-www-form-urlencoded"
OPEN = Door(local(Role.ADMIN))


def request(*parts: bytes, kind: str = FORM) -> Request:
    messages: Sequence[dict[str, Any]] = [
        *({"type": "http.request", "body": part, "more_body": True} for part in parts),
        {"type": "http.request", "body": b"", "more_body": False},
    ]
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left)

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


async def test_the_fields_of_a_form_are_read() -> None:
    sent = urlencode({"note": "a & b\n\u202e=", "empty": "", "tag": "a/b:c@d"}).encode()
    assert await fields_of(request(sent[:7], sent[7:]), OPEN) == {
        "note": "a & b\n\u202e=",
        "empty": "",
        "tag": "a/b:c@d",
    }


async def test_of_two_fields_with_one_name_the_last_counts() -> None:
    assert await fields_of(request(b"a=1&a=2"), OPEN) == {"a": "2"}


@pytest.mark.parametrize("kind", [FORM.upper(), f"{FORM}; charset=utf-8", f" {FORM} "])
async def test_the_kind_of_a_form_may_be_written_in_other_ways(kind: str) -> None:
    assert await fields_of(request(b"a=1", kind=kind), OPEN) == {"a": "1"}


WRONG = {
    "no form": request(b"a=1", kind="application/json"),
    "a form for files": request(b"a=1", kind="multipart/form-data"),
    "plain text, which a page of another site may send": request(b"a=1", kind="text/plain"),
    "no kind": request(b"a=1", kind=""),
    "bytes that are no text": request(b"a=\xff"),
    "bytes that are no text, encoded": request(b"a=%ff"),
    "too many fields": request(b"&".join(b"a%d=1" % number for number in range(60))),
}


@pytest.mark.parametrize("sent", WRONG.values(), ids=WRONG)
async def test_what_is_no_form_of_the_page_is_refused_with_a_sentence(sent: Request) -> None:
    with pytest.raises(CallError, match="That is not a form of this page") as caught:
        await fields_of(sent, OPEN)
    assert caught.value.status.code == code_pb2.INVALID_ARGUMENT


async def test_of_a_large_form_only_the_beginning_is_read() -> None:
    with pytest.raises(CallError, match="it has over 65,536 bytes"):
        await fields_of(request(*[b"a=" + b"x" * 8_000] * 1_000), OPEN)
