"""A Prometheus that is down, slow or answers nonsense is an error that an admin understands, and never a failure."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from rampd_server.address import PrometheusUrl
from rampd_server.automation.prometheus import MAX_BYTES, Prometheus
from rampd_server.domain.check_answer import Answer

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def http_server(serve: Serve) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Its port, and the requests that it got."""
    requests: list[bytes] = []
    calls: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls[asyncio.current_task()] = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            requests.append(head + await reader.readexactly(length))
            await serve(requests[-1], writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        server.close()
        for call, writer in calls.items():
            call.cancel()
            writer.transport.abort()
        await asyncio.gather(*calls, return_exceptions=True)


def saying(body: bytes, *, status: str = "200 OK", headers: str = "") -> Serve:
    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return serve


async def ask(port: int, *, timeout_s: float = 10, user: str = "", path: str = "") -> Answer:
    prometheus = Prometheus(PrometheusUrl(f"http://{user}127.0.0.1:{port}{path}"), timeout_s=timeout_s)
    try:
        return await prometheus.ask('up{tag="a&b"}')
    finally:
        await prometheus.close()


async def answer_to(serve: Serve, **options: object) -> Answer:
    async with http_server(serve) as (port, _):
        answer = await ask(port, **options)
    return Answer(answer.value, answer.error.replace(str(port), "9090"))


def vector(*values: str) -> bytes:
    result = [{"metric": {}, "value": [1.0, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


async def test_a_number_is_a_value():
    assert await answer_to(saying(vector("0.25"))) == Answer(0.25)


async def test_the_query_is_sent_as_a_form_with_the_credentials_of_the_url_and_nothing_else():
    async with http_server(saying(vector("1"))) as (port, requests):
        await ask(port, user="ada:p%40ss@", path="/prefix/")

    (request,) = requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /prefix/api/v1/query HTTP/1.1\r\n")
    assert b"Authorization: Basic YWRhOnBAc3M=" in head
    assert body == b"query=up%7Btag%3D%22a%26b%22%7D&timeout=10"


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (saying(vector()), "there is no data: the query finds no series"),
        (saying(vector("NaN")), "the value is NaN: there is nothing to divide by, perhaps"),
        (saying(vector("1", "2")), "the query finds 2 series, and one is needed: put sum() or max() around it"),
        (saying(b"<html>hello</html>"), "the answer of http://127.0.0.1:9090 is no JSON: is it a Prometheus?"),
        (saying(b""), "the answer of http://127.0.0.1:9090 is no JSON: is it a Prometheus?"),
        (saying(b"[" * 60_000), "the answer of http://127.0.0.1:9090 is no JSON: is it a Prometheus?"),
        (saying(b"9" * 60_000), "the answer of http://127.0.0.1:9090 is no JSON: is it a Prometheus?"),
        (saying(b"\xff\xfe{"), "the answer of http://127.0.0.1:9090 is no JSON: is it a Prometheus?"),
        (saying(b"{}"), "the answer is not of the form that Prometheus gives to a query"),
        (saying(b"busy", status="503 Service Unavailable"), "http://127.0.0.1:9090 answered 503 Service Unavailable"),
        (saying(vector("1"), status="500 Oh"), "http://127.0.0.1:9090 answered 500 Oh"),
        (saying(b"{}", status="401 Unauthorized"), "http://127.0.0.1:9090 answered 401 Unauthorized"),
        (
            saying(b'{"status":"error","errorType":"bad_data","error":"parse error"}', status="400 Bad Request"),
            "Prometheus says: parse error",
        ),
        (
            saying(gzip.compress(vector("1")), headers="Content-Encoding: gzip\r\n"),
            "the answer of http://127.0.0.1:9090 is no JSON: is it a Prometheus?",
        ),
    ],
)
async def test_what_is_no_number_is_an_error(serve: Serve, error: str):
    assert await answer_to(serve) == Answer(error=error)


async def test_a_huge_answer_is_not_read_to_its_end():
    sent = 0

    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 1_000_000_000:
            writer.write(b"[" * 65_536)
            sent += 65_536
            await writer.drain()

    answer = await answer_to(serve)

    assert answer.error == "the answer of http://127.0.0.1:9090 is over 64 KiB, where one number is wanted"
    assert sent < 1000 * MAX_BYTES


async def test_a_redirect_is_not_followed():
    async with http_server(saying(vector("1"))) as (elsewhere, followed):
        serve = saying(b"", status="302 Found", headers=f"Location: http://127.0.0.1:{elsewhere}/\r\n")
        answer = await answer_to(serve, user="ada:secret@")

    assert answer.error == "http://127.0.0.1:9090 answered 302, it is elsewhere: configure where it is"
    assert followed == []


async def test_a_source_that_drips_is_given_up_in_time():
    """Given a source that sends a byte now and then, so that no single read is slow, expect the whole to be bounded."""

    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    answer = await answer_to(serve, timeout_s=0.2, user="ada:secret@")

    assert answer.error == "http://127.0.0.1:9090 took longer than 0.2 s"


async def test_a_source_that_says_nothing_is_given_up_in_time():
    async def serve(_request: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    assert (await answer_to(serve, timeout_s=0.2)).error == "http://127.0.0.1:9090 took longer than 0.2 s"


async def test_a_connection_that_is_cut_is_an_error():
    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()

    assert (await answer_to(serve)).error.startswith("http://127.0.0.1:9090 broke off, or speaks no HTTP: ")


async def test_what_speaks_no_http_is_an_error():
    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n")
        await writer.drain()

    assert (await answer_to(serve)).error.startswith("http://127.0.0.1:9090 broke off, or speaks no HTTP: ")


async def test_nobody_listens():
    async with http_server(saying(b"")) as (port, _):
        pass
    answer = await ask(port, user="ada:secret@")

    assert answer == Answer(error=f"connection refused by http://127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["http://nobody.invalid:9090", f"http://{'a' * 70}.invalid"])
async def test_a_host_that_is_not_known(url: str):
    prometheus = Prometheus(PrometheusUrl(url), timeout_s=20)
    answer = await prometheus.ask("up")
    await prometheus.close()

    assert answer.error.startswith(
        (f"the host of {url} is not known: ", f"{url} can't be reached: ", f"{url} broke off")
    )


async def test_tls_is_not_spoken_with_what_speaks_none():
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        prometheus = Prometheus(PrometheusUrl(f"https://127.0.0.1:{port}"), timeout_s=10)
        answer = await prometheus.ask("up")
        await prometheus.close()

    assert answer.error.startswith(f"no trusted connection to https://127.0.0.1:{port}: ")


async def test_no_proxy_of_the_environment_is_asked(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert await answer_to(saying(vector("1"))) == Answer(1.0)
