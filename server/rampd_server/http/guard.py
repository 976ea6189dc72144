"""What every request passes before it reaches a route, and every answer after.

A browser can be made to send requests to this port by any page that its user looks at. So a request that comes from another
page is refused, and a server that asks for no credential answers only to the names of its own machine. Where a grant is for
everybody, a browser without a credential is answered only if no other site can have led it here.
"""

import asyncio
import contextlib
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rampd._contract.loopback import is_loopback
from rampd_server.http.context import HttpContext
from rampd_server.http.evaluation import ErrorCode, Refusal
from rampd_server.http.health import Health
from rampd_server.rpc import refused_calls
from rampd_server.rpc.server import MAX_HEADERS_BYTES

_OFREP: Final = "/ofrep/"
_REST_BYTES: Final = 64 * 1024
_REST_S: Final = 1.0

_log: Final = structlog.get_logger(__name__)


class Guard:
    """Refuses requests that no client of rampd sends, and answers where the application fails."""

    def __init__(
        self,
        application: ASGIApp,
        health: Health,
        *,
        is_local: bool,
        takes_everybody: Callable[[], bool],
        count: Callable[[str, str], None],
    ) -> None:
        """`takes_everybody` says whether who sends no credential is somebody. `count` counts a request that does not reach its route, by
        its path and the status.
        """
        self._application = application
        self._health = health
        self._is_local = is_local
        self._takes_everybody = takes_everybody
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        is_started = False

        async def sending(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                headers = MutableHeaders(scope=message)
                headers["x-content-type-options"] = "nosniff"
                if self._health.is_stopping:
                    headers["connection"] = "close"
            await send(message)

        try:
            wrong = self._wrong(scope)
            if wrong is not None:
                self._count(scope["path"], wrong.code.upper())
                _tell(scope, wrong)
                await _take_rest(receive)
            application = self._application if wrong is None else wrong.answer(scope["path"])
            await application(scope, receive, sending)
        except Exception as error:
            request_id = secrets.token_hex(8)
            _log.error("request_failed", path=scope["path"], request_id=request_id, exc_info=error)
            self._count(scope["path"], "INTERNAL")
            if is_started:
                raise
            text = f"This is a defect of rampd. The server's log has the request id {request_id}."
            refusal = _Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", text)
            await refusal.answer(scope["path"])(scope, receive, sending)
        except asyncio.CancelledError:
            # Only a server that stops cancels a request: see server.py.
            if is_started:
                raise
            text = "This server stops. Send the request again, to another server."
            refusal = _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", text)
            await refusal.answer(scope["path"])(scope, receive, sending)

    def _wrong(self, scope: Scope) -> "_Refusal | None":
        headers = Headers(scope=scope)
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_HEADERS_BYTES:
            text = f"The target of a request has at most {MAX_HEADERS_BYTES:,} bytes. Send more as the body of a POST."
            return _Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "resource_exhausted", text)
        if sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEADERS_BYTES:
            # The parser has no limit for headers that come in one piece.
            text = f"The headers of a request have at most {MAX_HEADERS_BYTES:,} bytes together."
            return _Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "resource_exhausted", text)
        if "transfer-encoding" in headers and "content-length" in headers:
            # The two may differ, and a proxy in between may use the other one.
            return _Refusal(
                HTTPStatus.BAD_REQUEST, "invalid_argument", "Send content-length or transfer-encoding, not both."
            )
        host = headers.get("host", "")
        if self._is_local and not is_loopback(host_of(scope)):
            return _Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "permission_denied",
                "This address asks for no credential, so it answers only to the names of its own machine, such as localhost and "
                "127.0.0.1. For other names, give the server an --access-file.",
                "host",
            )
        if _may_be_led_here(scope, headers) and self._takes_everybody():
            return _Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "permission_denied",
                "A browser without a credential is not answered by this name over http://, because any site can lead a name of its own "
                "here. Use https://, or the IP address of the server.",
                "host",
            )
        origin = headers.get("origin")
        if origin is not None and not _is_own(_split(origin), host, scope):
            return _Refusal(
                HTTPStatus.FORBIDDEN,
                "permission_denied",
                "The request comes from a page of another host. Call rampd from a program, or from a page of its own host.",
                "origin",
            )
        return None


async def _take_rest(receive: Receive) -> None:
    """Reads the body of a request that is refused, if it is short and comes soon. A connection that is closed before is reset, and then
    the caller may not see the answer.
    """
    left = _REST_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REST_S):
            while left > 0:
                message = await receive()
                if not message.get("more_body"):
                    return
                left -= len(message["body"])


def _tell(scope: Scope, wrong: "_Refusal") -> None:
    """Logs a refusal because of who has sent the request."""
    value = Headers(scope=scope).get(wrong.header, "") if wrong.header else ""
    if value:
        why = f"{wrong.message} It says {wrong.header}: {value!r:.100}."
        refused_calls.tell_of_request(scope["path"], HttpContext(Request(scope)).peer, wrong.status.name, why)


def words_of(path: str, code: str, message: str) -> Mapping[str, str]:
    """An error without details as JSON, in the words of the protocol that a path belongs to. `code` is one of Connect."""
    # Providers of OpenFeature read errorCode without checking that it is there.
    return Refusal(ErrorCode.GENERAL, message).body() if path.startswith(_OFREP) else {"code": code, "message": message}


def host_of(scope: Scope) -> str:
    """The name, or the address, of this server in a request; empty if it has none."""
    return _split(f"//{Headers(scope=scope).get('host', '')}").hostname or ""


def _is_own(origin: SplitResult, host: str, scope: Scope) -> bool:
    """Whether a page is one of this server. A page in the clear is not one of a server with TLS: whoever is in between can write it.
    A proxy may have ended the TLS, so the reverse says nothing.
    """
    return origin.netloc.lower() == host.lower() and (scope.get("scheme") != "https" or origin.scheme == "https")


def _may_be_led_here(scope: Scope, headers: Headers) -> bool:
    """Whether a request may be that of a page of another site, which has led its own name to this address (DNS rebinding). For a
    browser, this server is the site then. But no certificate fits, so the request is in the clear. There a browser sends no
    `sec-fetch-site`, and a page can neither send that nor leave out `origin`, or in a GET `accept-language`. Programs send none of them.
    """
    is_browser = "origin" in headers or (scope["method"] in {"GET", "HEAD"} and "accept-language" in headers)
    is_safe = scope.get("scheme") == "https" or "sec-fetch-site" in headers or "authorization" in headers
    return is_browser and not is_safe and not _is_fixed(host_of(scope))


def _is_fixed(host: str) -> bool:
    """Whether nobody can lead a host elsewhere: it is an address, or `localhost`."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host)
    return True


def _split(url: str) -> SplitResult:
    """The parts of a URL; empty ones where it is none, such as `http://[`."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


class _Refusal(NamedTuple):
    status: HTTPStatus
    code: str
    """A code of Connect."""
    message: str
    header: str = ""
    """The header that shows who has sent the request. Empty: only the form of the request is wrong."""

    def answer(self, path: str) -> JSONResponse:
        return JSONResponse(words_of(path, self.code, self.message), self.status, headers={"connection": "close"})
