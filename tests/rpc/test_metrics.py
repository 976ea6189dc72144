"""What /metrics says of a server, after calls of which every number is known."""

import asyncio
import contextlib
import gzip
import os
import platform
import resource
import socket
import ssl
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from structlog.testing import capture_logs

from rampd import v1
from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd._contract.token import digest_of, new_token
from rampd._decision.bucketing import bucket
from rampd._decision.resolution import Decision
from rampd_server import testing
from rampd_server.http import body
from rampd_server.listeners import Listening
from rampd_server.metrics import shown
from rampd_server.metrics.counting import Labels
from rampd_server.process.address import Address
from rampd_server.rpc import answer_counts
from rampd_server.rpc.answer_counts import labels_of
from tests.certificates import make_certificate
from tests.contract.going_back import copied
from tests.damaging import damage, make_servers_read_again
from tests.over_http import envelope
from tests.prometheus import prometheus
from tests.proxy import proxy_to_unix
from tests.rpc.access_table import Tokens
from tests.rpc.conftest import catch_up_within
from tests.scraping import Scraped, scrape
from tests.servers import Stubs, require, server_that_soon_gives_up, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
REPO = "acme-secret/app"


class Server(NamedTuple):
    at: Listening
    call: Stubs

    def scrape(self) -> Scraped:
        return scrape(self.at.http)


@pytest.fixture
def server(listening: Listening, call: Stubs) -> Server:
    return Server(listening, call)


def repos(channel: str, number: int, *, release: int = 2, basis_points: int = 1000) -> list[str]:
    """Repos that a channel gets."""
    names = (f"{REPO}-{each}" for each in range(1_000_000))
    fitting = (name for name in names if (bucket(C, release, name) < basis_points) is (channel == "next"))
    return [next(fitting) for _ in range(number)]


def run_jobs(call: Stubs, channel: str, number: int, *, failed: int, sequence: int) -> None:
    """Resolves jobs, and reports their outcomes."""
    outcomes = []
    for place, repo in enumerate(repos(channel, number)):
        answer = call("Resolve", component=C, repo=repo, job_id="job-17")
        outcome = v1.Outcome(
            component=C,
            release=answer.release,
            revision=answer.revision,
            channel=answer.channel,
            reason=answer.reason,
            repo=repo,
            job_id="job-17",
            result=v1.OUTCOME_RESULT_FAILED if place < failed else v1.OUTCOME_RESULT_SUCCEEDED,
        )
        outcomes.append(outcome)
    call("ReportOutcomes", client_id="launcher-1", sequence=sequence, outcomes=outcomes)


def begin(call: Stubs, **policy: object) -> None:
    """Makes a rollout: next is release 2, at 10 %."""
    call("Release", component=C, tag="t1")
    call("SetPolicy", component=C, policy=v1.Policy(**policy))
    call("Release", component=C, tag="t2")
    call("Ramp", component=C, percent=10)


def refused(call: Stubs, method: str, **fields: object) -> None:
    with pytest.raises(grpc.RpcError):
        call(method, **fields)


def states(found: Scraped) -> dict[str, float | None]:
    return {state: found("rampd_state", component=C, state=state) for state in ("STEADY", "ROLLING_OUT", "HELD")}


def seconds(found: Scraped, doing: str) -> float:
    return found("rampd_rollout_seconds_total", component=C, doing=doing) or 0.0


def test_the_story_begins_with_a_release_and_a_ramp(server: Server) -> None:
    """Given a first release, a second one and a ramp, expect each series to have the value that it must have."""
    call = server.call
    call("Release", component=C, tag="t1")
    found = server.scrape()
    assert states(found) == {"STEADY": 1, "ROLLING_OUT": 0, "HELD": 0}
    assert found("rampd_components") == 1
    assert found("rampd_components_summed") == 0
    assert found("rampd_next_percent", component=C) == 0
    assert found("rampd_release_info", component=C, channel="current", tag="t1", release="1") == 1
    assert not found.all("rampd_release_info", channel="next")
    assert not found.all("rampd_evidence")
    # A rollback may come before the next scrape, and Prometheus sees no increase from nothing to one.
    labels = {"component": C, "decision": "ROLLBACK", "cause": "RELATIVE_GUARD", "applied": "true"}
    assert found("rampd_decisions_total", **labels) == 0

    call("Release", component=C, tag="t2")
    call("Release", component=C, tag="t3")
    call("Ramp", component=C, percent=10)
    found = server.scrape()
    assert states(found) == {"STEADY": 0, "ROLLING_OUT": 1, "HELD": 0}
    assert found("rampd_next_percent", component=C) == 10
    assert found("rampd_release_info", component=C, channel="next", tag="t2", release="2") == 1
    assert found("rampd_queue_length", component=C) == 1
    assert [found(f"rampd_{name}", component=C) for name in ("paused", "frozen", "held")] == [0, 0, 0]


@pytest.mark.usefixtures("never_stale")
def test_the_story_ends_with_failures_and_a_rollback(server: Server) -> None:
    call = server.call
    begin(call)
    run_jobs(call, "current", 4, failed=1, sequence=1)
    run_jobs(call, "next", 12, failed=12, sequence=2)
    eventually(lambda: states(server.scrape())["HELD"] == 1)
    found = server.scrape()
    assert states(found) == {"STEADY": 0, "ROLLING_OUT": 0, "HELD": 1}
    assert found("rampd_next_percent", component=C) == 0
    assert found("rampd_held", component=C) == 1
    assert found("rampd_jobs_total", component=C, channel="current") == 4
    assert found("rampd_job_failures_total", component=C, channel="current") == 1
    assert found("rampd_jobs_total", component=C, channel="next") == 12
    assert found("rampd_job_failures_total", component=C, channel="next") == 12
    assert found("rampd_outcomes_accepted_total") == 16
    assert found("rampd_resolves_total", component=C, channel="current", reason="WEIGHT") == 4
    assert found("rampd_resolves_total", component=C, channel="next", reason="WEIGHT") == 12
    e, limit = found("rampd_evidence", component=C), found("rampd_evidence_limit", component=C)
    assert limit == 100
    assert e is not None
    assert e >= limit
    labels = {"component": C, "decision": "ROLLBACK", "cause": "RELATIVE_GUARD"}
    assert found("rampd_decisions_total", **labels, applied="true") == 1
    assert found("rampd_decisions_total", **labels, applied="false") == 0
    assert found("rampd_rpc_calls_total", method="Ramp", status="OK", reason="") == 1
    assert found("rampd_rpc_calls_total", method="Resolve", status="OK", reason="") == 16
    assert found("rampd_rpc_duration_seconds_count", method="Resolve") == 16
    assert found("rampd_rpc_duration_seconds_bucket", method="Resolve", le="+Inf") == 16
    assert found("rampd_copy_stale") == 0
    assert found("rampd_build_info", version=metadata.version("rampd"), python=platform.python_version()) == 1
    lag = "rampd_feed_lag_seconds"
    assert found(f"{lag}_count") == found("rampd_store_commands_total", command="commit_rollout")
    lag_s = found(f"{lag}_sum")
    assert lag_s is not None
    assert 0 <= lag_s < 60

    held = seconds(found, "held")
    eventually(lambda: seconds(server.scrape(), "held") > held + 0.2)
    again = server.scrape()
    assert seconds(again, "waiting") == seconds(found, "waiting") > 0
    assert all(again.counters()[name] >= value for name, value in found.counters().items())


def test_no_repo_and_no_job_is_anywhere(server: Server) -> None:
    begin(server.call)
    run_jobs(server.call, "next", 3, failed=1, sequence=1)
    server.call("SetOverride", component=C, repo="other-secret/app", tag="pinned-tag")
    server.call("Resolve", component=C, repo="other-secret/app", job_id="job-17")
    found = server.scrape()
    assert found("rampd_resolves_total", component=C, channel="none", reason="OVERRIDE_TAG") == 1
    assert not any(word in found.text for word in ("secret", "job-17", "launcher-1", "pinned-tag"))
    assert {line.partition("{")[0] for line in found.text.splitlines() if "t2" in line} == {"rampd_release_info"}


def test_calls_count_by_how_they_ended(server: Server) -> None:
    call = server.call
    call("Release", component=C, tag="t1")
    refused(call, "Resolve", component="nobody", repo=REPO)
    refused(call, "Resolve", component=C, repo="")
    refused(call, "Ramp", component=C, percent=10)
    call(
        "BatchResolve", requests=[v1.ResolveRequest(component=C, repo=REPO), v1.ResolveRequest(component="x", repo="a")]
    )
    found = server.scrape()

    def calls(method: str, status: str, reason: str = "") -> float | None:
        return found("rampd_rpc_calls_total", method=method, status=status, reason=reason)

    assert calls("Resolve", "NOT_FOUND", "COMPONENT_NOT_FOUND") == 1
    assert calls("Resolve", "INVALID_ARGUMENT", "INVALID_FIELD") == 1
    assert calls("Resolve", "OK") == 0
    assert calls("Ramp", "FAILED_PRECONDITION", "NO_ROLLOUT") == 1
    assert calls("BatchResolve", "OK") == 1
    assert found("rampd_resolves_total", component=C, channel="current", reason="STEADY") == 1
    assert found.all("rampd_resolves_total") == [{"component": C, "channel": "current", "reason": "STEADY"}]
    assert found("rampd_rpc_duration_seconds_count", method="Resolve") == 2
    assert found("rampd_rpc_duration_seconds_count", method="Watch") is None


def test_a_call_over_http_counts_together_with_those_over_grpc(server: Server) -> None:
    server.call("Release", component=C, tag="t1")
    server.call("Resolve", component=C, repo=REPO)
    url = f"http://{server.at.http}/rampd.v1.ResolverService/Resolve"
    assert httpx.post(url, json={"component": C, "repo": REPO}, timeout=60).json()["tag"] == "t1"
    assert server.scrape()("rampd_rpc_calls_total", method="Resolve", status="OK", reason="") == 2


# Each call counts once, also one that no handler sees.

RESOLVE, WATCH = "/rampd.v1.ResolverService/Resolve", "/rampd.v1.ResolverService/Watch"
FLAGS = "/ofrep/v1/evaluate/flags"
JSON = {"content-type": "application/json"}
STREAM = {"content-type": "application/connect+json"}
GZIP = {**JSON, "content-encoding": "gzip"}
LATE = b'{"component": "restyler", "repo": "a/b", "minRevision": "99"}'
CONTEXT = b'{"context": {"targetingKey": "acme/app"}}'
FIELD, OVER = ("INVALID_ARGUMENT", "INVALID_FIELD"), ("DEADLINE_EXCEEDED", "")
NO_PROOF = ("UNAUTHENTICATED", "NO_CREDENTIALS")

Ended = tuple[str, str, str]


def ended(at: Listening, token: str = "") -> Counter[Ended]:
    """How many calls have ended, by method, status and reason."""
    found = scrape(at.http, token)
    labels = [(each["method"], each["status"], each["reason"]) for each in found.all("rampd_rpc_calls_total")]
    numbers = {each: found("rampd_rpc_calls_total", method=each[0], status=each[1], reason=each[2]) for each in labels}
    return Counter({each: int(number or 0) for each, number in numbers.items()})


def expect_one(at: Listening, before: Counter[Ended], expected: Ended, token: str = "") -> None:
    """Expects exactly one call more, soon: the answer comes before the count of a caller that goes."""
    eventually(lambda: ended(at, token) - before)
    assert +(ended(at, token) - before) == Counter([expected])


BEFORE_A_HANDLER = {
    "no JSON": ("POST", RESOLVE, JSON, b"{", ("Resolve", *FIELD)),
    "a field that there is not": ("POST", RESOLVE, JSON, b'{"x": 1}', ("Resolve", *FIELD)),
    "a wrong type": ("POST", RESOLVE, {"content-type": "text/plain"}, b"{}", ("Resolve", "UNKNOWN", "")),
    "a wrong type of a stream": ("POST", WATCH, JSON, b"{}", ("Watch", "UNKNOWN", "")),
    "a wrong compression": ("POST", RESOLVE, {**JSON, "content-encoding": "br"}, b"", ("Resolve", "UNIMPLEMENTED", "")),
    "not compressed": ("POST", RESOLVE, GZIP, b"{}", ("Resolve", *FIELD)),
    "a wrong time": ("POST", RESOLVE, {**JSON, "connect-timeout-ms": "x"}, b"{}", ("Resolve", *FIELD)),
    "too large": ("POST", RESOLVE, JSON, b" " * (MAX_MESSAGE_BYTES + 1), ("Resolve", "INVALID_ARGUMENT", "TOO_LARGE")),
    "no query": ("GET", RESOLVE, {}, b"", ("Resolve", "UNKNOWN", "")),
    "no envelope": ("POST", WATCH, STREAM, b"{}", ("Watch", *FIELD)),
    "a wrong method of HTTP": ("GET", "/rampd.v1.RolloutService/Ramp", {}, b"", ("Ramp", "UNIMPLEMENTED", "")),
    "a method that there is not": ("POST", f"{RESOLVE}r", JSON, b"{}", ("_unknown", "UNIMPLEMENTED", "")),
    "a service that there is not": ("POST", "/rampd.v1.X/Resolve", JSON, b"{}", ("_unknown", "UNIMPLEMENTED", "")),
    "a page of another host": ("POST", RESOLVE, {**JSON, "origin": "http://x"}, b"{}", ("Resolve", "PERMISSION_DENIED", "")),
    "its time is over": ("POST", RESOLVE, {**JSON, "connect-timeout-ms": "50"}, LATE, ("Resolve", *OVER)),
    "the time of a stream is over": (
        *("POST", WATCH, {**STREAM, "connect-timeout-ms": "200"}, envelope(b"{}"), ("Watch", *OVER)),
    ),
    "a flag with a wrong type": ("POST", f"{FLAGS}/{C}", {}, b"{}", ("Resolve", *FIELD)),
    "a flag without a context": ("POST", f"{FLAGS}/{C}", JSON, b"{}", ("Resolve", *FIELD)),
    "all flags, and no JSON": ("POST", FLAGS, JSON, b"{", ("BatchResolve", *FIELD)),
    "all flags, of which there are none": ("POST", FLAGS, JSON, CONTEXT, ("BatchResolve", "OK", "")),
}  # fmt: skip


@pytest.mark.parametrize("how", BEFORE_A_HANDLER)
def test_a_call_over_http_that_no_handler_sees_counts_once(server: Server, how: str) -> None:
    method, path, headers, content, expected = BEFORE_A_HANDLER[how]
    if content == LATE:
        server.call("Release", component=C, tag="t1")
    before = ended(server.at)
    httpx.request(method, f"http://{server.at.http}{path}", headers=headers, content=content, timeout=30)
    expect_one(server.at, before, expected)


def test_flags_that_have_not_changed_count_as_a_call(server: Server) -> None:
    server.call("Release", component=C, tag="t1")
    url = f"http://{server.at.http}{FLAGS}"
    etag = httpx.post(url, headers=JSON, content=CONTEXT, timeout=60).headers["etag"]
    before = ended(server.at)
    assert httpx.post(url, headers={**JSON, "if-none-match": etag}, content=CONTEXT, timeout=60).status_code == 304
    expect_one(server.at, before, ("BatchResolve", "OK", ""))


def test_what_is_no_call_does_not_count(server: Server) -> None:
    before = ended(server.at)
    for path in ("/nothing", "/favicon.ico", "/healthz", "/rampd.v1", "/openapi.json"):
        httpx.get(f"http://{server.at.http}{path}", timeout=60)
    assert ended(server.at) == before


@pytest.mark.parametrize("way", ["closed", "too slow"])
def test_a_body_that_does_not_come_counts(server: Server, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "too slow":
        monkeypatch.setattr(body, "BODY_S", 0.2)
    before = ended(server.at)
    assert server.at.http is not None
    with socket.create_connection((server.at.http.host, server.at.http.port)) as connection:
        head = ("host: localhost", "content-type: application/json", "content-length: 9")
        connection.sendall("\r\n".join([f"POST {RESOLVE} HTTP/1.1", *head, "", "{"]).encode())
        if way == "too slow":
            assert connection.recv(12) == b"HTTP/1.1 504"
    expect_one(server.at, before, ("Resolve", *(OVER if way == "too slow" else ("CANCELLED", ""))))


def test_a_method_that_there_is_not_counts_over_grpc(server: Server) -> None:
    before = ended(server.at)
    with grpc.insecure_channel(str(server.at.grpc)) as channel:
        for path in ("/rampd.v1.ResolverService/Rezolve", "/other.Service/Resolve"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(path)(b"")
    expect_one(server.at, before, ("_unknown", "UNIMPLEMENTED", ""))


def test_a_call_over_grpc_whose_time_is_over_is_not_one_whose_caller_has_gone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up_within(monkeypatch, 600)
    server.call("Release", component=C, tag="t1")
    before = ended(server.at)
    with pytest.raises(grpc.RpcError):
        server.call.channel.unary_unary(RESOLVE)(
            v1.ResolveRequest(component=C, repo=REPO, min_revision=99).SerializeToString(), 2
        )
    expect_one(server.at, before, ("Resolve", *OVER))


REFUSED_AT_THE_DOOR = {
    "a call": (RESOLVE, JSON, b'{"component": "restyler", "repo": "a/b"}', "Resolve"),
    "a large call": (RESOLVE, JSON, b" " * (1 << 17), "Resolve"),
    "a call that gets large": (RESOLVE, GZIP, gzip.compress(b" " * (1 << 20)), "Resolve"),
    "a stream": (WATCH, STREAM, envelope(b"{}"), "Watch"),
    "a flag": (f"{FLAGS}/{C}", JSON, CONTEXT, "Resolve"),
    "a wrong flag": (f"{FLAGS}/{C}", JSON, b"{", "Resolve"),
    "all flags": (FLAGS, JSON, CONTEXT, "BatchResolve"),
}


def test_calls_that_are_refused_at_the_door_count_once(
    store_process: StoreServer, namespace: str, directory: Path
) -> None:
    tokens = Tokens(directory / "access.toml")
    viewer = tokens.grant("prometheus", "viewer")
    tokens.grant("one", "viewer", "limits = { calls_per_s = 0.001, burst = 1 }")
    settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False, "http": "127.0.0.1:0"}
    with testing.listening(directory, store_process.url, **settings) as at:

        def ask(path: str, content: bytes, headers: dict[str, str]) -> None:
            httpx.post(f"http://{at.http}{path}", headers=headers, content=content, timeout=30)

        for path, headers, content, method in REFUSED_AT_THE_DOOR.values():
            before = ended(at, viewer)
            ask(path, content, headers)
            expect_one(at, before, (method, *NO_PROOF), viewer)
        proof = {"authorization": f"Bearer {tokens.of['one']}"}
        ask(FLAGS, CONTEXT, {**JSON, **proof})
        for how in ("a call", "a flag", "a wrong flag", "all flags"):
            path, headers, content, method = REFUSED_AT_THE_DOOR[how]
            before = ended(at, viewer)
            ask(path, content, {**headers, **proof})
            expect_one(at, before, (method, "RESOURCE_EXHAUSTED", "LIMIT_EXCEEDED"), viewer)


def test_each_call_has_a_line_with_access_log(store_process: StoreServer, namespace: str, directory: Path) -> None:
    with (
        capture_logs() as lines,
        testing.listening(directory, store_process.url, namespace=namespace, http="127.0.0.1:0", access_log=True) as at,
        stubs(str(at.grpc)) as call,
    ):
        call("Release", component=C, tag="t1")
        refused(call, "Resolve", component="nobody", repo=REPO)
        url = f"http://{at.http}/rampd.v1.ResolverService/Resolve"
        assert httpx.post(url, json={"component": C, "repo": REPO}, timeout=60).json()["tag"] == "t1"
        scrape(at.http)
    ended = [line for line in lines if line["event"] == "call_ended"]
    assert [(line["method"], line["status"], line["reason"], line["identity"]) for line in ended] == [
        ("rampd.v1.ReleaseService/Release", "OK", "", "anonymous"),
        ("rampd.v1.ResolverService/Resolve", "NOT_FOUND", "COMPONENT_NOT_FOUND", "anonymous"),
        ("rampd.v1.ResolverService/Resolve", "OK", "", "anonymous"),
    ]
    assert all("127.0.0.1" in line["peer"] and line["seconds"] < 60 for line in ended)
    assert "secret" not in str(ended)


def test_a_call_whose_time_is_over_has_the_same_status_in_its_line(
    store_process: StoreServer, namespace: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the metrics, over gRPC and over HTTP."""
    catch_up_within(monkeypatch, 600)
    settings = {"namespace": namespace, "http": "127.0.0.1:0", "access_log": True}
    with (
        capture_logs() as lines,
        testing.listening(directory, store_process.url, **settings) as at,
        stubs(str(at.grpc)) as call,
    ):
        call("Release", component=C, tag="t1")
        late = v1.ResolveRequest(component=C, repo=REPO, min_revision=99)
        with pytest.raises(grpc.RpcError):
            call.channel.unary_unary(RESOLVE)(late.SerializeToString(), 2)
        answer = httpx.post(
            f"http://{at.http}{RESOLVE}", headers={**JSON, "connect-timeout-ms": "2000"}, content=LATE, timeout=60
        )
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")

        def statuses() -> list[str]:
            ended = [line for line in lines if line["event"] == "call_ended"]
            return [line["status"] for line in ended if line["method"].endswith("/Resolve")]

        eventually(lambda: len(statuses()) == 2)
    assert statuses() == ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]


def test_without_access_log_no_call_has_a_line(server: Server) -> None:
    with capture_logs() as lines:
        server.call("Release", component=C, tag="t1")
        server.call("Resolve", component=C, repo=REPO)
    assert not [line for line in lines if line["event"] == "call_ended"]


def test_a_writer_that_came_second_counts_as_a_conflict(server: Server, second: Stubs) -> None:
    begin(server.call)
    assert server.scrape()("rampd_commit_conflicts_total") == 0

    def both_write() -> float:
        with ThreadPoolExecutor(max_workers=8) as pool:
            for number in range(8):
                stub = (server.call, second)[number % 2]
                pool.submit(stub, "Ramp", component=C, percent=10 + number)
        return server.scrape()("rampd_commit_conflicts_total") or 0

    eventually(lambda: both_write() > 0)


def test_the_figures_of_the_process_and_of_the_store_are_its_own(server: Server) -> None:
    before = server.scrape()
    own = Path("/proc/self")
    resident = before("process_resident_memory_bytes")
    assert resident is not None
    assert resident == pytest.approx(int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"), rel=0.5)
    assert before("process_open_fds") == pytest.approx(len(list((own / "fd").iterdir())), abs=20)
    assert before("process_max_fds") == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    started_s = before("process_start_time_seconds")
    assert started_s is not None
    assert 0 < time.time() - started_s < 24 * 3600
    spent_s = time.process_time()
    while time.process_time() < spent_s + 0.3:
        pass
    server.call("Release", component=C, tag="t1")
    found = server.scrape()
    assert (found("process_cpu_seconds_total") or 0) >= (before("process_cpu_seconds_total") or 0) + 0.2
    commands = sum(found("rampd_store_commands_total", **labels) for labels in found.all("rampd_store_commands_total"))
    count, total_s = (found(f"rampd_store_command_duration_seconds_{part}") or 0 for part in ("count", "sum"))
    waits = found("rampd_store_commands_total", command="xread") or 0
    assert commands - waits <= count <= commands
    assert 0 < total_s < count


def test_a_loop_that_is_blocked_is_late(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(found: Scraped) -> float:
        """How many timers were late by more than half a second."""
        name = "rampd_event_loop_lag_seconds"
        return (found(f"{name}_count") or 0) - (found(f"{name}_bucket", le="0.5") or 0)

    before = late(server.scrape())

    def blocks(decision: Decision) -> Labels:
        time.sleep(1.5)
        return labels_of(decision)

    server.call("Release", component=C, tag="t1")
    server.call("SetOverride", component=C, repo=REPO, tag="pinned")
    monkeypatch.setattr(answer_counts, "labels_of", blocks)
    server.call("Resolve", component=C, repo=REPO)
    monkeypatch.undo()
    eventually(lambda: late(server.scrape()) > before)
    seconds = server.scrape()("rampd_event_loop_lag_seconds_sum")
    assert seconds is not None
    assert seconds > 0.5


def test_watchers_are_counted_while_they_watch(server: Server) -> None:
    server.call("Release", component=C, tag="t1")
    with grpc.insecure_channel(str(server.at.grpc)) as channel:
        watch = channel.unary_stream(
            "/rampd.v1.ResolverService/Watch",
            request_serializer=v1.WatchRequest.SerializeToString,
            response_deserializer=v1.WatchResponse.FromString,
        )
        stream = watch(v1.WatchRequest())
        next(stream)
        found = server.scrape()
        assert found("rampd_watchers") == 1
        age = found("rampd_slowest_watcher_age_seconds")
        assert age is not None
        assert age < 50
        stream.cancel()
        eventually(lambda: server.scrape()("rampd_watchers") == 0)
    labels = {"method": "Watch", "status": "CANCELLED", "reason": ""}
    eventually(lambda: server.scrape()("rampd_rpc_calls_total", **labels) == 1)


def test_ignored_outcomes_count_by_why_and_a_repeat_only_once(server: Server) -> None:
    server.call("Release", component=C, tag="t1")
    outcome = v1.Outcome(
        component=C, release=1, revision=99, channel=v1.CHANNEL_CURRENT, repo=REPO,
        reason=v1.RESOLVE_REASON_STEADY, result=v1.OUTCOME_RESULT_SUCCEEDED,
    )  # fmt: skip
    for _ in range(2):
        server.call("ReportOutcomes", client_id="w", sequence=1, outcomes=[outcome])
    gone = v1.Outcome()
    gone.MergeFrom(outcome)
    gone.component = "gone"
    server.call("ReportOutcomes", client_id="w", sequence=2, outcomes=[gone])
    found = server.scrape()
    assert found("rampd_outcomes_ignored_total", reason="REVISION_UNKNOWN") == 1
    assert found("rampd_outcomes_ignored_total", reason="COMPONENT_NOT_FOUND") == 1
    assert found("rampd_outcomes_ignored_total", reason="TRIAL_ENDED") == 0
    assert found("rampd_outcomes_accepted_total") == 0
    assert not found.all("rampd_jobs_total")


def test_what_notify_would_have_done_is_counted_as_not_applied(server: Server) -> None:
    begin(server.call, on_regression=v1.ON_REGRESSION_NOTIFY)
    run_jobs(server.call, "next", 12, failed=12, sequence=1)
    labels = {"component": C, "decision": "ROLLBACK", "cause": "RELATIVE_GUARD"}
    eventually(lambda: server.scrape()("rampd_decisions_total", **labels, applied="false") == 1)
    found = server.scrape()
    assert found("rampd_decisions_total", **labels, applied="true") == 0
    assert states(found)["ROLLING_OUT"] == 1


def test_time_counts_by_what_a_rollout_is_doing(server: Server) -> None:
    step = v1.Step(percent=10, hold=Duration(seconds=1), min_jobs=100)
    server.call("Release", component=C, tag="t1")
    server.call("SetPolicy", component=C, policy=v1.Policy(steps=[step, v1.Step(percent=50)], auto_start=True))
    server.call("Release", component=C, tag="t2")
    eventually(lambda: seconds(server.scrape(), "holding") > 0.2)
    assert 0.9 < seconds(server.scrape(), "ramping") < 60
    server.call("Pause", component=C)
    eventually(lambda: seconds(server.scrape(), "paused") > 0.2)
    server.call("Freeze", all=True)
    eventually(lambda: seconds(server.scrape(), "frozen") > 0.2)
    found = server.scrape()
    assert found("rampd_frozen", component=C) == 1
    assert found("rampd_paused", component=C) == 1
    server.call("Rollback", component=C)
    eventually(lambda: seconds(server.scrape(), "held") > 0.2)
    again = server.scrape()
    for doing in ("ramping", "holding", "paused"):
        assert seconds(again, doing) == seconds(found, doing)


def test_a_check_has_its_value_its_state_and_its_age(
    store_process: StoreServer, namespace: str, directory: Path
) -> None:
    second = Duration(seconds=1)
    check = v1.Check(name="errors", query="vector(0.25)", max=0.5, interval=second)
    others = [
        v1.Check(name="failing", query="vector(0.75)", max=0.5, interval=second, failures_allowed=1_000),
        v1.Check(name="error", query="nobody_has_this_metric", max=0.5, interval=second, errors_allowed=1_000),
    ]
    with (
        prometheus(directory, scrapes=1) as source,
        short_directory() as data,
        testing.listening(
            data, store_process.url, namespace=namespace, http="127.0.0.1:0", prometheus_url=source.url
        ) as at,
        stubs(str(at.grpc)) as call,
    ):
        begin(call, checks=[check, *others])
        for each in others:
            of_it = {"component": C, "check": each.name}
            eventually(lambda of_it=of_it: scrape(at.http)("rampd_check_state", **of_it, state=of_it["check"]) == 1)
            assert scrape(at.http)("rampd_check_state", **of_it, state="passing") == 0
        eventually(lambda: scrape(at.http)("rampd_check_value", component=C, check="failing") == 0.75)
        assert scrape(at.http)("rampd_check_value", component=C, check="error") is None
        labels = {"component": C, "check": "errors"}
        scrapes: list[Scraped] = []

        def passes() -> bool:
            scrapes.append(scrape(at.http))
            return scrapes[-1]("rampd_check_state", **labels, state="passing") == 1

        # A question that Prometheus does not answer in time is an error until the next one.
        eventually(passes)
        found = scrapes[-1]
        assert found("rampd_check_value", **labels) == 0.25
        assert {
            state: found("rampd_check_state", **labels, state=state) for state in ("failing", "error", "unknown")
        } == {
            "failing": 0,
            "error": 0,
            "unknown": 0,
        }
        age = found("rampd_check_age_seconds", **labels)
        assert age is not None
        assert age < 60
        call("Rollback", component=C)
        # It is not asked any more.
        eventually(lambda: (scrape(at.http)("rampd_check_age_seconds", **labels) or 0) > age + 2)


def test_a_server_that_has_lost_its_store_says_nothing_of_components(
    store_process: StoreServer, namespace: str, directory: Path
) -> None:
    with (
        proxy_to_unix(store_process.url.removeprefix("unix://")) as proxy,
        server_that_soon_gives_up(
            directory, f"redis://127.0.0.1:{proxy.port}", namespace=namespace, http="127.0.0.1:0"
        ) as at,
        stubs(str(at.grpc)) as call,
    ):
        # The store has little time for an answer, and a change that was made already changes nothing.
        eventually(lambda: begin(call) is None, suppressed=grpc.RpcError)
        call("Resolve", component=C, repo=REPO)
        eventually(lambda: scrape(at.http)("rampd_copy_stale") == 0)
        before = scrape(at.http)
        reconnects = before("rampd_store_reconnects_total")
        assert reconnects is not None
        proxy.is_silent.set()
        eventually(lambda: scrape(at.http)("rampd_copy_stale") == 1)
        call("Resolve", component=C, repo=REPO)
        found = scrape(at.http)
        assert found.all("rampd_resolves_total")
        assert {line.partition("{")[0] for line in found.text.splitlines() if f'component="{C}"' in line} == {
            "rampd_resolves_total"
        }
        assert found("rampd_components") is None
        eventually(lambda: scrape(at.http)("rampd_store_errors_total", reason="STORE_UNAVAILABLE") > 0)
        age = found("rampd_copy_age_seconds")
        assert age is not None
        assert age > 1
        proxy.is_silent.clear()
        eventually(lambda: scrape(at.http)("rampd_copy_stale") == 0)
        eventually(lambda: scrape(at.http)("rampd_copy_age_seconds") < 1)
        eventually(lambda: states(scrape(at.http))["ROLLING_OUT"] == 1)
        after = scrape(at.http)
        assert after("rampd_store_reconnects_total") > reconnects
        assert all(after.counters()[name] >= value for name, value in before.counters().items())


@pytest.mark.usefixtures("never_stale")
def test_a_damaged_component_shows_and_keeps_its_counters(
    server: Server, store_process: StoreServer, namespace: str
) -> None:
    begin(server.call)
    run_jobs(server.call, "next", 2, failed=1, sequence=1)
    server.call("Release", component="other", tag="t1")
    before = server.scrape()
    assert before("rampd_components_damaged") == 0
    assert before("rampd_store_errors_total", reason="STORE_CORRUPT") == 0

    async def break_it() -> None:
        store = store_process.store(namespace)
        await damage(store, C, "releases", "type")
        await make_servers_read_again(store, C)
        await store.close()

    asyncio.run(break_it())
    eventually(lambda: server.scrape()("rampd_components_damaged") == 1)
    found = server.scrape()
    assert found("rampd_store_errors_total", reason="STORE_CORRUPT") > 0
    assert found("rampd_copy_stale") == 0
    assert states(found) == {"STEADY": None, "ROLLING_OUT": None, "HELD": None}
    kept = {name: value for name, value in before.counters().items() if f"('component', '{C}')" in name}
    assert {name.partition("[")[0] for name in kept} >= {"rampd_jobs_total", "rampd_decisions_total"}
    assert all(found.counters().get(name, -1) >= value for name, value in kept.items())
    server.call("DeleteComponent", component=C, confirm=C)
    eventually(lambda: server.scrape()("rampd_components_damaged") == 0)
    assert server.scrape().components == {"other"}


def test_an_emptied_store_counts_as_such(server: Server, store_process: StoreServer, namespace: str) -> None:
    server.call("Release", component=C, tag="t1")
    before = server.scrape()("rampd_store_errors_total", reason="STORE_RESET")
    assert before == 0

    async def empty() -> None:
        store = store_process.store(namespace)
        await store.client.delete(store.keys.meta)
        await store.close()

    asyncio.run(empty())
    eventually(lambda: server.scrape()("rampd_store_errors_total", reason="STORE_RESET") > before)
    # It goes on as long as the store is empty, so the alert fires.
    present = server.scrape()("rampd_store_errors_total", reason="STORE_RESET")
    eventually(lambda: server.scrape()("rampd_store_errors_total", reason="STORE_RESET") > present)


def test_lost_revisions_are_counted_for_their_component(
    server: Server, store_process: StoreServer, namespace: str
) -> None:
    """Given a store that goes back, expect how many revisions it has lost. Those of a component that it has lost completely count for
    `_others`.
    """
    server.call("Release", component=C, tag="t1")

    async def lose() -> None:
        store = store_process.store(namespace)
        async with copied(store_process, store) as put_back:
            server.call("Release", component=C, tag="t2")
            server.call("Ramp", component=C, percent=10)
            server.call("Release", component="gone", tag="t1")
            await put_back()
        await store.close()

    # Prometheus sees no increase from nothing to one.
    assert server.scrape()("rampd_writes_lost_total", component=C) == 0
    asyncio.run(lose())
    eventually(lambda: server.scrape()("rampd_writes_lost_total", component=C) == 2)
    eventually(lambda: server.scrape()("rampd_writes_lost_total", component="_others") == 1)
    found = server.scrape()
    assert found.components == {C, "_others"}
    assert found("rampd_writes_lost_total", component="_others") == 1


def test_a_deleted_component_has_no_series_any_more(server: Server) -> None:
    begin(server.call)
    run_jobs(server.call, "next", 2, failed=1, sequence=1)
    server.call("Release", component="other", tag="t1")
    eventually(lambda: server.scrape().all("rampd_evidence"))
    assert server.scrape().components == {C, "other"}
    server.call("DeleteComponent", component=C, confirm=C)
    assert server.scrape().components == {"other"}


def test_components_beyond_the_limit_are_summed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given 1,001 components, expect the series of the oldest 1,000, and the newest one under `_others`."""
    assert shown.LIMIT == 1_000
    for number in range(1_001):
        # A store that is slow for a moment fails a call, and the same tag again changes nothing.
        name = f"c{1_001 - number}"
        eventually(lambda name=name: server.call("Release", component=name, tag="t1"), suppressed=grpc.RpcError)
    server.call("Release", component="c1", tag="t2")
    server.call("Ramp", component="c1", percent=10)
    server.call("Resolve", component="c1", repo=REPO)
    server.call("Resolve", component="c2", repo=REPO)
    found = server.scrape()
    assert found("rampd_components") == 1_001
    assert found("rampd_components_summed") == 1
    assert len(found.all("rampd_next_percent")) == 1_000
    assert found.components == {f"c{number}" for number in range(2, 1_002)} | {"_others"}
    assert found("rampd_state", component="_others", state="ROLLING_OUT") == 1
    assert found("rampd_state", component="_others", state="STEADY") == 0
    assert sum(found("rampd_resolves_total", **labels) for labels in found.all("rampd_resolves_total")) == 2
    assert [labels["component"] for labels in found.all("rampd_resolves_total", reason="WEIGHT")] == ["_others"]
    assert (found("rampd_rollout_seconds_total", component="_others", doing="waiting") or 0) > 0

    server.call("DeleteComponent", component="c1001", confirm="c1001")
    again = server.scrape()
    assert again("rampd_components_summed") == 0
    assert again("rampd_state", component="c1", state="ROLLING_OUT") == 1
    # What was counted for the others stays with the others.
    others = {name: value for name, value in found.counters().items() if "_others" in name}
    assert {name: again.counters()[name] for name in others}.items() >= others.items()


def test_another_number_of_components_may_be_set(store_process: StoreServer, namespace: str, directory: Path) -> None:
    with (
        testing.listening(
            directory, store_process.url, namespace=namespace, http="127.0.0.1:0", metrics_components=1
        ) as at,
        stubs(str(at.grpc)) as call,
    ):
        for component in ("a", "b", "c"):
            call("Release", component=component, tag="t1")
        found = scrape(at.http)
    assert found.components == {"a", "_others"}
    assert found("rampd_components_summed") == 2


@pytest.mark.usefixtures("never_stale")
def test_who_may_read_sees_the_series_of_the_own_components(
    store_process: StoreServer, namespace: str, directory: Path
) -> None:
    tokens = {name: new_token() for name in ("ops", "team", "launcher")}
    rows = {"ops": ("admin", ""), "team": ("viewer", 'components = ["team-*"]'), "launcher": ("launcher", "")}
    access = directory / "access.toml"
    access.touch(mode=0o600)
    access.write_text(
        "".join(
            f'[[grant]]\nname = "{name}"\nrole = "{role}"\ntokens = ["{digest_of(tokens[name])}"]\n{more}\n'
            for name, (role, more) in rows.items()
        )
    )
    settings = {"namespace": namespace, "http": "127.0.0.1:0", "access_file": access, "insecure_admin": False}
    with (
        testing.listening(directory, store_process.url, **settings) as at,
        stubs(f"unix:{directory}/rampd.sock") as call,
    ):
        for component in ("team-a", "secret"):
            call("Release", component=component, tag="t1")
            call("Resolve", component=component, repo=REPO)
        assert scrape(at.http, tokens["ops"]).components == {"team-a", "secret"}
        found = scrape(at.http, tokens["team"])
        assert found.components == {"team-a"}
        assert found("rampd_components") is None
        assert "secret" not in found.text
        assert found("rampd_copy_stale") == 0
        url = f"http://{at.http}/metrics"
        assert httpx.get(url, timeout=60).status_code == 401
        assert httpx.get(url, headers={"authorization": f"Bearer {new_token()}"}, timeout=60).status_code == 401
        answer = httpx.get(url, headers={"authorization": f"Bearer {tokens['launcher']}"}, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert "viewer" in answer.json()["message"]


def test_a_certificate_has_its_end_and_what_became_of_new_files(
    store_process: StoreServer, namespace: str, directory: Path
) -> None:
    certificate, key = make_certificate(directory)
    good = certificate.read_bytes()
    settings = {
        "listen": (Address("127.0.0.1", 0, is_tls=True),),
        "http": Address("127.0.0.1", 0, is_tls=False),
        "tls_cert": certificate,
        "tls_key": key,
    }
    with (
        short_directory() as data,
        testing.listening(data, store_process.url, namespace=namespace, **settings) as at,
    ):

        def reloads(result: str) -> float | None:
            # The files are looked at before a handshake.
            with contextlib.suppress(OSError):
                ssl.get_server_certificate((at.grpc.host, at.grpc.port))
            return scrape(at.http)("rampd_file_reloads_total", file="certificate", result=result)

        ends_s = scrape(at.http)("rampd_certificate_expire_timestamp_seconds")
        assert ends_s is not None
        assert 0 < ends_s - time.time() < 3 * 24 * 3600
        assert reloads("used") == 0
        assert scrape(at.http)("rampd_file_refused", file="certificate") == 0
        certificate.write_text("no certificate")
        # Without a handshake.
        assert scrape(at.http)("rampd_file_refused", file="certificate") == 1
        assert reloads("refused") == 1
        assert scrape(at.http)("rampd_certificate_expire_timestamp_seconds") == ends_s
        certificate.write_bytes(good)
        eventually(lambda: reloads("used") == 1)
        assert [scrape(at.http)("rampd_file_refused", file=file) for file in ("certificate", "access_file")] == [0, 0]
        assert scrape(at.http)("rampd_file_reloads_total", file="access_file", result="used") == 0


def test_promtool_finds_nothing_against_the_conventions(server: Server) -> None:
    begin(server.call)
    run_jobs(server.call, "next", 3, failed=1, sequence=1)
    text = server.scrape().text
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_real_prometheus_scrapes_a_real_server(server: Server, directory: Path) -> None:
    begin(server.call)
    server.call("Resolve", component=C, repo=REPO)
    with prometheus(directory, scrapes=server.at.http.port) as source:

        def ask(query: str) -> list[dict[str, object]]:
            answer = httpx.get(f"{source.url}/api/v1/query", params={"query": query}, timeout=60)
            return answer.json()["data"]["result"]

        def value(query: str) -> float | None:
            found = ask(query)
            return float(found[0]["value"][1]) if found else None

        eventually(lambda: value(f'rampd_next_percent{{component="{C}"}}') == 10)
        assert value("up") == 1
        server.call("Rollback", component=C)
        eventually(lambda: value(f'rampd_state{{component="{C}",state="HELD"}}') == 1)
        eventually(lambda: (value("rate(rampd_event_loop_lag_seconds_count[5s])") or 0) > 0)
        server.call("DeleteComponent", component=C, confirm=C)
        eventually(lambda: ask("rampd_state") == [])
