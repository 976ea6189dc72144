"""Asks Prometheus over HTTP. Every error becomes an answer without a value, in words that an admin understands."""

import asyncio
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import httpx

from rampd._contract.small_file import content_of
from rampd_server.domain.automation.check_answer import Answer, Judgement, error, judge_answer, read_answer
from rampd_server.process.address import PrometheusUrl
from rampd_server.tracing import switch

MAX_BYTES = 64 * 1024
"""The longest answer that is read. One number with its labels is far smaller. A query that finds a thousand series is not a
valid check."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_MAX_TOKEN_BYTES = 16 * 1024
_MIN_TIMEOUT_S = 0.1
_PATH = "/api/v1/query"
_ABOUT_QUERY = (400, 422)
"""The statuses with which Prometheus, or a compatible server, says that the query itself is wrong."""


class TokenError(Exception):
    """Raised when a file has no bearer token. The message contains nothing of the file."""


def read_token(path: Path) -> str:
    """The bearer token in a file, without the space around it. Raises TokenError."""
    try:
        data = content_of(path)
    except OSError as exc:
        raise TokenError(f"the token file {path} can't be read: {exc.strerror}") from exc
    token = data.decode("ascii", "replace").strip()
    if len(data) > _MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
        raise TokenError(f"the token file {path} has no bearer token: one word of A-Z a-z 0-9 . _ ~ + / - is expected")
    return token


class _Reply(NamedTuple):
    status: int
    document: object
    """Decoded JSON, whatever is in it."""


class Prometheus:
    """A `Source` that sends instant queries to one Prometheus, or to a compatible server. End it with `close`.

    It follows no redirect, uses no proxy and no netrc, and keeps no connection. It only asks the configured address, so no
    other server gets the credentials. A token is read from its file for each question, so a new one is used at once.
    """

    def __init__(
        self,
        url: PrometheusUrl,
        *,
        timeout_s: float,
        token_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._place = url.without_credentials
        self._timeout_s = timeout_s
        self._token_file = token_file
        self._has_user = url.credentials is not None
        self._client = httpx.AsyncClient(
            auth=httpx.BasicAuth(*url.credentials) if url.credentials else None,
            headers={**(headers or {}), "Accept": "application/json", "Accept-Encoding": "identity"},
            verify=ssl.create_default_context(),
            timeout=timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
        )
        self._spans = switch.spans()

    def _span(self) -> AbstractContextManager[object]:
        """The span of a question, without the query, which may be long. Prometheus and proxies get its place in the trace."""
        if self._spans is None:
            return nullcontext()
        attributes = {"http.request.method": "POST", "url.full": f"{self._place}{_PATH}"}
        return self._spans.client("POST", attributes)

    async def ask(self, query: str) -> Answer:
        """Returns the answer to a query now, within the time-out. Raises only cancellation."""
        reply = await self._exchange({"query": query}, self._timeout_s)
        return error(reply) if isinstance(reply, str) else read_answer(reply.document)

    async def judge(self, query: str, *, timeout_s: float | None = None) -> Judgement:
        """Returns whether Prometheus accepts a query, within the time-out or `timeout_s`. Raises only cancellation.

        The query is sent for 1970, when nobody has data. So Prometheus parses it and checks its types as always, at almost
        no cost. Every version and every compatible server answers this, unlike `/api/v1/parse_query`.
        """
        within_s = self._timeout_s if timeout_s is None else min(max(timeout_s, _MIN_TIMEOUT_S), self._timeout_s)
        reply = await self._exchange({"query": query, "time": "0"}, within_s)
        if isinstance(reply, str):
            return Judgement(doubt=reply)
        return judge_answer(reply.document, is_about_query=reply.status in _ABOUT_QUERY)

    async def close(self) -> None:
        await self._client.aclose()

    async def _exchange(self, form: dict[str, str], timeout_s: float) -> _Reply | str:
        """Returns the reply of Prometheus to a form, or says why there is no reply."""
        try:
            with self._span():
                async with asyncio.timeout(timeout_s):
                    return await self._post({**form, "timeout": f"{timeout_s:g}"})
        except (TimeoutError, httpx.TimeoutException):
            return f"{self._place} took longer than {timeout_s:.3g} s"
        except TokenError as exc:
            return str(exc)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            return self._trouble(exc)

    async def _post(self, form: dict[str, str]) -> _Reply | str:
        headers = {} if self._spans is None else self._spans.headers()
        if self._token_file is not None:
            # A file may be on a disk that does not answer, and Resolve must not wait for it.
            headers["Authorization"] = f"Bearer {await asyncio.to_thread(read_token, self._token_file)}"
        url = f"{self._place}{_PATH}"
        async with self._client.stream("POST", url, data=form, headers=headers) as response:
            if self._spans is not None:
                self._spans.answered(response.status_code)
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    return (
                        f"the answer of {self._place} is over {MAX_BYTES // 1024} KiB, but the check needs one number"
                    )
        return self._read(response, bytes(body))

    def _read(self, response: httpx.Response, body: bytes) -> _Reply | str:
        status = response.status_code
        if response.is_redirect:
            return f"{self._place} answered {status}, a redirect: configure the address that it redirects to"
        if status in (401, 403):
            return self._refused(f"{status} {response.reason_phrase}".strip(), knows_who_asks=status == 403)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
            if response.is_success:
                return f"the answer of {self._place} is not JSON: is this a Prometheus?"
        if not response.is_success and not (isinstance(document, dict) and document.get("status") == "error"):
            return f"{self._place} answered {status} {response.reason_phrase}"
        return _Reply(status, document)

    def _refused(self, status: str, *, knows_who_asks: bool) -> str:
        """Says whether the credentials must be corrected in Prometheus or in this server."""
        sent = f"the token in {self._token_file}" if self._token_file else "the user and password of --prometheus-url"
        if not self._token_file and not self._has_user:
            return (
                f"{self._place} requires credentials ({status}), and this server sends none: give it "
                "--prometheus-token-file, or --prometheus-header for a tenant"
            )
        if knows_who_asks:
            return f"{self._place} does not let this server query ({status}): allow it there, for {sent}"
        return f"{self._place} does not take {sent} ({status}): put the right one there"

    def _trouble(self, exc: Exception) -> str:
        for cause in _causes(exc):
            match cause:
                case ConnectionRefusedError():
                    return f"connection refused by {self._place}"
                case socket.gaierror():
                    return f"the host of {self._place} is not known: {cause.strerror}"
                case ssl.SSLError():
                    return f"no trusted connection to {self._place}: {cause.reason or cause}"
        if isinstance(exc, httpx.ConnectError):
            return f"{self._place} can't be reached: {exc}"
        return f"{self._place} closed the connection, or does not speak HTTP: {exc or type(exc).__name__}"


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
