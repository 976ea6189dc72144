"""Connects to an address without a call, to find out what is wrong with it: the host, the port, TLS, the certificate."""

import os
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rampd_cli.diagnosis.address import Address, Kind
from rampd_cli.diagnosis.facts import Certificate, Knock, Speaks, Trust

TIMEOUT_S: Final = 5.0
_TRUST: Final = {10: Trust.ENDED, 9: Trust.NOT_YET, 62: Trust.OTHER_NAME, 64: Trust.OTHER_NAME}
"""What OpenSSL says of a certificate that it refuses: X509_V_ERR_CERT_HAS_EXPIRED, …_NOT_YET_VALID, …_HOSTNAME_MISMATCH,
…_IP_ADDRESS_MISMATCH.
"""


def knock(address: Address) -> tuple[Knock, str]:
    """Connects, and says what happened, with the words of the system."""
    if address.kind is Kind.OTHER:
        return Knock.NOT_TRIED, ""
    try:
        _connected(address).close()
    except socket.gaierror as error:
        return Knock.UNKNOWN_HOST, error.strerror or "unknown"
    except TimeoutError:
        return Knock.SILENT, f"no answer in {TIMEOUT_S:g} s"
    except ConnectionRefusedError:
        return Knock.REFUSED, ""
    except FileNotFoundError:
        return Knock.NO_SOCKET, ""
    except PermissionError:
        return Knock.FORBIDDEN, ""
    except (OSError, ValueError) as error:
        return Knock.FAILED, str(getattr(error, "strerror", "") or error)
    return Knock.OPEN, ""


def speaks(address: Address) -> Speaks:
    """Whether a port speaks TLS."""
    try:
        _handshake(address, _trusting_everybody()).close()
    except ssl.SSLError as error:
        return Speaks.PLAIN if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"} else Speaks.UNKNOWN
    except (OSError, ValueError):
        return Speaks.UNKNOWN
    return Speaks.TLS


def certificate_of(address: Address, ca_file: Path | None) -> Certificate | None:
    """Returns the certificate of a server, and whether a client with these authorities trusts it. None if there is none."""
    trust, issuer = Trust.TRUSTED, ""
    try:
        with _handshake(address, _trusting_everybody()) as link:
            own = link.getpeercert(binary_form=True)
        try:
            _handshake(address, _trusting(ca_file)).close()
        except ssl.SSLCertVerificationError as error:
            trust = _TRUST.get(error.verify_code, Trust.UNTRUSTED)
        if own is None:
            return None
        told = _read(address, own)
    except (OSError, ValueError):
        return None
    names = tuple(value for kind, value in told.get("subjectAltName", ()) if kind in {"DNS", "IP Address"})
    issuer = next((value for part in told.get("issuer", ()) for key, value in part if key == "commonName"), "")
    until = told.get("notAfter")
    end = None if until is None else datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
    return Certificate(trust, names, issuer, end)


def _read(address: Address, own: bytes) -> Mapping[str, Any]:
    """Python reads a certificate only after it has checked it. So the certificate is its own authority here. One that has ended
    is never read.
    """
    context = _client()
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=own)
    try:
        with _handshake(address, context) as link:
            return link.getpeercert() or {}
    except ssl.SSLCertVerificationError:
        return {}


def _client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # gRPC's server takes no connection that does not ask for HTTP/2.
    context.set_alpn_protocols(["h2"])
    return context


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    context = _client()
    found = ca_file or os.environ.get("RAMPD_CA_FILE")
    if found:
        context.load_verify_locations(found)
    else:
        context.load_default_certs()
    return context


def _trusting_everybody() -> ssl.SSLContext:
    """Only to look at a certificate: nothing is sent over this connection."""
    context = _client()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _handshake(address: Address, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = _connected(address)
    try:
        return context.wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise


def _connected(address: Address) -> socket.socket:
    if address.kind is Kind.TCP:
        return socket.create_connection((address.host, address.port), timeout=TIMEOUT_S)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(TIMEOUT_S)
        link.connect(address.path)
    except BaseException:
        link.close()
        raise
    return link
