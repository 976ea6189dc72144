"""If Prometheus is down, slow or answers nonsense, the check gets an error that an admin understands. It never fails."""

import asyncio
import contextlib
import gzip
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rampd_server.automation.prometheus import MAX_BYTES, Prometheus
from rampd_server.domain.automation.check_answer import Answer, Judgement
from rampd_server.process.address import PrometheusUrl

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def http_server(serve: Serve) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Starts an HTTP server. Gives its port and the list of its requests."""
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


async def ask(port: int, *, timeout_s: float = 60, user: str = "", path: str = "", **options: Any) -> Answer:
    prometheus = Prometheus(PrometheusUrl(f"http://{user}127.0.0.1:{port}{path}"), timeout_s=timeout_s, **options)
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
    assert body == b"query=up%7Btag%3D%22a%26b%22%7D&timeout=60"


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (saying(vector()), "there is no data: the query finds no series"),
        (saying(vector("NaN")), "the value is NaN: perhaps the query divides by zero"),
        (saying(vector("1", "2")), "the query finds 2 series, but one is needed: put sum() or max() around it"),
        (saying(b"<html>hello</html>"), "the answer of http://127.0.0.1:9090 is not JSON: is this a Prometheus?"),
        (saying(b""), "the answer of http://127.0.0.1:9090 is not JSON: is this a Prometheus?"),
        (saying(b"[" * 60_000), "the answer of http://127.0.0.1:9090 is not JSON: is this a Prometheus?"),
        (saying(b"9" * 60_000), "the answer of http://127.0.0.1:9090 is not JSON: is this a Prometheus?"),
        (saying(b"\xff\xfe{"), "the answer of http://127.0.0.1:9090 is not JSON: is this a Prometheus?"),
        (saying(b"{}"), "the answer is not of the form that Prometheus gives to a query"),
        (saying(b"busy", status="503 Service Unavailable"), "http://127.0.0.1:9090 answered 503 Service Unavailable"),
        (saying(vector("1"), status="500 Oh"), "http://127.0.0.1:9090 answered 500 Oh"),
        (
            saying(b'{"status":"error","errorType":"bad_data","error":"parse error"}', status="400 Bad Request"),
            "Prometheus says: parse error",
        ),
        (
            saying(gzip.compress(vector("1")), headers="Content-Encoding: gzip\r\n"),
            "the answer of http://127.0.0.1:9090 is not JSON: is this a Prometheus?",
        ),
    ],
)
async def test_an_answer_that_is_not_one_number_is_an_error(serve: Serve, error: str):
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

    assert answer.error == "the answer of http://127.0.0.1:9090 is over 64 KiB, but the check needs one number"
    assert sent < 1000 * MAX_BYTES


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_is_not_followed_so_that_no_other_host_gets_the_credentials(tmp_path: Path, status: str):
    async with http_server(saying(vector("1"))) as (elsewhere, followed):
        serve = saying(b"", status=status, headers=f"Location: http://127.0.0.1:{elsewhere}/\r\n")
        for secret in (
            {"user": "ada:secret@"},
            {"token_file": token_in(tmp_path), "headers": {"X-Scope-OrgID": "team"}},
        ):
            answer = await answer_to(serve, **secret)
            assert (
                answer.error
                == f"http://127.0.0.1:9090 answered {status[:3]}, a redirect: configure the address that it redirects to"
            )

    assert followed == []


def token_in(directory: Path, token: str = "s3cr3t.to-ken==") -> Path:
    path = directory / "token"
    path.write_text(f"{token}\n")
    return path


async def test_each_query_is_sent_with_the_token_of_the_file_and_a_new_token_is_used_at_once(tmp_path: Path):
    async with http_server(saying(vector("1"))) as (port, requests):
        prometheus = Prometheus(PrometheusUrl(f"http://127.0.0.1:{port}"), timeout_s=60, token_file=token_in(tmp_path))
        assert await prometheus.ask("up") == Answer(1.0)
        token_in(tmp_path, "another")
        assert await prometheus.judge("up") == Judgement()
        await prometheus.close()

    assert [re.findall(rb"\r\nAuthorization: (.*)\r\n", request) for request in requests] == [
        [b"Bearer s3cr3t.to-ken=="],
        [b"Bearer another"],
    ]


async def test_each_query_is_sent_with_the_configured_headers():
    async with http_server(saying(vector("1"))) as (port, requests):
        await ask(port, headers={"X-Scope-OrgID": "team"})

    assert b"\r\nX-Scope-OrgID: team\r\n" in requests[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: No such file or directory"),
        (os.mkfifo, "can't be read: Not a regular file"),
        (b"", "has no bearer token: one word of A-Z a-z 0-9 . _ ~ + / - is expected"),
        (b"two words", "has no bearer token: one word of A-Z a-z 0-9 . _ ~ + / - is expected"),
        (b"a\r\nX-Evil: 1", "has no bearer token: one word of A-Z a-z 0-9 . _ ~ + / - is expected"),
        (b"\xff", "has no bearer token: one word of A-Z a-z 0-9 . _ ~ + / - is expected"),
        (b"a" * 20_000, "has no bearer token: one word of A-Z a-z 0-9 . _ ~ + / - is expected"),
    ],
)
async def test_a_file_without_a_token_is_an_error_and_nothing_is_sent(
    tmp_path: Path, content: bytes | Callable[[Path], None] | None, said: str
):
    path = tmp_path / "token"
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    async with http_server(saying(vector("1"))) as (port, requests):
        answer = await ask(port, token_file=path)

    assert answer == Answer(
        error=f"the token file {path} {said}"[:199] + "…" * (len(f"the token file {path} {said}") > 200)
    )
    assert requests == []


PLACE = "http://127.0.0.1:9090"


@pytest.mark.parametrize("body", [b"", b"no org id\n", b'{"status":"error","errorType":"x","error":"go away"}'])
@pytest.mark.parametrize(
    ("status", "ends", "said"),
    [
        ("401 Unauthorized", "token", f"{PLACE} does not take the token in TOKEN (401 Unauthorized): put the right one there"),
        ("403 Forbidden", "token", f"{PLACE} does not let this server query (403 Forbidden): allow it there, for the token in TOKEN"),
        ("401 Unauthorized", "user", f"{PLACE} does not take the user and password of --prometheus-url (401 Unauthorized): put the right one there"),
        ("403 Forbidden", "user", f"{PLACE} does not let this server query (403 Forbidden): allow it there, for the user and password of --prometheus-url"),
        ("401 Unauthorized", "", f"{PLACE} requires credentials (401 Unauthorized), and this server sends none: give it --prometheus-token-file, or --prometheus-header for a tenant"),
        ("403 Forbidden", "", f"{PLACE} requires credentials (403 Forbidden), and this server sends none: give it --prometheus-token-file, or --prometheus-header for a tenant"),
    ],
)  # fmt: skip
async def test_a_refusal_says_which_credentials_or_permission_to_correct(
    tmp_path: Path, status: str, ends: str, said: str, body: bytes
):
    options = {"token": {"token_file": token_in(tmp_path)}, "user": {"user": "ada:secret@"}, "": {}}[ends]
    answer = await answer_to(saying(body, status=status), **options)

    assert answer.error.replace(str(tmp_path / "token"), "TOKEN") == said
    assert "s3cr3t" not in answer.error


def refusal(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


def of_kind(kind: str) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": []}}).encode()


@pytest.mark.parametrize(
    ("serve", "judgement"),
    [
        (saying(vector()), Judgement()),
        (saying(vector("NaN", "2")), Judgement()),
        (saying(of_kind("scalar")), Judgement()),
        (
            saying(of_kind("matrix")),
            Judgement("gives no single value: a number, or a vector with one element, is needed"),
        ),
        (
            saying(of_kind("string")),
            Judgement("gives no single value: a number, or a vector with one element, is needed"),
        ),
        (
            saying(refusal("bad_data", "1:4: parse error:\nno"), status="400 Bad Request"),
            Judgement("is not accepted by Prometheus: 1:4: parse error: no"),
        ),
        (
            saying(refusal("execution", "invalid regular expression"), status="422 Unprocessable Entity"),
            Judgement("is not accepted by Prometheus: invalid regular expression"),
        ),
        (
            saying(refusal("timeout", "query timed out"), status="503 Service Unavailable"),
            Judgement(doubt="Prometheus says: query timed out"),
        ),
        (saying(b"", status="404 Not Found"), Judgement(doubt=f"{PLACE} answered 404 Not Found")),
        (saying(b"<html>"), Judgement(doubt=f"the answer of {PLACE} is not JSON: is this a Prometheus?")),
        (saying(b"{}"), Judgement(doubt="the answer is not of the form that Prometheus gives to a query")),
    ],
)
async def test_a_query_is_refused_only_if_prometheus_itself_says_that_it_is_wrong(serve: Serve, judgement: Judgement):
    async with http_server(serve) as (port, requests):
        prometheus = Prometheus(PrometheusUrl(f"http://127.0.0.1:{port}"), timeout_s=60)
        found = await prometheus.judge("up", timeout_s=50)
        await prometheus.close()

    assert Judgement(found.wrong, found.doubt.replace(str(port), "9090")) == judgement
    assert requests[0].endswith(b"\r\n\r\nquery=up&time=0&timeout=50")


async def test_a_source_that_does_not_answer_in_time_leaves_the_query_unchecked():
    async def serve(_request: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with http_server(serve) as (port, _):
        prometheus = Prometheus(PrometheusUrl(f"http://127.0.0.1:{port}"), timeout_s=60)
        found = await prometheus.judge("up", timeout_s=0.2)
        await prometheus.close()

    assert found == Judgement(doubt=f"http://127.0.0.1:{port} took longer than 0.2 s")


async def test_a_source_that_sends_slowly_is_given_up_in_time():
    """Given a source that sends a byte now and then, so that no single read is slow, expect that the whole query times out."""

    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    answer = await answer_to(serve, timeout_s=0.2, user="ada:secret@")

    assert answer.error == "http://127.0.0.1:9090 took longer than 0.2 s"


async def test_a_source_that_sends_nothing_is_given_up_in_time():
    async def serve(_request: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    assert (await answer_to(serve, timeout_s=0.2)).error == "http://127.0.0.1:9090 took longer than 0.2 s"


async def test_a_connection_that_is_cut_is_an_error():
    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()

    assert (await answer_to(serve)).error.startswith(
        "http://127.0.0.1:9090 closed the connection, or does not speak HTTP: "
    )


async def test_a_server_that_does_not_speak_http_is_an_error():
    async def serve(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n")
        await writer.drain()

    assert (await answer_to(serve)).error.startswith(
        "http://127.0.0.1:9090 closed the connection, or does not speak HTTP: "
    )


async def test_a_port_without_a_listener_is_an_error():
    async with http_server(saying(b"")) as (port, _):
        pass
    answer = await ask(port, user="ada:secret@")

    assert answer == Answer(error=f"connection refused by http://127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["http://nobody.invalid:9090", f"http://{'a' * 70}.invalid"])
async def test_an_unknown_host_is_an_error(url: str):
    prometheus = Prometheus(PrometheusUrl(url), timeout_s=100)
    answer = await prometheus.ask("up")
    await prometheus.close()

    assert answer.error.startswith(
        (f"the host of {url} is not known: ", f"{url} can't be reached: ", f"{url} closed the connection")
    )


async def test_a_server_without_tls_is_not_trusted_for_https():
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        prometheus = Prometheus(PrometheusUrl(f"https://127.0.0.1:{port}"), timeout_s=60)
        answer = await prometheus.ask("up")
        await prometheus.close()

    assert answer.error.startswith(f"no trusted connection to https://127.0.0.1:{port}: ")


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert await answer_to(saying(vector("1"))) == Answer(1.0)
