"""The steps of every call on its way to a servicer and back, over a real channel."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rampd import v1
from rampd_server.access.grants import Grant, Trust
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import DeadlineError, InvalidRequestError, Reason, RefusedError
from rampd_server.doors import Doors
from rampd_server.process.address import Address
from rampd_server.process.config import Config
from rampd_server.rpc.binding import SERVICES, Call, bind
from rampd_server.rpc.door import Door, local
from rampd_server.rpc.server import Server, Servers

NOT_A_MESSAGE = b"\xff\xff\xff"
NOT_UTF_8 = b"\x0a\x01\xff"


class Resolver:
    async def resolve(self, request: v1.ResolveRequest, call: Call) -> v1.ResolveResponse:
        return v1.ResolveResponse(tag=f"{request.component}:{request.repo}")

    async def batch_resolve(self, request: v1.BatchResolveRequest, call: Call) -> bytes:
        return v1.BatchResolveResponse(results=[v1.ResolveResult()] * len(request.requests)).SerializeToString()

    async def report_outcomes(self, request: v1.ReportOutcomesRequest, call: Call) -> v1.ResolveResponse:
        return v1.ResolveResponse(tag="of another type")

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.ends: Exception | None = None

    async def watch(self, request: v1.WatchRequest, call: Call) -> AsyncGenerator[v1.WatchResponse | bytes]:
        try:
            yield v1.WatchResponse()
            yield v1.WatchResponse().SerializeToString()
            if self.ends is not None:
                raise self.ends
            if request.components:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


class Rollout:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.ends: Exception | None = None
        self.cancelled = asyncio.Event()
        self.begun = asyncio.Event()

    async def ramp(self, request: v1.RampRequest, call: Call) -> v1.RampResponse:
        self.calls.append(call)
        if self.ends is not None:
            raise self.ends
        return v1.RampResponse(message=f"{call.method} by {call.actor}")

    async def rollback(self, request: v1.RollbackRequest, call: Call) -> v1.RollbackResponse:
        self.begun.set()
        try:
            return await asyncio.Future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def get_rollout(self, request: v1.GetRolloutRequest, call: Call) -> v1.GetRolloutResponse:
        return v1.GetRolloutResponse(rollout=v1.Rollout(component=request.component))


class NobodysTokens:
    async def verify(self, token: str, trusts: Iterable[tuple[Grant, Trust]]) -> tuple[Grant, float]:
        raise AssertionError(token)


class World:
    """A server with small servicers, on TCP and on a unix socket, and a channel to both."""

    def __init__(self, directory: Path) -> None:
        self.resolver = Resolver()
        self.rollout = Rollout()
        self.wrong: list[tuple[str, str]] = []
        self.socket = directory / "s.sock"

    @asynccontextmanager
    async def running(self, *, insecure_admin: bool = False) -> AsyncIterator["World"]:
        config = Config(data_dir=self.socket.parent, socket=self.socket, insecure_admin=insecure_admin)
        doors = Doors(config, NobodysTokens())
        [(of_socket, path)] = doors.sockets
        tcp, unix = self._server(doors.tcp), self._server(of_socket)
        address = tcp.listen(Address("127.0.0.1", 0))
        unix.listen_unix(path)
        servers = Servers(tcp, unix)
        await servers.start()
        async with grpc.aio.insecure_channel(str(address)) as self.tcp:
            async with grpc.aio.insecure_channel(f"unix:{self.socket}") as self.unix:
                yield self
            await servers.stop(0)

    def _server(self, door: Door) -> Server:
        servicers = {"ResolverService": self.resolver, "RolloutService": self.rollout}
        return Server(bind(servicers, violations=lambda _: self.wrong, door=door))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


async def send(channel: grpc.aio.Channel, method: str, request, **options):
    """Makes a call as a generated stub would. `request` may be bytes."""
    service, name = method.split("/")
    descriptor = SERVICES[service].methods_by_name[name]
    path = f"/{descriptor.containing_service.full_name}/{name}"
    data = request if isinstance(request, bytes) else request.SerializeToString()
    if descriptor.server_streaming:
        return [answer async for answer in channel.unary_stream(path)(data, **options)]
    return getattr(v1, descriptor.output_type.name).FromString(await channel.unary_unary(path)(data, **options))


async def refusal(channel: grpc.aio.Channel, method: str, request, **options):
    """Makes a call that is refused. Returns the code, the message, the ErrorInfo and the wrong fields."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(channel, method, request, **options)
    status = rpc_status.from_call(caught.value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    if len(status.details) > 1:
        assert status.details[1].Unpack(bad)
    assert info.domain == "rampd"
    return caught.value.code(), status.message, info, [(v.field, v.description) for v in bad.field_violations]


RAMP = v1.RampRequest(component="restyler", percent=10)


async def test_a_method_answers_what_its_servicer_returns(world):
    answer = await send(world.tcp, "ResolverService/Resolve", v1.ResolveRequest(component="restyler", repo="a/b"))
    assert answer.tag == "restyler:a/b"


async def test_a_servicer_may_answer_with_bytes_that_are_serialised_already(world):
    request = v1.BatchResolveRequest(requests=[v1.ResolveRequest()] * 3)
    assert len((await send(world.tcp, "ResolverService/BatchResolve", request)).results) == 3


@pytest.mark.parametrize("data", [NOT_A_MESSAGE, NOT_UTF_8])
@pytest.mark.parametrize("method", ["ResolverService/Resolve", "ResolverService/Watch", "RolloutService/Ramp"])
async def test_bytes_that_are_not_a_message_are_an_invalid_field(world, method, data):
    code, message, info, violations = await refusal(world.tcp, method, data)
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert violations == [("request", f"is not a rampd.v1.{method.split('/')[1]}Request message")]
    assert message.startswith("request: is not a rampd.v1.")


async def test_bytes_that_are_not_a_message_are_refused_before_unimplemented(world):
    code, *_ = await refusal(world.unix, "ReleaseService/Release", NOT_A_MESSAGE)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_every_wrong_field_is_named_at_once(world):
    world.wrong = [("component", "is empty"), ("percent", "is not in 0 to 100")]
    for method in ("RolloutService/Ramp", "RolloutService/GetRollout", "ResolverService/Watch"):
        code, message, info, violations = await refusal(world.unix, method, b"")
        assert (code, info.reason, violations) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", world.wrong)
        assert message == "component: is empty; percent: is not in 0 to 100"
    assert world.rollout.calls == []


async def test_a_thousand_wrong_fields_with_long_texts_still_fit_into_the_headers(world):
    world.wrong = [(f"overrides[{n}].repo" * 20, "é😀" * 5000) for n in range(1000)]
    code, message, _, violations = await refusal(world.tcp, "RolloutService/BatchSetOverrides", b"")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.endswith(" more")
    assert violations[0][0].startswith("overrides[0].repo")
    assert violations[0][1].endswith("…")


async def test_a_long_message_with_long_metadata_still_fits_into_the_headers(world):
    world.rollout.ends = RefusedError(Reason.HELD, "é" * 9000, **{f"key{n}": "😀" * 900 for n in range(9)})
    code, message, info, _ = await refusal(world.unix, "RolloutService/Ramp", RAMP)
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HELD")
    assert message.endswith("é…")
    assert "key0" in info.metadata


async def test_a_refusal_has_its_reason_metadata_and_message(world):
    world.rollout.ends = RefusedError(Reason.TAG_MISMATCH, "next is b, not a.", expected="a", actual="b")
    code, message, info, violations = await refusal(world.unix, "RolloutService/Ramp", RAMP)
    assert (code, message, info.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "next is b, not a.",
        "TAG_MISMATCH",
    )
    assert (dict(info.metadata), violations) == ({"expected": "a", "actual": "b"}, [])


async def test_an_exceeded_deadline_answers_deadline_exceeded(world):
    world.rollout.ends = DeadlineError("The deadline of this call ran out.")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(world.unix, "RolloutService/Ramp", RAMP)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == "The deadline of this call ran out."


async def test_a_wrong_field_that_a_servicer_finds_is_reported(world):
    world.rollout.ends = InvalidRequestError([("page_token", "is not one of ours")])
    *_, violations = await refusal(world.unix, "RolloutService/Ramp", RAMP)
    assert violations == [("page_token", "is not one of ours")]


async def test_a_defect_answers_internal_with_a_request_id_and_no_details(world, caplog):
    world.rollout.ends = ValueError("the secret of the house")
    code, message, info, _ = await refusal(world.unix, "RolloutService/Ramp", RAMP)
    assert (code, info.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in message
    assert "Traceback" not in message
    assert info.metadata["request_id"] in message


async def test_the_log_has_a_defect_under_its_request_id(world, monkeypatch):
    lines = []
    monkeypatch.setattr(
        "rampd_server.rpc.binding._log.error", lambda event, **pairs: lines.append((event, pairs)), raising=False
    )
    world.rollout.ends = ValueError("boom")
    *_, info, _ = await refusal(world.unix, "RolloutService/Ramp", RAMP)
    [(event, pairs)] = lines
    assert (event, pairs["method"]) == ("call_failed", "rampd.v1.RolloutService/Ramp")
    assert pairs["request_id"] == info.metadata["request_id"]
    assert pairs["exc_info"] is world.rollout.ends


async def test_a_response_of_the_wrong_type_is_a_defect(world):
    code, message, *_ = await refusal(world.tcp, "ResolverService/ReportOutcomes", b"")
    assert code is grpc.StatusCode.INTERNAL
    assert "ResolveResponse" not in message


async def test_a_defect_in_the_middle_of_a_stream_is_internal(world):
    world.resolver.ends = ValueError("the secret of the house")
    code, message, *_ = await refusal(world.tcp, "ResolverService/Watch", b"")
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in message


async def test_a_refusal_in_the_middle_of_a_stream_says_why(world):
    world.resolver.ends = RefusedError(Reason.STORE_RESET, "The store was emptied.")
    code, _, info, _ = await refusal(world.tcp, "ResolverService/Watch", b"")
    assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_RESET")


async def test_a_stream_gives_messages_and_bytes_in_order(world):
    assert await send(world.tcp, "ResolverService/Watch", b"") == [b"", b""]


async def test_a_stream_that_the_caller_cancels_closes_its_generator(world, caplog):
    stream = world.tcp.unary_stream("/rampd.v1.ResolverService/Watch")(
        v1.WatchRequest(components=["restyler"]).SerializeToString()
    )
    assert await stream.read() == b""
    stream.cancel()
    async with asyncio.timeout(60):
        await world.resolver.closed.wait()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_call_that_the_caller_cancels_is_cancelled_in_the_servicer(world):
    call = world.unix.unary_unary("/rampd.v1.RolloutService/Rollback")(b"")
    async with asyncio.timeout(60):
        await world.rollout.begun.wait()
        call.cancel()
        await world.rollout.cancelled.wait()


@pytest.mark.parametrize("method", ["RolloutService/Confirm", "ReleaseService/Release", "ReleaseService/WatchRelease"])
async def test_an_rpc_without_a_servicer_method_says_that_it_is_not_implemented(world, method):
    code, message, info, _ = await refusal(world.unix, method, b"")
    assert (code, info.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
    assert message.startswith(f"{method.split('/')[1]} is declared but not there yet")


async def test_a_change_over_tcp_is_denied_and_the_message_says_what_to_type(world):
    code, message, info, _ = await refusal(world.tcp, "RolloutService/Ramp", RAMP)
    assert (code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert dict(info.metadata) == {"role": "admin"}
    assert f"grpcurl -plaintext -d '{{…}}' unix://{world.socket} rampd.v1.RolloutService/Ramp" in message
    assert f"rampd --server unix:{world.socket}, " in message
    assert "--insecure-admin" in message
    assert world.rollout.calls == []


async def test_a_release_over_tcp_needs_the_role_of_ci(world):
    _, _, info, _ = await refusal(world.tcp, "ReleaseService/Release", b"")
    assert dict(info.metadata) == {"role": "ci"}


async def test_wrong_fields_are_reported_before_a_missing_role(world):
    world.wrong = [("component", "is empty")]
    code, *_ = await refusal(world.tcp, "RolloutService/Ramp", b"")
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_reads_are_served_over_tcp(world):
    answer = await send(world.tcp, "RolloutService/GetRollout", v1.GetRolloutRequest(component="restyler"))
    assert answer.rollout.component == "restyler"


async def test_insecure_admin_allows_changes_over_tcp(tmp_path):
    async with World(tmp_path).running(insecure_admin=True) as world:
        assert (await send(world.tcp, "RolloutService/Ramp", RAMP)).message == "Ramp by anonymous"


@pytest.mark.parametrize("actor", ["ada", "Ada Lovelace <ada@example.org>", "x" * 128])
async def test_the_actor_is_the_one_in_the_metadata(world, actor):
    answer = await send(world.unix, "RolloutService/Ramp", RAMP, metadata=(("x-rampd-actor", actor),))
    assert answer.message == f"Ramp by {actor}"
    assert world.rollout.calls[0].is_actor_claimed


async def test_without_a_claim_the_actor_is_anonymous(world):
    assert (await send(world.unix, "RolloutService/Ramp", RAMP)).message == "Ramp by anonymous"
    assert not world.rollout.calls[0].is_actor_claimed


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-rampd-actor", ""),),
        (("x-rampd-actor", " "),),
        (("x-rampd-actor", "x" * 129),),
        (("x-rampd-actor", "ada"), ("x-rampd-actor", "eve")),
    ],
)
async def test_a_wrong_actor_is_reported_as_a_wrong_field(world, metadata):
    world.wrong = [("percent", "is missing")]
    code, _, _, violations = await refusal(world.unix, "RolloutService/Ramp", RAMP, metadata=metadata)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in violations] == ["percent", "x-rampd-actor"]


async def test_a_call_knows_its_remaining_time(world):
    await send(world.unix, "RolloutService/Ramp", RAMP)
    await send(world.unix, "RolloutService/Ramp", RAMP, timeout=60)
    without, within = world.rollout.calls
    assert without.timeout_s is None
    assert within.timeout_s == pytest.approx(60, abs=30)


async def test_the_digest_covers_method_and_content_and_the_parts_show_what_differs(world):
    """The claimed actor, which is not checked, and the note are not part of the content."""

    async def sent(actor: str = "ada", **fields: object) -> Call:
        request = v1.RampRequest(component="restyler", **fields)
        await send(world.unix, "RolloutService/Ramp", request, metadata=(("x-rampd-actor", actor),))
        return world.rollout.calls[-1]

    first = await sent(percent=10, request_id="a")
    assert (len(first.digest), list(first.parts)) == (32, ["method", "identity", "actor", "component", "percent"])
    assert first.parts["method"] == "Ramp"
    for same, differing in (
        ({"request_id": "b"}, set()),
        ({"note": "again"}, {"note"}),
        ({"actor": "eve"}, {"actor"}),
    ):
        again = await sent(**{"percent": 10, "request_id": "a"} | same)
        assert again.digest == first.digest
        assert differing == {
            name for name in {*first.parts, *again.parts} if first.parts.get(name) != again.parts.get(name)
        }
    other = await sent(percent=11, request_id="a")
    assert other.digest != first.digest
    assert other.parts["percent"] != first.parts["percent"]


def test_the_digest_differs_between_methods_of_equal_content():
    class Context:
        def invocation_metadata(self):
            return ()

    request, caller = v1.PauseRequest(component="restyler"), local(Role.ADMIN)
    assert Call("S/Pause", request, Context(), caller).digest != Call("S/Resume", request, Context(), caller).digest


def test_binding_a_servicer_of_an_unknown_service_raises_an_error():
    with pytest.raises(ValueError, match="RolloutServices"):
        bind({"RolloutServices": object()}, violations=lambda _: [], door=Door(None))
