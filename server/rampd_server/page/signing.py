"""Signing in and out: a person pastes a token once, and the browser keeps it as a cookie."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from google.rpc import code_pb2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from rampd_server.http.call import proven
from rampd_server.http.errors import STATUS_OF
from rampd_server.page import session
from rampd_server.page.addresses import inside
from rampd_server.page.forms import fields_of
from rampd_server.page.sign_in_form import SIGN_IN, SIGN_OUT, sign_in_form
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door

_NO_TOKEN: Final = "That is no token: a token begins with rampd_."  # noqa: S105 - a sentence
_NOT_OURS: Final = (
    "The form is out of date, or this browser has sent no cookie with it. Send it again. Browsers keep the cookies of this page only "
    "over https://, or on the machine of the server itself."
)
_STILL_IN: Final = "You are still signed in: the form is out of date. Sign out here."


def routes(door: Door) -> list[Route]:
    """The addresses to sign in with a token, and to sign out."""

    async def form(request: Request) -> Response:
        to = request.query_params.get("to", "/")
        if door.credentials is None:
            # There is nothing to sign in with: everybody who reaches this address may do the same.
            return RedirectResponse(inside(to), HTTPStatus.SEE_OTHER)
        return await sign_in_form(request, door, to=to)

    async def sign_in(request: Request) -> Response:
        fields: Mapping[str, str] = {}
        try:
            fields = await fields_of(request, door)
            return await _signed_in(request, fields, door)
        except CallError as error:
            said = error.status.message
            if fields and error.status.code == code_pb2.UNAUTHENTICATED:
                said = f"The server does not take this token. {said}"
            status = STATUS_OF[error.status.code]
            return await sign_in_form(request, door, to=fields.get("to", "/"), wrong=said, status=status)

    async def sign_out(request: Request) -> Response:
        try:
            fields = await fields_of(request, door)
        except CallError as error:
            status = STATUS_OF[error.status.code]
            return await sign_in_form(request, door, to="/", wrong=error.status.message, status=status)
        if not session.is_own_form(request, fields):
            return await sign_in_form(request, door, to="/", wrong=_STILL_IN, status=HTTPStatus.FORBIDDEN)
        response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
        session.sign_out(response, request)
        return response

    return [
        Route(SIGN_IN, form, methods=["GET"]),
        Route(SIGN_IN, sign_in, methods=["POST"]),
        Route(SIGN_OUT, sign_out, methods=["POST"]),
    ]


async def _signed_in(request: Request, fields: Mapping[str, str], door: Door) -> Response:
    """Raises CallError: the token is not taken."""
    to = fields.get("to", "/")
    if not session.is_own_form(request, fields):
        return await sign_in_form(request, door, to=to, wrong=_NOT_OURS, status=HTTPStatus.FORBIDDEN)
    # A terminal may have broken a line in the middle.
    token = "".join(fields.get("token", "").split())
    if not session.is_token(token):
        return await sign_in_form(request, door, to=to, wrong=_NO_TOKEN, status=HTTPStatus.BAD_REQUEST)
    caller = await proven(door, session.with_credential(request, token))
    response = RedirectResponse(inside(to), HTTPStatus.SEE_OTHER)
    session.sign_in(response, request, token, caller)
    return response
