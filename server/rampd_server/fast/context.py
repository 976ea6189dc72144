"""A call over the fast listener as the context that the handlers of gRPC's calls ask for."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import grpc
from cryptography import x509

from rampd_server.fast import headers
from rampd_server.rpc.other_context import OtherContext

Scope: TypeAlias = MutableMapping[str, Any]
"""What ASGI says of a request."""


class FastContext(OtherContext):
    """A call over the fast listener."""

    __slots__ = ("_metadata", "_scope")

    def __init__(
        self, scope: Scope, timeout_s: float | None = None, write: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        super().__init__(scope.get("client"), timeout_s, write)
        self._scope = scope
        self._metadata: Sequence[tuple[str, str | bytes]] | None = None

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """The headers that are not of the protocol, with names in small letters, in their order."""
        if self._metadata is None:
            self._metadata = headers.metadata(self._scope["headers"])
        return self._metadata

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """The certificate of the caller, under the names that gRPC has for it. Empty without one."""
        tls = self._scope["extensions"].get("tls")
        chain = () if tls is None else tls["client_cert_chain"]
        return _of_certificate(chain[0]) if chain else {}

    async def write(self, message: Any) -> None:  # noqa: ANN401 - see OtherContext
        """As `OtherContext.write`. Raises grpc.aio.UsageError if the caller has gone, as grpcio does."""
        try:
            await super().write(message)
        except OSError as error:
            self.is_done = True
            raise grpc.aio.UsageError("The caller has gone.") from error


@lru_cache(maxsize=1_000)
def _of_certificate(pem: str) -> Mapping[str, Sequence[bytes]]:
    """The cache helps because each call of a connection has the same certificate."""
    try:
        found = x509.load_pem_x509_certificate(pem.encode()).extensions
        names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return {}
    return {
        "peer_dns": [name.encode() for name in names.get_values_for_type(x509.DNSName)],
        "peer_uri": [name.encode() for name in names.get_values_for_type(x509.UniformResourceIdentifier)],
        "x509_pem_cert": [pem.encode()],
    }
