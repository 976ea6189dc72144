"""Who is signed in: a cookie holds the credential, so any server and any worker knows the person, and nothing is kept here.

Only the routes of the page look at the cookie. The API does not, so a page of another site can't call it with the cookie.
"""

import re
import secrets
import time
from collections.abc import Mapping
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from rampd._contract.loopback import is_loopback
from rampd_server.access.grants import Caller
from rampd_server.http.guard import host_of

FORM_KEY: Final = "form_key"
"""The field of every form that changes something. It repeats the value of a cookie, which no other site can read."""

_LASTS_S: Final = 12 * 3_600
_CREDENTIAL: Final = "rampd-credential"
_FORM: Final = "rampd-form"
_ATTEMPT: Final = "rampd-attempt"
_ATTEMPT_LASTS_S: Final = 600
MOST_CHARACTERS: Final = 3_800
"""Of a credential: a browser keeps about 4 KiB of a cookie, with its name and attributes."""
_TOKEN: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{MOST_CHARACTERS}}}", re.ASCII)
"""Tokens of rampd and of OIDC issuers have these characters. They need no quotes in a cookie."""
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def is_token(text: str) -> bool:
    """Whether a text may be a credential that a browser can keep."""
    return _TOKEN.fullmatch(text) is not None


def sign_in(response: Response, request: Request, credential: str, caller: Caller) -> None:
    """Keeps a credential in the browser: for twelve hours, or until it ends if that is earlier. A form that was made before, maybe for
    somebody else, is out of date then.
    """
    left_s = _LASTS_S if caller.expires_s is None else min(_LASTS_S, int(caller.expires_s - time.time()))
    _set(response, request, _CREDENTIAL, credential, max(left_s, 1))
    keep_form_key(response, request, _new_key())


def sign_out(response: Response, request: Request) -> None:
    """Makes the browser forget the credential. A form that was made before is out of date then."""
    _set(response, request, _CREDENTIAL, "", 0)
    keep_form_key(response, request, _new_key())


def is_signed_in(request: Request) -> bool:
    """Whether the browser has sent a credential."""
    return bool(_cookie(request, _CREDENTIAL))


def is_held_back(request: Request) -> bool:
    """Whether the browser may have a credential and has not sent it. It came over a link of another site, and holds back a cookie that
    is strictly for this one. It sends the cookie when the page itself asks again.
    """
    return (
        request.method in {"GET", "HEAD"}
        and request.headers.get("sec-fetch-site") == "cross-site"
        and not is_signed_in(request)
        and "authorization" not in request.headers
    )


def as_signed_in(request: Request) -> Request:
    """Returns the request with the credential of its cookie as the header that the API looks at. A credential that the request
    itself has goes first, as one of a proxy does.
    """
    if "authorization" in request.headers or not is_signed_in(request):
        return request
    return with_credential(request, _cookie(request, _CREDENTIAL))


def with_credential(request: Request, credential: str) -> Request:
    """Returns the request as if it had come with this credential, and no other."""
    others = [header for header in request.scope["headers"] if header[0] != b"authorization"]
    header = (b"authorization", b"Bearer " + credential.encode("latin-1", "replace"))
    return Request({**request.scope, "headers": [*others, header]}, request.receive)


def form_key(request: Request) -> str:
    """Returns the value that a form of this page repeats."""
    kept = _cookie(request, _FORM)
    return kept if _KEY.fullmatch(kept) else _new_key()


def keep_form_key(response: Response, request: Request, key: str) -> None:
    """Makes the browser send the value that its forms repeat, for twelve hours from now."""
    _set(response, request, _FORM, key, _LASTS_S)


def is_own_form(request: Request, fields: Mapping[str, str]) -> bool:
    """Whether a form that was sent is one of this page. Another site can make a browser send a form, but can't know the key."""
    kept, sent = _cookie(request, _FORM), fields.get(FORM_KEY, "")
    return bool(_KEY.fullmatch(kept)) and secrets.compare_digest(kept.encode(), sent.encode())


def keep_attempt(response: Response, request: Request, attempt: str) -> None:
    """Keeps what a sign-in needs when the browser comes back from an issuer. The browser comes from another site then, so this cookie
    is not strictly for this one.
    """
    _set(response, request, _ATTEMPT, attempt, _ATTEMPT_LASTS_S, samesite="lax")


def attempt(request: Request) -> str:
    """Returns what was kept; empty without it."""
    return _cookie(request, _ATTEMPT)


def forget_attempt(response: Response, request: Request) -> None:
    """Makes the browser forget it: an attempt ends once."""
    _set(response, request, _ATTEMPT, "", 0, samesite="lax")


def site(request: Request) -> str:
    """Returns how the browser calls this server: `https://rampd.example.com`."""
    return f"{'https' if _is_secure(request) else 'http'}://{request.headers.get('host', '')}"


def _new_key() -> str:
    return secrets.token_urlsafe(32)


def _set(
    response: Response,
    request: Request,
    name: str,
    value: str,
    lasts_s: int,
    *,
    samesite: Literal["strict", "lax"] = "strict",
) -> None:
    response.set_cookie(
        _name(request, name),
        value,
        max_age=lasts_s,
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite=samesite,
    )


def _cookie(request: Request, name: str) -> str:
    """The value that the browser has sent; empty without one. Starlette would take every cookie apart, and a quoted one in a time that
    grows with the square of its length.
    """
    wanted = f"{_name(request, name)}="
    for header in request.headers.getlist("cookie"):
        for each in header.split(";"):
            if (found := each.strip()).startswith(wanted):
                return found.removeprefix(wanted)
    return ""


def _name(request: Request, name: str) -> str:
    # With this prefix, a browser takes the cookie from this host alone, and only over TLS.
    return f"__Host-{name}" if _is_secure(request) else name


def _is_secure(request: Request) -> bool:
    """Whether the cookies are only for TLS: everywhere but on a name of this machine. A proxy in front may have ended the TLS."""
    return request.scope["scheme"] == "https" or not is_loopback(host_of(request.scope))
