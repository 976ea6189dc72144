"""Traces: the spans of calls, of the store and of automation, and the way from a build to its rollback."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from opentelemetry.trace import SpanKind, StatusCode

import rampd
from rampd import v1
from rampd_server import testing
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import DeadlineError
from rampd_server.listeners import Listening
from rampd_server.rpc.binding import Call, bind
from rampd_server.rpc.door import Door, local
from tests.faults.test_check_sources import answer_to, saying, vector
from tests.over_http import stubs_over_http
from tests.servers import Stubs, short_directory, stubs
from tests.spans import Spans, recording
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
REPO = "acme/secret-name"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
RESOLVE = "rampd.v1.ResolverService/Resolve"
RELEASE = "rampd.v1.ReleaseService/Release"
WATCH_RELEASE = "rampd.v1.ReleaseService/WatchRelease"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    with recording(monkeypatch) as found:
        yield found


@pytest.fixture
def traced(spans: Spans, listening: Listening) -> Listening:
    """A server that was started after the provider was set up."""
    return listening


@pytest.fixture
def traced_call(traced: Listening) -> Iterator[Stubs]:
    with stubs(str(traced.grpc)) as made:
        yield made


@pytest.fixture
def admin(traced: Listening) -> Iterator[rampd.Admin]:
    with rampd.Admin(str(traced.grpc)) as made:
        yield made


def trace_of(span: object) -> str:
    return f"{span.context.trace_id:032x}"  # type: ignore[attr-defined]


class TestCalls:
    def test_a_call_has_a_span_on_each_side_in_one_trace(self, spans: Spans, admin: rampd.Admin) -> None:
        with spans.tracer.start_as_current_span("build") as build:
            admin.release(C, "t1")

        client, server = spans.one(RELEASE, SpanKind.CLIENT), spans.one(RELEASE, SpanKind.SERVER)
        assert client.parent is not None
        assert client.parent.span_id == build.get_span_context().span_id
        assert server.parent is not None
        assert server.parent.span_id == client.context.span_id
        for span in (client, server):
            assert span.attributes is not None
            assert span.attributes["rpc.system"] == "grpc"
            assert span.attributes["rpc.service"] == "rampd.v1.ReleaseService"
            assert span.attributes["rpc.method"] == "Release"
            assert span.attributes["rpc.grpc.status_code"] == 0
            assert span.status.status_code is StatusCode.UNSET
        assert server.attributes is not None
        assert {key: value for key, value in server.attributes.items() if key.startswith("rampd.")} == {
            "rampd.component": C,
            "rampd.tag": "t1",
            "rampd.release": 1,
            "rampd.disposition": "BOOTSTRAPPED",
            "rampd.revision": 1,
        }

    @pytest.mark.usefixtures("never_stale")
    def test_resolve_says_what_it_decided_and_no_repo(
        self, spans: Spans, traced: Listening, admin: rampd.Admin
    ) -> None:
        admin.release(C, "t1")
        with rampd.Resolver(str(traced.grpc), mode="rpc") as resolver:
            resolver.resolve(C, repo=REPO, job_id="job-4711")

        span = spans.one(RESOLVE, SpanKind.SERVER)
        assert span.attributes is not None
        assert {key: value for key, value in span.attributes.items() if key.startswith("rampd.")} == {
            "rampd.component": C,
            "rampd.tag": "t1",
            "rampd.channel": "CURRENT",
            "rampd.reason": "STEADY",
            "rampd.release": 1,
            "rampd.revision": 1,
            "rampd.stale": False,
        }

    def test_an_override_of_a_repo_leaves_the_repo_in_no_span(self, spans: Spans, admin: rampd.Admin) -> None:
        admin.release(C, "t1")
        admin.set_override(C, REPO, tag="t0")
        admin.delete_override(C, REPO)
        with pytest.raises(rampd.NotFoundError):
            admin.delete_override(C, REPO)

        spans.one(
            "rampd.v1.RolloutService/DeleteOverride",
            SpanKind.SERVER,
            where=lambda span: "error.type" in span.attributes,
        )
        spans.one("commit_overrides")
        assert not [span for span in spans.all("*") if "secret-name" in span.to_json()]

    def test_a_refusal_is_in_the_span_of_both_sides(self, spans: Spans, admin: rampd.Admin) -> None:
        with pytest.raises(rampd.NotFoundError):
            admin.ramp(C, 10)

        for kind, status in ((SpanKind.SERVER, StatusCode.UNSET), (SpanKind.CLIENT, StatusCode.ERROR)):
            span = spans.one("rampd.v1.RolloutService/Ramp", kind)
            assert span.attributes is not None
            assert span.attributes["error.type"] == "COMPONENT_NOT_FOUND"
            assert span.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
            assert span.status.status_code is status

    def test_a_server_that_is_not_there_is_an_error_of_the_call(self, spans: Spans) -> None:
        with rampd.Admin("127.0.0.1:1", timeout=1) as admin, pytest.raises(rampd.RampdError) as raised:
            admin.get_rollout(C)

        span = spans.one("rampd.v1.RolloutService/GetRollout", SpanKind.CLIENT)
        assert span.attributes is not None
        assert span.attributes["error.type"] == raised.value.reason
        assert (span.attributes["server.address"], span.attributes["server.port"]) == ("127.0.0.1", 1)

    async def test_asyncio_has_the_same(self, spans: Spans, traced: Listening) -> None:
        async with rampd.AsyncAdmin(str(traced.grpc)) as admin:
            with spans.tracer.start_as_current_span("build") as build:
                await admin.release(C, "t1")
                async for _ in admin.watch_release(C, 1):
                    pass

        for name in (RELEASE, WATCH_RELEASE):
            server, client = spans.one(name, SpanKind.SERVER), spans.one(name, SpanKind.CLIENT)
            assert client.parent is not None
            assert client.parent.span_id == build.get_span_context().span_id
            assert server.parent is not None
            assert server.parent.span_id == client.context.span_id

    def test_the_context_comes_in_headers_of_http_too(self, spans: Spans, traced: Listening) -> None:
        with stubs_over_http(f"http://{traced.http}") as call:
            path = f"/{RELEASE}"
            call.channel.unary_unary(path, v1.ReleaseRequest.SerializeToString, v1.ReleaseResponse.FromString)(
                v1.ReleaseRequest(component=C, tag="t1"), metadata=[("traceparent", TRACEPARENT)]
            )
            with pytest.raises(grpc.RpcError):
                call("Ramp", component="none", percent=1)

        span = spans.one(RELEASE)
        assert trace_of(span) == TRACE
        assert span.attributes is not None
        assert span.attributes["rpc.system"] == "connect_rpc"
        assert "rpc.grpc.status_code" not in span.attributes
        refused = spans.one("rampd.v1.RolloutService/Ramp")
        assert refused.attributes is not None
        assert refused.attributes["rpc.connect_rpc.error_code"] == "not_found"


class TestStreams:
    def test_a_stream_that_ends_has_ended_well(self, spans: Spans, admin: rampd.Admin) -> None:
        number = admin.release(C, "t1").release
        assert [each.release.state for each in admin.watch_release(C, number)] == [v1.RELEASE_STATE_CURRENT]

        span = spans.one(WATCH_RELEASE, SpanKind.SERVER)
        assert span.attributes is not None
        assert span.attributes["rpc.grpc.status_code"] == 0
        assert (span.attributes["rampd.component"], span.attributes["rampd.release"]) == (C, 1)
        assert "error.type" not in span.attributes

    def test_a_stream_that_its_caller_ends_is_cancelled_and_its_span_ends(
        self, spans: Spans, admin: rampd.Admin
    ) -> None:
        admin.release(C, "t1")
        number = admin.release(C, "t2").release
        stream = admin.watch_release(C, number)
        next(stream)
        assert not spans.all(WATCH_RELEASE)
        stream.close()  # type: ignore[attr-defined]

        server, client = spans.one(WATCH_RELEASE, SpanKind.SERVER), spans.one(WATCH_RELEASE, SpanKind.CLIENT)
        assert server.attributes is not None
        assert server.attributes["rpc.grpc.status_code"] == grpc.StatusCode.CANCELLED.value[0]
        assert server.attributes["error.type"] == "CANCELLED"
        assert server.status.status_code is StatusCode.UNSET
        assert client.status.status_code is StatusCode.UNSET

    def test_a_stream_that_is_refused_says_why(self, spans: Spans, admin: rampd.Admin) -> None:
        with pytest.raises(rampd.NotFoundError):
            next(admin.watch_release(C, 7))

        span = spans.one(WATCH_RELEASE, SpanKind.SERVER)
        assert span.attributes is not None
        assert span.attributes["error.type"] == "COMPONENT_NOT_FOUND"

    def test_two_streams_at_once_have_their_own_spans_and_callers(self, spans: Spans, traced_call: Stubs) -> None:
        """Where a span is left open over the answers of a stream in the task's context, each is the parent of the next."""
        traced_call("Release", component=C, tag="t1")
        watch = traced_call.channel.unary_stream(
            "/rampd.v1.ResolverService/Watch", v1.WatchRequest.SerializeToString, v1.WatchResponse.FromString
        )
        callers = [f"00-{digit * 32}-b7ad6b7169203331-01" for digit in "12"]
        streams = [watch(v1.WatchRequest(), metadata=[("traceparent", each)]) for each in callers]
        for stream in streams:
            next(stream)
        for stream in streams:
            stream.cancel()

        eventually(lambda: len(spans.all("rampd.v1.ResolverService/Watch", SpanKind.SERVER)) == 2)
        found = spans.all("rampd.v1.ResolverService/Watch", SpanKind.SERVER)
        assert {trace_of(span) for span in found} == {"1" * 32, "2" * 32}


class Broken:
    async def get_rollout(self, _request: object, _call: Call) -> v1.GetRolloutResponse:
        raise ValueError("a defect")

    async def ramp(self, _request: object, _call: Call) -> v1.RampResponse:
        raise DeadlineError("too late")


class FakeContext:
    """The part of a call's context that a refused call uses. `left_s` is what is left of its time."""

    def __init__(self, left_s: float | None = None) -> None:
        self._left_s = left_s

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def time_remaining(self) -> float | None:
        return self._left_s

    def peer(self) -> str:
        return "nobody"

    async def abort_with_status(self, status: object) -> None:
        raise grpc.aio.AbortError

    async def abort(self, *_status: object) -> None:
        raise grpc.aio.AbortError


@pytest.mark.parametrize(
    ("method", "request_", "error_type", "code"),
    [
        ("GetRollout", v1.GetRolloutRequest(component=C), "INTERNAL", 13),
        ("Ramp", v1.RampRequest(component=C, percent=1), "DEADLINE_EXCEEDED", 4),
    ],
)
async def test_what_the_server_is_to_blame_for_is_an_error_of_its_span(
    spans: Spans, method: str, request_: v1.RampRequest, error_type: str, code: int
) -> None:
    handlers = bind({"RolloutService": Broken()}, violations=lambda _: [], door=Door(local(Role.ADMIN)))
    handle = handlers._handlers[f"/rampd.v1.RolloutService/{method}"].unary_unary
    with pytest.raises(grpc.aio.AbortError):
        await handle(request_.SerializeToString(), FakeContext())

    span = spans.one(f"rampd.v1.RolloutService/{method}")
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.attributes["rpc.grpc.status_code"]) == (error_type, code)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None


@pytest.mark.parametrize(
    ("left_s", "error_type", "code", "status"),
    [
        (None, "CANCELLED", 1, StatusCode.UNSET),
        (5.0, "CANCELLED", 1, StatusCode.UNSET),
        (0.0, "DEADLINE_EXCEEDED", 4, StatusCode.ERROR),
    ],
    ids=["without a deadline", "before its deadline", "its time is over"],
)
async def test_a_call_that_is_cancelled_says_so(
    spans: Spans, left_s: float | None, error_type: str, code: int, status: StatusCode
) -> None:
    began = asyncio.Event()

    class Slow:
        async def get_rollout(self, _request: object, _call: Call) -> v1.GetRolloutResponse:
            began.set()
            await asyncio.Event().wait()
            raise AssertionError

    handlers = bind({"RolloutService": Slow()}, violations=lambda _: [], door=Door(local(Role.ADMIN)))
    handle = handlers._handlers["/rampd.v1.RolloutService/GetRollout"].unary_unary
    task = asyncio.create_task(handle(b"", FakeContext(left_s)))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    span = spans.one("rampd.v1.RolloutService/GetRollout")
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.attributes["rpc.grpc.status_code"]) == (error_type, code)
    assert span.status.status_code is status


class TestOff:
    def handler(self) -> str:
        handlers = bind({}, violations=lambda _: [], door=Door(local(Role.ADMIN)))
        return handlers._handlers[f"/{RESOLVE}"].unary_unary.__qualname__

    def test_without_a_provider_the_handler_is_the_plain_one(self) -> None:
        assert self.handler() == "_unary.<locals>.handle"

    def test_with_a_provider_it_has_a_span_around_it(self, spans: Spans) -> None:
        assert self.handler() == "CallSpans.around.<locals>.traced"

    def test_a_provider_that_is_switched_off_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        with recording(monkeypatch):
            assert self.handler() == "_unary.<locals>.handle"


class TestStore:
    def test_the_commands_of_a_call_are_its_children(self, spans: Spans, traced_call: Stubs) -> None:
        traced_call("Release", component=C, tag="t1")

        call, commit = spans.one(RELEASE), spans.one("commit_rollout")
        assert commit.parent is not None
        assert commit.parent.span_id == call.context.span_id
        assert commit.kind is SpanKind.CLIENT
        assert dict(commit.attributes or {}) == {"db.system.name": "redis", "db.operation.name": "commit_rollout"}

    def test_what_a_server_asks_by_itself_is_in_no_trace(self, spans: Spans, traced_call: Stubs) -> None:
        traced_call("Release", component=C, tag="t1")
        spans.one(RELEASE)

        assert not [span for span in spans.all("*", SpanKind.CLIENT) if span.parent is None]


class TestBuild:
    def attributes(self, call: Stubs, release: int = 1) -> dict[str, str]:
        return dict(call("GetRelease", component=C, release=release).release.attributes)

    def release(self, call: Stubs, *, traceparent: str | None = TRACEPARENT, **fields: object) -> None:
        metadata = [] if traceparent is None else [("traceparent", traceparent)]
        stub = call.channel.unary_unary(
            f"/{RELEASE}", v1.ReleaseRequest.SerializeToString, v1.ReleaseResponse.FromString
        )
        stub(v1.ReleaseRequest(component=C, **fields), metadata=metadata, timeout=60)

    def test_a_release_keeps_where_its_build_is_in_a_trace(self, call: Stubs) -> None:
        """Also where the server itself makes no spans."""
        self.release(call, tag="t1", attributes={"commit": "abc"})
        assert self.attributes(call) == {"commit": "abc", "traceparent": TRACEPARENT}

    def test_what_the_build_says_itself_stays(self, call: Stubs) -> None:
        self.release(call, tag="t1", attributes={"traceparent": "its own"})
        assert self.attributes(call) == {"traceparent": "its own"}

    @pytest.mark.parametrize("traceparent", [None, "00-nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01"])
    def test_without_a_trace_nothing_is_added(self, call: Stubs, traceparent: str | None) -> None:
        self.release(call, tag="t1", traceparent=traceparent)
        assert self.attributes(call) == {}

    @pytest.mark.parametrize(
        "full",
        [
            {f"k{number}": "" for number in range(64)},
            {f"k{number:02}": "x" * 500 for number in range(32)} | {"y": "z" * 250},
        ],
        ids=["64 attributes", "16 KiB"],
    )
    def test_a_release_without_room_is_as_its_build_made_it(self, call: Stubs, full: dict[str, str]) -> None:
        self.release(call, tag="t1", attributes=full)
        assert self.attributes(call) == full

    def test_a_release_with_just_enough_room_keeps_it(self, call: Stubs) -> None:
        self.release(call, tag="t1", attributes={f"k{number}": "" for number in range(63)})
        assert self.attributes(call)["traceparent"] == TRACEPARENT

    def test_automations_steps_and_rollback_lead_to_the_build(self, spans: Spans, traced_call: Stubs) -> None:
        call = traced_call
        self.release(call, tag="t1", traceparent=None)
        policy = v1.Policy(steps=[v1.Step(percent=50, hold=Duration(seconds=600))], auto_start=True)
        call("SetPolicy", component=C, policy=policy)
        self.release(call, tag="t2")
        step = spans.one("automation Step")
        call("Ramp", component=C, percent=60, confirm_within=Duration(seconds=1))
        rollback = spans.one("automation Rollback")

        for span in (step, rollback):
            assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
            assert span.parent is None
            assert span.attributes is not None
            assert span.attributes["rampd.component"] == C
            assert (span.attributes["rampd.tag"], span.attributes["rampd.release"]) == ("t2", 2)
        assert rollback.attributes is not None
        assert rollback.attributes["rampd.action"] == "ROLLBACK"
        assert rollback.attributes["rampd.cause"] == "CONFIRM"
        commits = [
            span
            for span in spans.all("commit_rollout")
            if span.parent and span.parent.span_id == rollback.context.span_id
        ]
        assert commits

    def test_a_release_without_a_trace_has_no_link(self, spans: Spans, traced_call: Stubs) -> None:
        self.release(traced_call, tag="t1", traceparent=None)
        self.release(traced_call, tag="t2", traceparent=None, attributes={"traceparent": "not one"})
        traced_call("Ramp", component=C, percent=60, confirm_within=Duration(seconds=1))
        assert not spans.one("automation Rollback").links


class Asked(BaseHTTPRequestHandler):
    """A Prometheus whose every answer is one."""

    headers_seen: list[str | None]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.headers["traceparent"])  # type: ignore[attr-defined]
        body = json.dumps(
            {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]}}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_prometheus_gets_the_place_in_the_trace(spans: Spans, store_process: StoreServer, namespace: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as prometheus, short_directory() as directory:
        prometheus.seen = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=prometheus.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{prometheus.server_port}"
        try:
            with (
                testing.run(directory, store_process.url, namespace=namespace, prometheus_url=url) as target,
                stubs(target) as call,
            ):
                TestBuild().release(call, tag="t1", traceparent=None)
                check = v1.Check(name="errors", query="vector(1)", max=2, interval=Duration(seconds=10))
                call("SetPolicy", component=C, policy=v1.Policy(checks=[check]))
                judged = spans.one("rampd.v1.RolloutService/SetPolicy")
                TestBuild().release(call, tag="t2")
                call("Ramp", component=C, percent=50)
                asked = spans.one("automation Check")
        finally:
            prometheus.shutdown()
            thread.join()

    posts = spans.all("POST", SpanKind.CLIENT)
    sent = {f"00-{trace_of(span)}-{span.context.span_id:016x}" for span in posts}
    assert sent == {each.rpartition("-")[0] for each in prometheus.seen}  # type: ignore[attr-defined]
    assert {trace_of(span) for span in posts} >= {trace_of(judged), trace_of(asked)}
    assert [f"{link.context.trace_id:032x}" for link in asked.links] == [TRACE]
    assert posts[0].attributes is not None
    assert posts[0].attributes["url.full"] == f"{url}/api/v1/query"


@pytest.mark.parametrize(
    ("status", "error_type", "is_error"),
    [("200 OK", None, False), ("401 Unauthorized", "401", True), ("500 Internal Server Error", "500", True)],
)
async def test_the_span_of_a_question_says_how_prometheus_has_answered(
    spans: Spans, status: str, error_type: str | None, is_error: bool
) -> None:
    with spans.tracer.start_as_current_span("check"):
        await answer_to(saying(vector("1"), status=status))

    span = spans.one("POST", SpanKind.CLIENT)
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == int(status[:3])
    assert span.attributes.get("error.type") == error_type
    assert (span.status.status_code is StatusCode.ERROR) is is_error


class TestLauncher:
    def test_a_local_resolve_has_no_span_and_a_job_puts_its_version_into_its_own(
        self, spans: Spans, traced: Listening, admin: rampd.Admin
    ) -> None:
        admin.release(C, "t1")
        with rampd.Resolver(str(traced.grpc)) as resolver:
            resolver.connect()
            before = len(spans.all("*", SpanKind.CLIENT))
            with spans.tracer.start_as_current_span("run job"):
                resolver.resolve(C, repo=REPO)
                assert len([each for each in spans.all("*", SpanKind.CLIENT) if "commit" not in each.name]) <= before
                with resolver.job(C, repo=REPO):
                    pass
        job = spans.one("run job")
        assert dict(job.attributes or {}) == {
            "rampd.component": C,
            "rampd.tag": "t1",
            "rampd.channel": "CURRENT",
            "rampd.reason": "STEADY",
            "rampd.release": 1,
        }
        report = spans.one("rampd.v1.ResolverService/ReportOutcomes", SpanKind.CLIENT)
        assert report.attributes is not None
        assert report.attributes["rpc.grpc.status_code"] == 0

    async def test_a_job_of_asyncio_does_the_same(self, spans: Spans, traced: Listening, admin: rampd.Admin) -> None:
        admin.release(C, "t1")
        async with rampd.AsyncResolver(str(traced.grpc)) as resolver:
            with spans.tracer.start_as_current_span("run job"):
                async with resolver.job(C, repo=REPO):
                    pass
        assert (spans.one("run job").attributes or {})["rampd.tag"] == "t1"

    def test_a_job_outside_of_a_span_is_as_always(self, traced: Listening, admin: rampd.Admin) -> None:
        admin.release(C, "t1")
        with rampd.Resolver(str(traced.grpc)) as resolver, resolver.job(C, repo=REPO) as job:
            assert job.tag == "t1"
