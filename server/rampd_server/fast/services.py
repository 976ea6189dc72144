"""The handlers of all services by the names of their methods: those of rampd, and health and reflection."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, cast

import grpc
from google.rpc import code_pb2

from rampd._contract.wording import one_line
from rampd_server.fast.headers import Headers
from rampd_server.rpc.binding import Handlers
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.standard import StandardServices

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_AUTHORIZATION: Final = "authorization"
_MOST_OF_NAME: Final = 200


class Services:
    """Finds the handler of a call."""

    def __init__(self, handlers: Handlers, standard: StandardServices) -> None:
        self.handlers = handlers
        """Those of rampd."""
        self._others: dict[str, Handler] = {}
        standard.add_to(self)

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """Takes nothing: the same handlers come by their names."""

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:  # noqa: ANN401 - as grpcio has it
        """Takes the handlers of a service. Generated code calls it."""
        self._others |= {f"/{service}/{method}": handler for method, handler in handlers.items()}

    def handler(self, method: str, headers: Headers) -> Handler:
        """Returns the handler of a method as gRPC writes it. A caller who has proven itself before is known by the headers. Raises
        CallError.
        """
        details = cast("grpc.HandlerCallDetails", _Details(method, headers))
        found = self.handlers.service(details) or self._others.get(method)
        if found is None:
            name = one_line(method)[:_MOST_OF_NAME]
            raise CallError.plain(code_pb2.UNIMPLEMENTED, f"There is no method {name} here.")
        return found


class _Details:
    """What `Handlers` looks at."""

    __slots__ = ("_headers", "method")

    def __init__(self, method: str, headers: Headers) -> None:
        self.method = method
        self._headers = headers

    @property
    def invocation_metadata(self) -> Iterator[tuple[str, str]]:
        """The headers that prove who calls: nobody looks for another one here."""
        name = _AUTHORIZATION.encode()
        return ((_AUTHORIZATION, value.decode("latin-1")) for key, value in self._headers if key == name)
