"""Who is signed in: a cookie holds the credential, so any server and any worker knows the person, and nothing is kept here.

Only the routes of the page look at the cookie. The API does not, so a page of another site can't call it with the cookie.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from rampd._contract.loopback import is_loopback
from rampd_server.access.grants import Caller

FORM_KEY: Final = "form_key"
"""The field of every form that changes something. It repeats the value of a cookie, which no other site can read."""
MOST_CREDENTIAL: Final = 3_800
"""The most characters of a credential: browsers keep about 4 KiB of a cookie."""

_LASTS_S: Final = 12 * 3_600
_CREDENTIAL: Final = "rampd-credential"
_FORM: Final = "rampd-form"


def sign_in(response: Response, request: Request, credential: str, caller: Caller) -> None:
    """Keeps a credential in the browser: for twelve hours, or until it ends if that is earlier."""
    left_s = _LASTS_S if caller.expires_s is None else min(_LASTS_S, int(caller.expires_s - time.time()))
    _set(response, request, _CREDENTIAL, credential, max(left_s, 1))


def sign_out(response: Response, request: Request) -> None:
    """Makes the browser forget the credential."""
    _set(response, request, _CREDENTIAL, "", 0)


def is_signed_in(request: Request) -> bool:
    """Whether the browser has sent a credential."""
    return _name(request, _CREDENTIAL) in request.cookies


def as_signed_in(request: Request) -> Request:
    """Returns the request with the credential of its cookie as the header that the API looks at. A credential that the request
    itself has goes first, as one of a proxy does.
    """
    credential = request.cookies.get(_name(request, _CREDENTIAL), "")
    if not credential or "authorization" in request.headers:
        return request
    return with_credential(request, credential)


def with_credential(request: Request, credential: str) -> Request:
    """Returns the request as if it had come with this credential."""
    header = (b"authorization", b"Bearer " + credential.encode("latin-1", "replace"))
    return Request({**request.scope, "headers": [*request.scope["headers"], header]}, request.receive)


def form_key(request: Request) -> str:
    """Returns the value that a form of this page repeats."""
    return request.cookies.get(_name(request, _FORM)) or secrets.token_urlsafe(32)


def keep_form_key(response: Response, request: Request, key: str) -> None:
    """Makes the browser send the value that its forms repeat."""
    if request.cookies.get(_name(request, _FORM)) != key:
        _set(response, request, _FORM, key, _LASTS_S)


def is_own_form(request: Request, fields: Mapping[str, str]) -> bool:
    """Whether a form that was sent is one of this page. Another site can make a browser send a form, but can't know the key."""
    kept, sent = request.cookies.get(_name(request, _FORM), ""), fields.get(FORM_KEY, "")
    return bool(kept) and secrets.compare_digest(kept.encode(), sent.encode())


def is_from_elsewhere(request: Request) -> bool:
    """Whether the browser came over a link of another site. Then it holds back a cookie that is strictly for this one."""
    return request.headers.get("sec-fetch-site") == "cross-site"


def _set(response: Response, request: Request, name: str, value: str, lasts_s: int) -> None:
    response.set_cookie(
        _name(request, name),
        value,
        max_age=lasts_s,
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )


def _name(request: Request, name: str) -> str:
    # With this prefix, a browser takes the cookie from this host alone, and only over TLS.
    return f"__Host-{name}" if _is_secure(request) else name


def _is_secure(request: Request) -> bool:
    """Whether the cookie is only for TLS: everywhere but on a name of this machine. A proxy in front may have ended the TLS."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    return request.url.scheme == "https" or not is_loopback(host)
