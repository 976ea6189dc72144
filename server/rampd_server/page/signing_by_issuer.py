"""Signing in with an account of an OIDC issuer: the ID token becomes the credential that the browser keeps.

The browser goes to the issuer and comes back. Meanwhile what the end needs is in a cookie of the browser, and nothing is kept here.
"""

import secrets
from collections.abc import Mapping
from dataclasses import astuple
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from rampd_server.access.grants import Caller
from rampd_server.access.sign_in import Attempt, PeopleIssuer, SignInError, claims_of, said
from rampd_server.http.call import proven
from rampd_server.http.errors import STATUS_OF
from rampd_server.page import session
from rampd_server.page.addresses import inside
from rampd_server.page.sign_in_form import BY_ISSUER, sign_in_form
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door

BACK: Final = f"{BY_ISSUER}/return"
_APART: Final = "."
_MOST_CHARACTERS: Final = 2_000
"""Of the path to which somebody goes afterwards. A longer one is left out."""
_NO_ISSUER: Final = "Nobody signs in by an issuer here: the access file has no [sign_in]. Sign in with a token."
_NO_ATTEMPT: Final = "This sign-in was not begun in this browser, or it has taken more than ten minutes. Begin again."


def routes(door: Door) -> list[Route]:
    """The addresses from which a browser goes to the issuer, and to which it comes back."""
    signing = _Signing(door)
    return [Route(BY_ISSUER, signing.begin, methods=["GET"]), Route(BACK, signing.end, methods=["GET"])]


class _Signing:
    def __init__(self, door: Door) -> None:
        self._door = door
        self._issuer: PeopleIssuer | None = None

    async def begin(self, request: Request) -> Response:
        """Sends the browser to the issuer."""
        attempt, to, issuer = Attempt.new(), inside(request.query_params.get("to", "/")), self._present_issuer()
        if issuer is None:
            return await self._refusal(request, to, _NO_ISSUER, HTTPStatus.NOT_FOUND)
        try:
            url = await issuer.begin(attempt, _back(request))
        except SignInError as error:
            return await self._refusal(request, to, str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
        session.keep_attempt(response, request, _text(attempt, to))
        return response

    async def end(self, request: Request) -> Response:
        """Takes what the browser brings from the issuer."""
        query, issuer = request.query_params, self._present_issuer()
        attempt, to = _read(session.attempt(request))
        if issuer is None:
            return await self._refusal(request, to, _NO_ISSUER, HTTPStatus.NOT_FOUND)
        if attempt is None or not secrets.compare_digest(query.get("state", "").encode(), attempt.state.encode()):
            return await self._refusal(request, to, _NO_ATTEMPT, HTTPStatus.BAD_REQUEST)
        try:
            code = _code(query, issuer.settings.issuer)
            token = await issuer.end(attempt, code, _back(request), peer=_peer(request))
            caller = await self._caller(request, token)
        except SignInError as error:
            response = await self._refusal(request, to, str(error), HTTPStatus.FORBIDDEN)
        except CallError as error:
            text = f"{error.status.message} {_who(token)}"
            response = await self._refusal(request, to, text, STATUS_OF[error.status.code])
        else:
            response = RedirectResponse(to, HTTPStatus.SEE_OTHER)
            session.sign_in(response, request, token, caller)
        session.forget_attempt(response, request)
        return response

    async def _caller(self, request: Request, token: str) -> Caller:
        """Raises SignInError: a browser can't keep the token. Raises CallError: no grant takes it."""
        if not session.is_token(token):
            raise SignInError(
                f"The ID token has {len(token):,} characters, and a browser keeps {session.MOST_CHARACTERS:,}. An admin can ask the "
                "issuer for less: `scopes` in the access file, or the groups that it puts into tokens."
            )
        return await proven(self._door, session.with_credential(request, token))

    def _present_issuer(self) -> PeopleIssuer | None:
        """Returns the issuer of the access file in force. None: it names none."""
        settings = None if self._door.credentials is None else self._door.credentials.sign_in
        if settings is None:
            return None
        if self._issuer is None or self._issuer.settings != settings:
            self._issuer = PeopleIssuer(settings)
        return self._issuer

    async def _refusal(self, request: Request, to: str, why: str, status: int) -> Response:
        return await sign_in_form(request, self._door, to=to, wrong=why, status=status)


def _back(request: Request) -> str:
    return f"{session.site(request)}{BACK}"


def _peer(request: Request) -> str:
    return "" if request.client is None else request.client.host


def _code(query: Mapping[str, str], issuer: str) -> str:
    """Returns the code that the issuer has given to the browser. Raises SignInError: it has given none."""
    code = query.get("code", "")
    if "error" in query or not code:
        raise SignInError(f"{issuer} has not signed you in: {said(query) or 'it has sent no code'}.")
    return code


def _text(attempt: Attempt, to: str) -> str:
    """An attempt as the text of a cookie."""
    kept = quote(to, safe="")
    return _APART.join((*astuple(attempt), kept if len(kept) <= _MOST_CHARACTERS else ""))


def _read(text: str) -> tuple[Attempt | None, str]:
    """Returns the attempt of a cookie, and where to go after it. None: it is no attempt."""
    *parts, to = text.split(_APART, 3)
    complete = len(parts) == 3 and all(parts)
    return Attempt(*parts) if complete else None, inside(unquote(to))


def _who(token: str) -> str:
    """Says who somebody is for the issuer, so that an admin can make a grant."""
    claims = claims_of(token)
    names = ", ".join(f"{name} {claims[name]}" for name in ("sub", "email") if name in claims)
    return f"For the issuer you are {names}." if names else ""
