"""The page on which people sign in."""

from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from rampd_server.http.call import proven
from rampd_server.page import session
from rampd_server.page.addresses import inside
from rampd_server.page.rendering import page
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door

SIGN_IN: Final = "/sign-in"
SIGN_OUT: Final = "/sign-out"
BY_ISSUER: Final = "/sign-in/oidc"


async def sign_in_form(
    request: Request, door: Door, *, to: str, wrong: str = "", status: int = HTTPStatus.OK
) -> Response:
    """Returns the page. After signing in, people go `to` a path. `wrong` says why they are not signed in yet."""
    key = session.form_key(request)
    is_signed_in = session.is_signed_in(request)
    # Who has done something wrong stays who they are: other tabs hear nothing.
    taken_for = None if wrong else ""
    if not wrong:
        try:
            caller = await proven(door, session.as_signed_in(request)) if is_signed_in else door.without_credentials()
            taken_for = "" if caller is None else caller.identity
        except CallError as error:
            wrong = f"The server does not take any more what this browser has kept. {error.status.message}"
    by_issuer = None if door.credentials is None else door.credentials.sign_in
    response = await page(
        "sign_in.html",
        status,
        form_key=key,
        identity=taken_for if is_signed_in else "",
        taken_for=taken_for,
        is_signed_in=is_signed_in,
        issuer=urlsplit(by_issuer.issuer).netloc if by_issuer else "",
        to=inside(to),
        wrong=wrong,
    )
    session.keep_form_key(response, request, key)
    return response
