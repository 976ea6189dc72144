"""A request of HTTP as the context that the handlers of gRPC's calls ask for."""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request

from rampd_server.rpc.other_context import OtherContext

TLS: Final = "tls"
"""The name in a request's state under which the server puts the TLS of the connection."""

_NAMES: Final = (("peer_dns", "DNS"), ("peer_uri", "URI"))
"""The kinds of names in a certificate that prove who calls: as gRPC says them, and as Python's ssl does."""


class HttpContext(OtherContext):
    """A request of HTTP."""

    __slots__ = ("_metadata", "_request")

    def __init__(
        self,
        request: Request,
        *,
        timeout_s: float | None = None,
        write: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(request.client, timeout_s, write)
        self._request = request
        self._metadata: Sequence[tuple[str, str]] | None = None

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """The headers, with names in small letters, in their order."""
        if self._metadata is None:
            self._metadata = self._request.headers.items()
        return self._metadata

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
