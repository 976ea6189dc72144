"""The line that --access-log writes for each call."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import grpc
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from rampd import v1
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import DeadlineError, Reason, RefusedError
from rampd_server.rpc.binding import Call, bind
from rampd_server.rpc.door import Door, local

RAMP = v1.RampRequest(component="restyler", percent=10).SerializeToString()


class Servicer:
    """Answers, refuses or waits, as a test wants."""

    ends: BaseException | None = None

    async def end(self) -> None:
        if isinstance(self.ends, asyncio.CancelledError):
            # The caller has gone.
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        if self.ends is not None:
            raise self.ends

    async def ramp(self, _request: v1.RampRequest, _call: Call) -> v1.RampResponse:
        await self.end()
        return v1.RampResponse()

    async def watch(self, _request: v1.WatchRequest, _call: Call) -> AsyncGenerator[bytes]:
        yield b""
        await self.end()


class FakeContext:
    """A call that a handler has taken up. `left_s` is what is left of its time."""

    def __init__(self, left_s: float | None = None) -> None:
        self._left_s = left_s

    async def write(self, _data: bytes) -> None:
        pass

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def time_remaining(self) -> float | None:
        return self._left_s

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    async def abort_with_status(self, _status: object) -> None:
        raise grpc.aio.AbortError

    async def abort(self, *_status: object) -> None:
        raise grpc.aio.AbortError


async def line_of(
    method: str, ends: BaseException | None = None, *, role: Role = Role.ADMIN, left_s: float | None = None
) -> EventDict:
    """Makes a call. Returns the one line that it has written."""
    servicer = Servicer()
    servicer.ends = ends
    handlers = bind(
        {"RolloutService": servicer, "ResolverService": servicer},
        violations=lambda _: [],
        door=Door(local(role)),
        logs_calls=True,
    )
    handler = handlers._handlers[f"/rampd.v1.{method}"]
    handle = handler.unary_unary or handler.unary_stream
    with capture_logs() as lines, contextlib.suppress(grpc.aio.AbortError, asyncio.CancelledError):
        await asyncio.create_task(handle(RAMP if method.endswith("Ramp") else b"", FakeContext(left_s)))
    [line] = [line for line in lines if line["event"] == "call_ended"]
    seconds = line.pop("seconds")
    assert 0 <= seconds < 60
    return line


@pytest.mark.parametrize("method", ["RolloutService/Ramp", "ResolverService/Watch"])
@pytest.mark.parametrize(
    ("ends", "status", "reason"),
    [
        (None, "OK", ""),
        (RefusedError(Reason.TAG_MISMATCH, "no"), "FAILED_PRECONDITION", "TAG_MISMATCH"),
        (ValueError("broken"), "INTERNAL", "INTERNAL"),
        (asyncio.CancelledError(), "CANCELLED", ""),
    ],
)
async def test_a_call_has_a_line_that_says_who_called_and_how_it_ended(
    method: str, ends: BaseException | None, status: str, reason: str
) -> None:
    assert await line_of(method, ends) == {
        "event": "call_ended",
        "log_level": "info",
        "method": f"rampd.v1.{method}",
        "status": status,
        "reason": reason,
        "identity": "anonymous",
        "peer": "ipv4:127.0.0.1:1",
    }


@pytest.mark.parametrize("method", ["RolloutService/Ramp", "ResolverService/Watch"])
@pytest.mark.parametrize(("left_s", "status"), [(0.0, "DEADLINE_EXCEEDED"), (5.0, "CANCELLED")])
async def test_a_call_whose_time_is_over_is_not_one_whose_caller_has_gone(
    method: str, left_s: float, status: str
) -> None:
    line = await line_of(method, asyncio.CancelledError(), left_s=left_s)
    assert (line["status"], line["reason"]) == (status, "")


async def test_a_deadline_that_is_over_and_a_missing_role_are_in_the_line() -> None:
    late = await line_of("RolloutService/Ramp", DeadlineError("late"))
    assert (late["status"], late["reason"]) == ("DEADLINE_EXCEEDED", "")
    denied = await line_of("RolloutService/Ramp", role=Role.VIEWER)
    assert (denied["status"], denied["reason"]) == ("PERMISSION_DENIED", "ROLE_REQUIRED")


def test_without_the_log_a_handler_has_no_line_for_it() -> None:
    handlers = bind({}, violations=lambda _: [], door=Door(local(Role.ADMIN)))
    handler = handlers._handlers["/rampd.v1.ResolverService/Resolve"]
    assert handler.unary_unary.__qualname__ == "_unary.<locals>.handle"
