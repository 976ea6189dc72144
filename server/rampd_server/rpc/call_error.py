"""The error that ends a call which grpcio does not carry."""

from google.rpc import code_pb2, error_details_pb2, status_pb2

from rampd_server.domain.errors import RampdError
from rampd_server.rpc.error_status import to_status


class CallError(Exception):
    """Raised when a call is refused or fails. `status` is the google.rpc.Status that a caller over grpcio would get."""

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

    @property
    def name(self) -> str:
        """The name of the status: `NOT_FOUND`."""
        return str(code_pb2.Code.Name(self.status.code))
