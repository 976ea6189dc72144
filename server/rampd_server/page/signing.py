"""Signing in: a person pastes a token once, and the browser keeps it as a cookie."""

from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from google.rpc import code_pb2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rampd_server.http.call import counted, proven
from rampd_server.http.context import CallError
from rampd_server.http.errors import STATUS_OF
from rampd_server.page import session
from rampd_server.page.forms import fields_of
from rampd_server.page.rendering import page
from rampd_server.rpc.binding import Handlers
from rampd_server.rpc.door import Door

SIGN_IN: Final = "/sign-in"
SIGN_OUT: Final = "/sign-out"


def routes(handlers: Handlers, door: Door) -> list[BaseRoute]:
    """The addresses to sign in and out."""

    async def form(request: Request) -> Response:
        return await _form(request)

    async def sign_in(request: Request) -> Response:
        try:
            with counted(handlers, SIGN_IN):
                fields = await fields_of(request, door)
                credential = "".join(fields.get("token", "").split())
                if not session.is_own_form(request, fields):
                    return await _form(request, "The form is out of date. Send it again.", HTTPStatus.FORBIDDEN)
                if not credential or len(credential) > session.MOST_CREDENTIAL or not credential.isascii():
                    return await _form(request, "That is no token: a token begins with rampd_.", HTTPStatus.BAD_REQUEST)
                caller = await proven(door, session.with_credential(_without_body(request), credential))
        except CallError as error:
            said = error.status.message
            if error.status.code == code_pb2.UNAUTHENTICATED:
                said = f"The server does not take this token. {said}"
            return await _form(request, said, STATUS_OF[error.status.code])
        response = RedirectResponse(_inside(fields.get("to", "/")), HTTPStatus.SEE_OTHER)
        session.sign_in(response, request, credential, caller)
        return response

    async def sign_out(request: Request) -> Response:
        try:
            fields = await fields_of(request, door)
        except CallError as error:
            return await _form(request, error.status.message, STATUS_OF[error.status.code])
        response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
        if session.is_own_form(request, fields):
            session.sign_out(response, request)
        return response

    return [
        Route(SIGN_IN, form, methods=["GET"]),
        Route(SIGN_IN, sign_in, methods=["POST"]),
        Route(SIGN_OUT, sign_out, methods=["POST"]),
    ]


async def _form(request: Request, wrong: str = "", status: int = HTTPStatus.OK) -> Response:
    key = session.form_key(request)
    to = _inside(request.query_params.get("to", "/"))
    response = await page("sign_in.html", status, form_key=key, wrong=wrong, to=to)
    session.keep_form_key(response, request, key)
    return response


def _inside(path: str) -> str:
    """Returns the path if it is one of this page: a link must not lead people elsewhere after they have signed in."""
    parts = urlsplit(path)
    is_here = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and path.isprintable()
    return path if is_here else "/"


def _without_body(request: Request) -> Request:
    """The body has been read. What looks at the caller does not need it."""
    return Request(request.scope, request.receive)
