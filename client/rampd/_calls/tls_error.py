"""Explains a failed TLS handshake: what is wrong, and on which side."""

from collections.abc import Sequence
from typing import Final

from rampd._calls.target import is_tls

_NOT_ACCEPTED: Final = (
    "the server has closed the connection during the TLS handshake: it may ask for a client certificate, or not accept "
    "this client's (RAMPD_CERT_FILE, RAMPD_KEY_FILE)"
)
_WITH_TLS: Final[Sequence[tuple[str, str]]] = (
    ("WRONG_VERSION_NUMBER", "this port of the server is plain text, and the target asks for TLS: leave https:// out"),
    (
        "Hostname Verification Check failed",
        "the certificate of the server is not for this host name: use a name that the certificate has, or give the server a "
        "certificate for this name",
    ),
    ("certificate has expired", "the certificate of the server has expired: its admin has to renew it"),
    (
        "certificate is not yet valid",
        "the certificate of the server is not valid yet: compare the clocks of both machines",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "no authority that this client trusts has signed the certificate of the server: give ca_file= (RAMPD_CA_FILE)",
    ),
    ("Socket closed", _NOT_ACCEPTED),
    # The server has said that the certificate is wrong, and gRPC does not read what was said. A fast listener says so.
    ("TSI_DATA_CORRUPTED", _NOT_ACCEPTED),
)
_WITHOUT_TLS: Final[Sequence[tuple[str, str]]] = (
    ("Socket closed", "the server has closed the connection: if this port has TLS, the target is https://host:port"),
)


def explained(text: str, target: str) -> str:
    """Returns what is wrong with a connection to a target, or the text of gRPC if it is not about TLS."""
    known = _WITH_TLS if is_tls(target) else _WITHOUT_TLS
    # After the handshake, "Socket closed" is no sign of a mistake with TLS: the server may just have ended.
    is_new = "failed to connect" in text
    reason = next((reason for sign, reason in known if is_new and sign in text), None)
    return text if reason is None else f"{reason}. gRPC says: {text}"
