"""A request of HTTP as the context that the handlers of gRPC's calls ask for."""

import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from starlette.requests import Request

from rampd_server.domain.errors import RampdError
from rampd_server.rpc.error_status import to_status

TLS: Final = "tls"
"""The name in a request's state under which the server puts the TLS of the connection."""

_NAMES: Final = (("peer_dns", "DNS"), ("peer_uri", "URI"))
"""The kinds of names in a certificate that prove who calls: as gRPC says them, and as Python's ssl does."""


class CallError(Exception):
    """Raised when a call is refused or fails. `status` is the google.rpc.Status that a caller over gRPC would get."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status

    @classmethod
    def of(cls, error: RampdError) -> "CallError":
        """The error of a call that an error of rampd ends."""
        return cls(to_status(error))

    @classmethod
    def plain(cls, code: "code_pb2.Code.ValueType", message: str) -> "CallError":
        """An error that the protocol has, and no method of rampd."""
        return cls(status_pb2.Status(code=code, message=message))

    @classmethod
    def late(cls, *, was_handled: bool = True) -> "CallError":
        """The error of a call whose time is over. Not `was_handled`: no method has had the call."""
        more = "" if was_handled else " No method has had the call, so it has changed nothing."
        return cls.plain(code_pb2.DEADLINE_EXCEEDED, f"The time that the caller gave for the call is over.{more}")

    @property
    def reason(self) -> str:
        """That of rampd; empty if it has none."""
        info = error_details_pb2.ErrorInfo()
        return info.reason if any(detail.Unpack(info) for detail in self.status.details) else ""


class HttpContext:
    """What handlers use of `rampd_server.rpc.call.Context`. `write` is for streams."""

    def __init__(
        self,
        request: Request,
        *,
        timeout_s: float | None = None,
        write: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        self._request = request
        self._metadata: Sequence[tuple[str, str]] | None = None
        self._ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._write = write
        self.is_done = False

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """The headers, with names in small letters, in their order."""
        if self._metadata is None:
            self._metadata = self._request.headers.items()
        return self._metadata

    def peer(self) -> str:
        """The address of the caller, as gRPC writes it."""
        client = self._request.client
        if client is None:
            return "unknown"
        return f"ipv6:[{client.host}]:{client.port}" if ":" in client.host else f"ipv4:{client.host}:{client.port}"

    def time_remaining(self) -> float | None:
        """The seconds that are left; None if the caller set no deadline."""
        return None if self._ends_s is None else max(0.0, self._ends_s - time.monotonic())

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """The certificate of the caller, under the names that gRPC has for it. Empty without one."""
        tls: ssl.SSLObject | None = getattr(self._request.state, TLS, None)
        if tls is None:
            return {}
        der = tls.getpeercert(binary_form=True)
        names: Any = (tls.getpeercert() or {}).get("subjectAltName", ())
        if der is None:
            return {}
        return {
            **{key: [str(name).encode() for kind, name in names if kind == of] for key, of in _NAMES},
            "x509_pem_cert": [ssl.DER_cert_to_PEM_cert(der).encode()],
        }

    def done(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self.is_done

    async def write(self, message: bytes) -> None:
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
            if key == "grpc-status-details-bin":
                raise CallError(status_pb2.Status.FromString(value))
        await self.abort(status.code, status.details)
