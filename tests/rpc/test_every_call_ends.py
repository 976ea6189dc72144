"""Whatever is raised in any stage of a call, the caller gets a status, the log has the error, and the server can still stop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from rampd import v1
from rampd_server.access.grants import Caller
from rampd_server.access.rpc_roles import Role
from rampd_server.process.address import Address
from rampd_server.rpc import binding
from rampd_server.rpc.binding import bind
from rampd_server.rpc.door import Door, local
from rampd_server.rpc.permissions import Permission
from rampd_server.rpc.server import Server
from tests.rpc.test_binding import RAMP, send


class PanicError(BaseException):
    """An error like that of a library in another language. `except Exception` does not catch it."""


KINDS: list[BaseException] = [
    ValueError("a"),
    RecursionError("b"),
    MemoryError("c"),
    AssertionError("d"),
    TimeoutError("e"),
    StopIteration("f"),
    StopAsyncIteration("g"),
    OSError("h"),
    BaseExceptionGroup("i", [PanicError("j")]),
    grpc.aio.UsageError("k"),
    grpc.aio.AbortError("l"),
    PanicError("m"),
    KeyboardInterrupt("n"),
    SystemExit(3),
    GeneratorExit("o"),
    asyncio.CancelledError("p"),
]
CALLS = {
    "Ramp": ("RolloutService/Ramp", RAMP),
    "GetRollout": ("RolloutService/GetRollout", v1.GetRolloutRequest(component="restyler")),
    "Resolve": ("ResolverService/Resolve", v1.ResolveRequest(component="restyler")),
    "Watch": ("ResolverService/Watch", v1.WatchRequest()),
}
STAGES = ("parse", "violations", "proof", "admission", "servicer", "encode", "middle")


class Stages:
    """Servicers, and the stages before and after them. The selected stage raises the error when a call passes it."""

    def __init__(self) -> None:
        self.stage = ""
        self.error: BaseException | None = None

    def pass_by(self, stage: str) -> None:
        if stage == self.stage and self.error is not None:
            raise self.error

    def passing(self, stage: str, make: Callable[[Any], Callable[[Any], Any]]) -> Callable[[Any], Any]:
        def made(method: Any) -> Callable[[Any], Any]:
            inner = make(method)

            def do(value: Any) -> Any:
                self.pass_by(stage)
                return inner(value)

            return do

        return made

    def violations(self, _request: object) -> list[tuple[str, str]]:
        self.pass_by("violations")
        return []

    def known(self, *_: object) -> Caller:
        self.pass_by("proof")
        return local(Role.ADMIN)

    def require(self, *_: object) -> None:
        self.pass_by("admission")

    def resolve(self, _request: object, _call: object) -> bytes:
        self.pass_by("servicer")
        return b""

    async def ramp(self, _request: object, _call: object) -> v1.RampResponse:
        self.pass_by("servicer")
        return v1.RampResponse()

    async def get_rollout(self, _request: object, _call: object) -> v1.GetRolloutResponse:
        await asyncio.sleep(0)
        self.pass_by("servicer")
        return v1.GetRolloutResponse()

    async def watch(self, _request: object, _call: object) -> AsyncGenerator[v1.WatchResponse]:
        self.pass_by("servicer")
        yield v1.WatchResponse()
        await asyncio.sleep(0)
        self.pass_by("middle")


@asynccontextmanager
async def running(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[grpc.aio.Channel]:
    monkeypatch.setattr(binding, "_parser", stages.passing("parse", binding._parser))
    monkeypatch.setattr(binding, "_encoder", stages.passing("encode", binding._encoder))
    monkeypatch.setattr(Door, "known", stages.known)
    monkeypatch.setattr(Permission, "require", stages.require)
    servicers = {"ResolverService": stages, "RolloutService": stages}
    server = Server(bind(servicers, violations=stages.violations, door=Door(None)))
    address = server.listen(Address("127.0.0.1", 0))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(str(address)) as channel:
            yield channel
    finally:
        async with asyncio.timeout(30):
            await server.stop(0.1)


def is_passed(method: str, stage: str) -> bool:
    """Whether a call passes a stage. Resolve's answer is already bytes."""
    if stage == "middle":
        return method == "Watch"
    return stage != "encode" or method != "Resolve"


@pytest.mark.parametrize("stage", STAGES)
async def test_every_error_at_every_stage_ends_the_call_with_internal(stage: str, monkeypatch: pytest.MonkeyPatch):
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(binding._log, "error", lambda _event, **pairs: logged.append(pairs), raising=False)
    stages = Stages()
    async with running(stages, monkeypatch) as channel:
        for method, (path, request) in CALLS.items():
            for error in KINDS:
                if not is_passed(method, stage):
                    continue
                stages.stage, stages.error = stage, error
                logged.clear()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await send(channel, path, request, timeout=20)
                assert caught.value.code() is grpc.StatusCode.INTERNAL, (method, error)
                [line] = logged
                assert line["method"] == f"rampd.v1.{path}"
                # Python wraps the errors that a generator or a coroutine may not raise.
                assert error in {line["exc_info"], line["exc_info"].__cause__}
                assert line["request_id"] in (caught.value.details() or "")
        stages.error = None
        for path, request in CALLS.values():
            await send(channel, path, request, timeout=20)


@pytest.mark.parametrize("method", ["GetRollout", "Watch"])
async def test_a_call_that_its_caller_cancels_is_not_logged_as_a_defect(method: str, monkeypatch: pytest.MonkeyPatch):
    logged: list[object] = []
    monkeypatch.setattr(binding._log, "error", lambda event, **_: logged.append(event), raising=False)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def get_rollout(_self: object, _request: object, _call: object) -> None:
        await wait()

    async def watch(_self: object, _request: object, _call: object) -> AsyncGenerator[bytes]:
        await wait()
        yield b""

    monkeypatch.setattr(Stages, "get_rollout", get_rollout)
    monkeypatch.setattr(Stages, "watch", watch)
    async with running(Stages(), monkeypatch) as channel:
        path, request = CALLS[method]
        task = asyncio.create_task(send(channel, path, request))
        await begun.wait()
        task.cancel()
        async with asyncio.timeout(30):
            await ended.wait()
    assert logged == []
