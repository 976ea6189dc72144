"""The API over HTTP by Connect's protocol: what it adds to the calls that test_services.py makes over both."""

import base64
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import grpc
import httpx
import pytest

from rampd import v1
from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server import testing
from rampd_server.http import connect, messages
from rampd_server.http import server as http_server
from rampd_server.http.errors import STATUS_OF
from rampd_server.rpc import refused_calls, resolver
from tests.nights import by_day
from tests.over_http import COMPRESSED, END, METHODS, envelope, envelopes, stubs_over_http
from tests.rpc.access_table import CALLERS, REQUESTS, Tokens, revoke, statuses, tokens_of_every_kind
from tests.rpc.test_access import expected
from tests.servers import Stubs, metadata_of, reason_of, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
RESOLVE = "/rampd.v1.ResolverService/Resolve"
RELEASE = "/rampd.v1.ReleaseService/Release"
WATCH = "/rampd.v1.ResolverService/Watch"
WATCH_RELEASE = "/rampd.v1.ReleaseService/WatchRelease"
QUESTION = {"component": C, "repo": "acme/app"}
JSON = {"content-type": "application/json"}


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def released(call: Stubs) -> None:
    call("Release", component=C, tag="t1")


def refused(answer: httpx.Response, status: int, code: str, reason: str = "") -> dict[str, Any]:
    """The error, which is as expected."""
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()
    assert (answer.status_code, error["code"]) == (status, code), error
    if reason:
        assert error["details"][0]["debug"]["reason"] == reason
    return error


def test_each_method_of_the_api_has_its_path(http: httpx.Client) -> None:
    for path, method in METHODS.items():
        kind = "application/connect+json" if method.server_streaming else "application/json"
        answer = http.post(path, content=b"", headers={"content-type": kind})
        assert answer.status_code != 404, path
        assert "unimplemented" not in answer.text, path


def test_every_code_of_grpc_has_a_status_of_http() -> None:
    assert set(STATUS_OF) == {code.value[0] for code in grpc.StatusCode} - {0}


def test_an_error_is_the_same_as_over_grpc(call: Stubs, url: str) -> None:
    """Given refusals with each kind of detail, expect the same google.rpc.Status over both."""
    call("Release", component=C, tag="t1")
    asked: list[tuple[str, dict[str, Any]]] = [
        ("Ramp", {"component": C, "percent": 10}),
        ("Ramp", {"component": "A b", "percent": 10.123}),
        ("GetRollout", {"component": "none"}),
        ("GetRelease", {"component": C, "release": 77}),
        ("Freeze", {"component": C, "expected_revision": 99}),
    ]
    with stubs_over_http(url) as over_http:
        for method, fields in asked:
            found = []
            for way in (call, over_http):
                with pytest.raises(grpc.RpcError) as caught:
                    way(method, **fields)
                error: Any = caught.value
                found.append((error.code(), error.details(), reason_of(error), metadata_of(error)))
            assert found[0] == found[1]


@pytest.mark.parametrize("kind", by_day(["json", "proto"], 1))
def test_every_rpc_by_every_caller_has_the_status_that_its_role_says(
    store_process: StoreServer, namespace: str, kind: str
) -> None:
    with short_directory() as directory:
        tokens = tokens_of_every_kind(directory / "access.toml")
        settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False, "http": "127.0.0.1:0"}
        with (
            testing.listening(directory, store_process.url, **settings) as found,
            stubs(str(found.grpc)) as over_grpc,
            stubs_over_http(f"http://{found.http}", kind) as over_http,
        ):
            revoke(over_grpc.channel, tokens, "revoked")
            table = statuses(over_http.channel, tokens, prepared_over=over_grpc.channel)
    assert table == {row: {caller: expected(row, caller) for caller in CALLERS} for row in REQUESTS}


# What a request may look like


@pytest.mark.usefixtures("released")
def test_a_field_that_there_is_not_is_refused_and_named(http: httpx.Client) -> None:
    for content, field in (({**QUESTION, "rep": "x"}, "rep"), ({"requests": [{"compnent": C}]}, "compnent")):
        path = RESOLVE if field == "rep" else "/rampd.v1.ResolverService/BatchResolve"
        error = refused(http.post(path, json=content), 400, "invalid_argument", "INVALID_FIELD")
        assert error["details"][1]["debug"]["fieldViolations"][0]["field"] == field


def test_a_value_with_the_words_of_the_parser_is_a_wrong_field(http: httpx.Client) -> None:
    """Given a text that the parser repeats in its error, expect a refusal that takes it for no name of a field."""
    for value in (" has no field named x", ' has no field named x"'):
        answer = http.post("/rampd.v1.RolloutService/Ramp", json={"component": C, "percent": value})
        error = refused(answer, 400, "invalid_argument", "INVALID_FIELD")
        assert error["details"][1]["debug"]["fieldViolations"][0]["field"] == "request"


@pytest.mark.usefixtures("released")
def test_64_bit_numbers_are_strings_in_answers_and_either_in_requests(http: httpx.Client) -> None:
    for release in (1, "1"):
        answer = http.post("/rampd.v1.ReleaseService/GetRelease", json={"component": C, "release": release})
        assert answer.json()["release"]["number"] == "1"
    resolved = http.post(RESOLVE, json=QUESTION).json()
    assert (resolved["tag"], resolved["release"], resolved["reason"]) == ("t1", "1", "RESOLVE_REASON_STEADY")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"component": 1}',
        b'{"component": "a", "component": "b"}',
        b'{"minRevision": 1e40}',
        b'{"minRevision": ' + b"9" * 5000 + b"}",
        b'{"component": "\\ud800"}',
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b"[" * 60_000,
    ],
    ids=lambda content: content[:24].decode("latin-1"),
)
def test_what_is_not_json_of_the_message_is_an_invalid_field(http: httpx.Client, content: bytes) -> None:
    error = refused(http.post(RESOLVE, content=content, headers=JSON), 400, "invalid_argument", "INVALID_FIELD")
    assert "Traceback" not in error["message"]
    assert len(error["message"]) < 1000


def test_a_number_in_json_that_is_too_large_is_an_invalid_field(http: httpx.Client) -> None:
    """JSON has numbers of any length, and `percent` is a double."""
    content = b'{"component": "a", "percent": 1' + b"0" * 400 + b"}"
    answer = http.post("/rampd.v1.RolloutService/Ramp", content=content, headers=JSON)
    refused(answer, 400, "invalid_argument", "INVALID_FIELD")


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/grpc", "application/grpc-web+proto", "application/connect+json", "application/json; charset=latin-1"],
)  # fmt: skip
def test_other_content_types_are_refused_with_those_that_work(http: httpx.Client, kind: str | None) -> None:
    """A page of another host can make a browser send text and forms without asking."""
    headers = {} if kind is None else {"content-type": kind}
    answer = http.post(RELEASE, content=b'{"component":"x","tag":"t"}', headers=headers)
    assert "application/json" in refused(answer, 415, "unknown")["message"]
    assert answer.headers["accept-post"] == "application/json, application/proto"
    assert http.post("/rampd.v1.RolloutService/ListRollouts", json={}).json() == {}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
def test_json_that_says_it_is_utf_8_is_taken(http: httpx.Client, kind: str) -> None:
    assert (
        http.post("/rampd.v1.RolloutService/ListRollouts", content="{}", headers={"content-type": kind}).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("header", "value"),
    [("connect-timeout-ms", "1s"), ("connect-timeout-ms", "-1"), ("connect-timeout-ms", "12345678901"),
     ("connect-protocol-version", "2")],
)  # fmt: skip
def test_headers_of_the_protocol_that_are_wrong_are_named(http: httpx.Client, header: str, value: str) -> None:
    error = refused(
        http.post(RESOLVE, json=QUESTION, headers={header: value}), 400, "invalid_argument", "INVALID_FIELD"
    )
    assert error["message"].startswith(f"{header}: ")


@pytest.mark.usefixtures("released")
def test_a_call_ends_with_the_time_that_its_caller_gives_it(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = {**QUESTION, "minRevision": "99"}
    refused(http.post(RESOLVE, json=waits), 503, "unavailable", "NO_SNAPSHOT")
    monkeypatch.setattr(resolver, "CATCH_UP_S", 600)
    refused(http.post(RESOLVE, json=waits, headers={"connect-timeout-ms": "2000"}), 504, "deadline_exceeded")


STREAM = {"content-type": "application/connect+json"}


@pytest.mark.parametrize(("path", "headers"), [(RESOLVE, JSON), (WATCH, STREAM)], ids=["call", "stream"])
def test_the_time_of_a_call_counts_while_its_body_is_waited_for(url: str, path: str, headers: dict[str, str]) -> None:
    """Without a body, the answer would come after the time that any body has."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    head = {**headers, "host": "localhost", "content-length": "10", "connect-timeout-ms": "50", "connection": "close"}
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        said = b""
        while part := connection.recv(65536):
            said += part
    assert b'"deadline_exceeded"' in said
    assert b"The time that the caller gave for the call is over. No method has had the call" in said


@pytest.fixture
def head_taken(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a server has taken the head of a request, and waits for the body."""
    taken = threading.Event()
    real = connect._ends_s

    async def noted(*given: Any) -> float | None:
        found = await real(*given)
        taken.set()
        return found

    monkeypatch.setattr(connect, "_ends_s", noted)
    return taken


def test_the_answer_of_a_stream_begins_after_its_request(url: str, head_taken: threading.Event) -> None:
    """Given a caller who sends the request in two parts, expect nothing before the second. A client of HTTP/1.1 may close a
    connection whose answer begins too early, as Go's does now and then.
    """
    host, _, port = url.removeprefix("http://").rpartition(":")
    content = envelope(b'{"component":"none","release":"1"}')
    head = {**STREAM, "host": "localhost", "content-length": str(len(content)), "connection": "close"}
    with socket.create_connection((host, int(port)), timeout=0.5) as connection:
        lines = [f"POST {WATCH_RELEASE} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode() + content[:9])
        assert head_taken.wait(60)
        with pytest.raises(TimeoutError):
            connection.recv(65536)
        connection.settimeout(30)
        connection.sendall(content[9:])
        said = b""
        while part := connection.recv(65536):
            said += part
    assert said.startswith(b"HTTP/1.1 200")
    assert b"COMPONENT_NOT_FOUND" in said


@pytest.mark.parametrize(("path", "headers"), [(RESOLVE, JSON), (WATCH, STREAM)], ids=["call", "stream"])
def test_a_call_has_only_the_time_that_its_body_leaves(
    http: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    head_taken: threading.Event,
    path: str,
    headers: dict[str, str],
) -> None:
    left_s: list[float] = []

    async def noted(*_: object, timeout_s: float) -> bytes:
        left_s.append(timeout_s)
        return b""

    monkeypatch.setattr(connect, "call", noted)
    monkeypatch.setattr(connect, "stream", noted)

    def slow() -> Iterator[bytes]:
        content = envelope(b"{}") if path == WATCH else b"{}"
        yield content[:1]
        assert head_taken.wait(30)
        time.sleep(0.5)
        yield content[1:]

    assert http.post(path, content=slow(), headers={**headers, "connect-timeout-ms": "60000"}).status_code == 200
    assert 0 < left_s[0] < 59.6


@pytest.mark.usefixtures("released")
def test_requests_and_answers_are_compressed_as_the_caller_says(http: httpx.Client, call: Stubs) -> None:
    for number in range(40):
        call("SetOverride", component=C, repo=f"acme/{number}", tag="t1")
    listed = "/rampd.v1.RolloutService/ListOverrides"
    packed = gzip.compress(json.dumps({"component": C}).encode())
    plain = http.post(
        listed, content=packed, headers={**JSON, "content-encoding": "gzip", "accept-encoding": "identity"}
    )
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "br, gzip;q=0.5"):
        compressed = http.post(listed, json={"component": C}, headers={"accept-encoding": accepted})
        assert compressed.headers["content-encoding"] == "gzip"
        assert compressed.json() == plain.json()
        assert int(compressed.headers["content-length"]) < len(plain.content) / 2
    for accepted in ("gzip;q=0", "br"):
        assert (
            "content-encoding"
            not in http.post(listed, json={"component": C}, headers={"accept-encoding": accepted}).headers
        )
    answer = http.post(RESOLVE, content=b"x", headers={**JSON, "content-encoding": "br"})
    assert "gzip" in refused(answer, 501, "unimplemented")["message"]
    for content in (b"not gzip", packed[:-4], packed + b"x"):
        answer = http.post(listed, content=content, headers={**JSON, "content-encoding": "gzip"})
        refused(answer, 400, "invalid_argument", "INVALID_FIELD")


@pytest.mark.usefixtures("released")
def test_nothing_is_not_decompressed(http: httpx.Client) -> None:
    """The protocol has it so, because clients do not compress an empty message, and say all the same that they compress."""
    listed = "/rampd.v1.RolloutService/ListRollouts"
    answer = http.post(listed, content=b"", headers={**JSON, "content-encoding": "gzip"})
    assert answer.json()["rollouts"][0]["component"] == C
    query = {"encoding": "json", "message": "", "base64": "1", "compression": "gzip"}
    assert http.get(listed, params=query).json()["rollouts"][0]["component"] == C
    with opened(http, envelope(b"", COMPRESSED), **{"connect-content-encoding": "gzip"}) as answer:
        _, data = next(envelopes(answer.iter_raw()))
    assert json.loads(data)["state"]["components"][0]["component"] == C


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_body_over_the_limit_is_refused_however_small_it_is_sent(http: httpx.Client, is_compressed: bool) -> None:
    content = b'{"component":"' + b"a" * MAX_MESSAGE_BYTES + b'"}'
    headers = {**JSON, "content-encoding": "gzip"} if is_compressed else JSON
    answer = http.post(RESOLVE, content=gzip.compress(content) if is_compressed else content, headers=headers)
    refused(answer, 400, "invalid_argument", "TOO_LARGE")
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize("size", [10_000, 1 << 20])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_who_is_not_proven_sends_no_large_body(
    store_process: StoreServer, namespace: str, is_compressed: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one is read first, so that a wrong field is told before a wrong credential. In a flood, none is read."""
    large, small = b"{" + b" " * size, b"{"
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("team", "viewer")
        settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False, "http": "127.0.0.1:0"}
        with (
            testing.listening(directory, store_process.url, **settings) as found,
            httpx.Client(base_url=f"http://{found.http}", trust_env=False, timeout=30) as http,
        ):

            def asked(content: bytes, **headers: str) -> httpx.Response:
                if is_compressed:
                    content, headers = gzip.compress(content), {**headers, "content-encoding": "gzip"}
                return http.post(RESOLVE, content=iter([content]), headers={**JSON, **headers})

            refused(asked(small), 400, "invalid_argument", "INVALID_FIELD")
            refused(asked(large), 401, "unauthenticated", "NO_CREDENTIALS")
            refused(asked(large, **{"content-type": "application/proto"}), 401, "unauthenticated", "NO_CREDENTIALS")
            proof = {"authorization": f"Bearer {tokens.of['team']}"}
            refused(asked(large, **proof), 400, "invalid_argument", "INVALID_FIELD")
            monkeypatch.setattr(refused_calls, "is_flooded", lambda: True)
            refused(asked(small), 401, "unauthenticated", "NO_CREDENTIALS")
            refused(asked(small, **proof), 400, "invalid_argument", "INVALID_FIELD")


def test_a_wrong_request_counts_against_the_limits_of_its_caller(store_process: StoreServer, namespace: str) -> None:
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("team", "viewer", "limits = { calls_per_s = 0.001, burst = 2 }")
        tokens.grant("other", "viewer", "limits = { calls_per_s = 0.001, burst = 2 }")
        settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False, "http": "127.0.0.1:0"}
        with (
            testing.listening(directory, store_process.url, **settings) as found,
            httpx.Client(base_url=f"http://{found.http}", trust_env=False, timeout=30) as http,
        ):
            for name, headers in (("team", JSON), ("other", {**JSON, "connect-timeout-ms": "x"})):
                proof = {"authorization": f"Bearer {tokens.of[name]}"}
                http.post("/rampd.v1.RolloutService/WhoAmI", json={}, headers=proof)
                answers = [http.post(RESOLVE, content=b"{", headers={**headers, **proof}) for _ in range(4)]
                refused(answers[-1], 429, "resource_exhausted", "LIMIT_EXCEEDED")


def test_a_large_message_of_a_caller_over_its_limit_is_not_read(
    store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, parsed = list[int](), messages._parsed
    monkeypatch.setattr(messages, "_parsed", lambda kind, data: (read.append(len(data)), parsed(kind, data))[1])
    content = b'{"component":"a","repo":"b"' + b" " * 10_000 + b"}"
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("team", "viewer", "limits = { calls_per_s = 0.001, burst = 2 }")
        settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False, "http": "127.0.0.1:0"}
        with (
            testing.listening(directory, store_process.url, **settings) as found,
            httpx.Client(base_url=f"http://{found.http}", trust_env=False, timeout=30) as http,
        ):
            proof = {"authorization": f"Bearer {tokens.of['team']}"}
            answers = [http.post(RESOLVE, content=content, headers={**JSON, **proof}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 429, 429]
    refused(answers[-1], 429, "resource_exhausted", "LIMIT_EXCEEDED")
    assert read == [len(content)] * 2


def test_a_large_message_of_a_caller_that_has_gone_is_not_read(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given callers that go while one message is read, expect that no other one is read for them."""
    read: list[int] = []
    goes_on = threading.Event()

    def parsed(_kind: object, data: bytes) -> bytes:
        read.append(len(data))
        goes_on.wait(110)
        return b""

    monkeypatch.setattr(messages, "_parsed", parsed)
    content = b'{"component":"' + b"a" * 10_000 + b'"}'
    head = f"POST {RESOLVE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    try:
        for number in range(4):
            with socket.create_connection((http.base_url.host, http.base_url.port or 80)) as connection:
                connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
                if not number:
                    eventually(lambda: read)
        gone = 'rampd_rpc_calls_total{method="Resolve",status="CANCELLED",reason=""} 4'
        eventually(lambda: gone in http.get("/metrics").text.splitlines())
    finally:
        goes_on.set()
    http.post(RESOLVE, content=content + b" ", headers=JSON)
    assert read == [len(content), len(content) + 1]


def test_a_connection_that_nobody_reads_is_closed(
    store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a caller that asks for more than the system keeps, and reads only after the limit, expect it to be cut."""
    monkeypatch.setattr(http_server, "UNREAD_S", 0.2)
    is_lost = threading.Event()
    lose = http_server._Protocol.connection_lost

    def noted(self: Any, error: Exception | None) -> None:
        lose(self, error)
        is_lost.set()

    monkeypatch.setattr(http_server._Protocol, "connection_lost", noted)
    number = 300
    settings = {"namespace": namespace, "http": "127.0.0.1:0"}
    with short_directory() as directory, testing.listening(directory, store_process.url, **settings) as found:
        assert found.http is not None
        with socket.create_connection((found.http.host, found.http.port), timeout=30) as connection:
            one = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
            last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            connection.sendall(one * (number - 1) + last)
            assert is_lost.wait(45)
            data = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(1 << 20):
                    data += part
    assert 0 < data.count(b"HTTP/1.1 200 OK") < number


@pytest.mark.usefixtures("released")
def test_a_method_that_only_reads_has_get_and_one_that_changes_has_not(http: httpx.Client) -> None:
    question = v1.ResolveRequest(component=C, repo="acme/app")
    coded = base64.urlsafe_b64encode(question.SerializeToString()).decode().rstrip("=")
    packed = base64.urlsafe_b64encode(gzip.compress(json.dumps(QUESTION).encode())).decode()
    for query in (
        {"encoding": "json", "message": json.dumps(QUESTION)},
        {"encoding": "json", "message": packed, "base64": "1", "compression": "gzip", "connect": "v1"},
    ):
        assert http.get(RESOLVE, params=query).json()["tag"] == "t1"
    answer = http.get(RESOLVE, params={"encoding": "proto", "base64": "1", "message": coded, "connect": "v1"})
    assert v1.ResolveResponse.FromString(answer.content).tag == "t1"
    for wrong in ({"encoding": "json", "connect": "v2"}, {"encoding": "proto", "base64": "1", "message": "§"}):
        refused(http.get(RESOLVE, params=wrong), 400, "invalid_argument", "INVALID_FIELD")
    for wrong in ({}, {"encoding": "xml"}, {"encoding": "application/json"}):
        error = refused(http.get(RESOLVE, params={"message": json.dumps(QUESTION), **wrong}), 415, "unknown")
        assert error["message"] == (
            "The encoding of this request has to be json or proto. Write ?encoding=json&message=… behind the path, or POST the message."
        )
    answer = http.get(RESOLVE, params={"encoding": "json", "message": json.dumps(QUESTION), "compression": "br"})
    assert "Send identity or gzip." in refused(answer, 501, "unimplemented")["message"]
    answer = http.get(
        f"{RELEASE}?{urlencode({'encoding': 'json', 'message': json.dumps({'component': C, 'tag': 'x'})})}"
    )
    assert "POST" in refused(answer, 405, "unimplemented")["message"]
    assert answer.headers["allow"] == "POST"


def test_a_defect_is_answered_with_the_number_under_which_the_log_has_it(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "call", None)
    error = refused(http.post(RESOLVE, json=QUESTION), 500, "internal")
    assert error["message"].startswith("This is a defect of rampd. The server's log has the request id ")


def test_what_there_is_not_says_where_to_look(http: httpx.Client) -> None:
    assert (
        "/openapi.json"
        in refused(http.post("/rampd.v1.RolloutService/Rampp", json={}), 404, "unimplemented")["message"]
    )
    refused(http.get("/nothing"), 404, "unimplemented")


# Streams


def opened(http: httpx.Client, content: bytes, **headers: str) -> Any:
    kind = {"content-type": "application/connect+json", **headers}
    return http.stream("POST", WATCH, content=content, headers=kind)


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize("kind", ["json", "proto"])
def test_a_watch_sends_the_whole_state_and_then_each_change(url: str, call: Stubs, kind: str) -> None:
    with stubs_over_http(url, kind) as over_http:
        stream = over_http.channel.unary_stream(WATCH, response_deserializer=v1.WatchResponse.FromString)(b"")
        first = next(stream)
        assert [each.component for each in first.state.components] == [C]
        call("Release", component=C, tag="t2")
        while not (message := next(stream)).changes:
            pass
        assert message.changes[0].component.component == C
        stream.cancel()


@pytest.mark.usefixtures("released")
def test_a_stream_is_compressed_message_by_message(http: httpx.Client, call: Stubs) -> None:
    call("Release", component=C, tag="t2", attributes={"k": "x" * 1000, "l": "x" * 1000})
    packed = envelope(gzip.compress(b'{"components":["restyler"]}'), COMPRESSED)
    headers = {"connect-content-encoding": "gzip", "connect-accept-encoding": "gzip"}
    with opened(http, packed, **headers) as answer:
        assert answer.headers["connect-content-encoding"] == "gzip"
        flags, data = next(envelopes(answer.iter_raw()))
    assert flags == COMPRESSED
    assert json.loads(gzip.decompress(data))["state"]["components"][0]["component"] == C


@pytest.mark.parametrize(
    ("content", "headers", "code"),
    [
        (b"", {}, "invalid_argument"),
        (b"{}", {}, "invalid_argument"),
        (envelope(b"{}") + b"x", {}, "invalid_argument"),
        (envelope(b"{}") * 2, {}, "invalid_argument"),
        (envelope(b"{}", END), {}, "invalid_argument"),
        (b"\0\xff\xff\xff\xff{}", {}, "invalid_argument"),
        (envelope(b'{"x":1}'), {}, "invalid_argument"),
        (envelope(b"no gzip", COMPRESSED), {"connect-content-encoding": "gzip"}, "invalid_argument"),
        (envelope(b"x", COMPRESSED), {"connect-content-encoding": "br"}, "unimplemented"),
        (envelope(b"{}"), {"connect-content-encoding": "br", "connect-timeout-ms": "20000"}, "unimplemented"),
        (envelope(b"{}", COMPRESSED), {"connect-timeout-ms": "20000"}, "invalid_argument"),
        (
            envelope(b"{}", COMPRESSED),
            {"connect-content-encoding": "identity", "connect-timeout-ms": "20000"},
            "invalid_argument",
        ),
        (envelope(b'{"components":["A"]}'), {}, "invalid_argument"),
        (envelope(b"{}"), {"connect-timeout-ms": "x"}, "invalid_argument"),
    ],
    ids=str,
)
def test_a_stream_that_is_refused_ends_with_the_error(
    http: httpx.Client, content: bytes, headers: dict[str, str], code: str
) -> None:
    with opened(http, content, **headers) as answer:
        assert answer.status_code == 200
        [(flags, data)] = envelopes(answer.iter_raw())
    assert (flags, json.loads(data)["error"]["code"]) == (END, code)


@pytest.mark.usefixtures("released")
def test_a_stream_ends_with_the_time_that_its_caller_gives_it(http: httpx.Client) -> None:
    with opened(http, envelope(b"{}"), **{"connect-timeout-ms": "300"}) as answer:
        *_, (flags, data) = envelopes(answer.iter_raw())
    assert (flags, json.loads(data)["error"]["code"]) == (END, "deadline_exceeded")


@pytest.mark.usefixtures("released")
def test_a_stream_of_a_release_ends_with_the_release(url: str, call: Stubs) -> None:
    call("Release", component=C, tag="t2")
    request = v1.WatchReleaseRequest(component=C, release=2)
    with stubs_over_http(url) as over_http:
        path = "/rampd.v1.ReleaseService/WatchRelease"
        stream = over_http.channel.unary_stream(path, response_deserializer=v1.WatchReleaseResponse.FromString)(
            request.SerializeToString()
        )
        next(stream)
        call("Abandon", component=C)
        assert [each.release.state for each in stream][-1] == v1.RELEASE_STATE_ABANDONED
