"""Prometheus, asked over HTTP. Whatever goes wrong is an answer without a value, in words that an admin understands."""

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator

import httpx

from rampd_server.address import PrometheusUrl
from rampd_server.domain.check_answer import Answer, error, read_answer

MAX_BYTES = 64 * 1024
"""Of an answer. One number with its labels is far less; a query that finds a thousand series is no check."""


class Prometheus:
    """A `Source` of answers: instant queries to one Prometheus, or what speaks as it does. End it with `close`.

    It follows no redirect, uses no proxy and no netrc, and keeps no connection: the address is the one that is configured.
    """

    def __init__(self, url: PrometheusUrl, *, timeout_s: float) -> None:
        self._place = url.without_credentials
        self._timeout_s = timeout_s
        credentials = url.credentials
        self._client = httpx.AsyncClient(
            auth=httpx.BasicAuth(*credentials) if credentials else None,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            verify=ssl.create_default_context(),
            timeout=timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
        )

    async def ask(self, query: str) -> Answer:
        """What a query is answered now, within the time-out. Raises nothing but cancellation."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(query)
        except (TimeoutError, httpx.TimeoutException):
            return error(f"{self._place} took longer than {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            return error(self._trouble(exc))

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, query: str) -> Answer:
        form = {"query": query, "timeout": f"{self._timeout_s:g}"}
        async with self._client.stream("POST", f"{self._place}/api/v1/query", data=form) as response:
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    return error(
                        f"the answer of {self._place} is over {MAX_BYTES // 1024} KiB, where one number is wanted"
                    )
        return self._read(response, bytes(body))

    def _read(self, response: httpx.Response, body: bytes) -> Answer:
        status = response.status_code
        if response.is_redirect:
            return error(f"{self._place} answered {status}, it is elsewhere: configure where it is")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
            if response.is_success:
                return error(f"the answer of {self._place} is no JSON: is it a Prometheus?")
        if not response.is_success and not (isinstance(document, dict) and document.get("status") == "error"):
            return error(f"{self._place} answered {status} {response.reason_phrase}")
        return read_answer(document)

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
        return f"{self._place} broke off, or speaks no HTTP: {exc or type(exc).__name__}"


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
