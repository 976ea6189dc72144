"""A call that grpcio does not carry, as the context that the handlers of gRPC's calls ask for."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import grpc
from google.rpc import status_pb2

from rampd_server.domain.errors import NoSnapshotError
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.error_status import DETAILS_KEY

STOPPED: Final = NoSnapshotError(
    "This server stopped before the call was answered, so the call may have been carried out or not. Send it again, with the "
    "same request_id if it changes something."
)
"""What a call gets that a server ends when it stops."""


class OtherContext(ABC):
    """What handlers use of `rampd_server.rpc.call.Context`. `write` is for streams."""

    __slots__ = ("_client", "_ends_s", "_write", "is_done")

    def __init__(
        self,
        client: tuple[str, int] | None,
        timeout_s: float | None = None,
        write: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """`client` is the host and the port of the caller. `timeout_s` are the seconds that the caller gives for the call."""
        self._client = client
        self._ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._write = write
        self.is_done = False

    @abstractmethod
    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """The headers, with names in small letters, in their order."""

    @abstractmethod
    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """The certificate of the caller, under the names that gRPC has for it. Empty without one."""

    def peer(self) -> str:
        """The address of the caller, as gRPC writes it."""
        if self._client is None:
            return "unknown"
        host, port = self._client
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def time_remaining(self) -> float | None:
        """The seconds that are left; None if the caller set no deadline."""
        return None if self._ends_s is None else max(0.0, self._ends_s - time.monotonic())

    def done(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self.is_done

    async def write(self, message: Any) -> None:  # noqa: ANN401 - bytes, or the message of a service that is not rampd's
        """Sends a message of a stream. Waits while the caller does not read."""
        if self._write is None:
            raise TypeError("only a stream is written to")
        await self._write(message)

    async def abort(self, code: grpc.StatusCode, details: str = "", _trailers: object = ()) -> NoReturn:
        """Ends the call with an error. Raises CallError."""
        raise CallError(status_pb2.Status(code=code.value[0], message=details))

    async def abort_with_status(self, status: Any) -> NoReturn:  # noqa: ANN401 - gRPC's status, a private class
        """Ends the call with an error that has details. Raises CallError."""
        for key, value in status.trailing_metadata or ():
            if key == DETAILS_KEY:
                raise CallError(status_pb2.Status.FromString(value))
        await self.abort(status.code, status.details)
