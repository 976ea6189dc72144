"""The server's TLS certificate. It is read again when its files change, and no call is lost."""

import os
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeGuard

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from rampd._runtime.file_stamp import Stamp, stamp_of
from rampd_server.metrics.counting import Reloads
from rampd_server.process.regular_file import content_of
from rampd_server.process.startup import StartupError

_MAX_BYTES: Final = 4 << 20

_log: Final = structlog.get_logger(__name__)


class Content(NamedTuple):
    """What the files have: PEM that was read and checked."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Paths(NamedTuple):
    """The same in files, for who reads nothing but files."""

    certificate: Path
    key: Path
    client_ca: Path | None


class Certificates:
    """A certificate with its key. Also the authorities for the certificates of clients, if the server asks clients for one."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        """Raises StartupError."""
        self._files = (certificate, key, *((client_ca,) if client_ca else ()))
        self.asks_clients = client_ca is not None
        self._turn = threading.Lock()
        self._stamps = self._look()
        self.reloads = Reloads()
        self.expire_s = 0.0
        """When the certificate in use ends, in seconds since 1970."""
        try:
            self._configuration, self._tls, self._content = self._read()
        except ValueError as error:
            raise StartupError(f"--tls-cert, --tls-key, --tls-client-ca: {error}.") from error

    def credentials(self) -> grpc.ServerCredentials:
        """Returns the credentials for one port of a gRPC server. Each handshake uses the files as they are at that time."""
        in_use = self._configuration

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """Returns a new configuration, or None if nothing has changed. gRPC calls it before a handshake, in its own thread."""
            nonlocal in_use
            with self._turn:
                self._refresh()
                if self._configuration is in_use:
                    return None
                in_use = self._configuration
                return in_use

        return grpc.dynamic_ssl_server_credentials(
            in_use,
            changed,  # type: ignore[arg-type]  # gRPC documents None for no change
            require_client_authentication=self.asks_clients,
        )

    def context(self) -> ssl.SSLContext:
        """The same for a connection of HTTP. Ask for each connection again.

        In TLS 1.2, a client may go on with an earlier session, and then shows no certificate. A context remembers its sessions. So
        other files have another context, and the certificate of a client counts only for the files that it was checked with.
        """
        with self._turn:
            self._refresh()
            return self._tls

    def content(self) -> Content:
        """The same for a server that takes what the files have. After a change of the files it is another object."""
        with self._turn:
            self._refresh()
            return self._content

    def look(self) -> None:
        """Reads the files if they have changed. Otherwise only a handshake does."""
        with self._turn:
            self._refresh()

    def _refresh(self) -> None:
        """Reads the files if they have changed. Logs a wrong file once, and reads it again after its next change."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._configuration, self._tls, self._content = self._read()
        except ValueError as error:
            self.reloads.refused()
            _log.error(
                "certificate_refused",
                error=str(error),
                what_it_means="the earlier certificate stays in use",
                what_to_do="put the right files in place; they are read again when they change",
            )
        else:
            self.reloads.used()
            _log.info("certificate_changed", file=str(self._files[0]))

    def _look(self) -> Sequence[Stamp | None]:
        return [stamp_of(path) for path in self._files]

    def _read(self) -> tuple[grpc.ServerCertificateConfiguration, ssl.SSLContext, Content]:
        """Returns the files in the form of gRPC, in that of HTTP, and as they are. Raises ValueError with a text that says what is wrong."""
        certificate, key, *client_ca = map(_content, self._files)
        try:
            chain = x509.load_pem_x509_certificates(certificate)
        except ValueError as error:
            raise ValueError(f"{self._files[0]} is not a certificate in PEM form") from error
        try:
            private, public = load_pem_private_key(key, None), chain[0].public_key()
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._files[1]} is not a private key in PEM form, without a password") from error
        except UnsupportedAlgorithm:
            private = public = None  # type: ignore[assignment]
        if not _is_known(private):
            # gRPC takes no other kind of key: with such a key it keeps the earlier certificate, or no client can connect.
            raise ValueError(f"{self._files[1]} is neither an RSA key nor one of the curves P-256 and P-384")
        if private.public_key() != public:
            raise ValueError(f"{self._files[1]} is not the key of {self._files[0]}")
        trusted: list[x509.Certificate] = []
        for authorities in client_ca:
            try:
                trusted = x509.load_pem_x509_certificates(authorities)
            except ValueError as error:
                raise ValueError(f"{self._files[2]} has no certificate in PEM form") from error
        configuration = grpc.ssl_server_certificate_configuration(
            [(key, certificate)], client_ca[0] if client_ca else None
        )
        try:
            context = _context(certificate, key, trusted)
        except OSError as error:
            # OpenSSL refuses a weak key, for example.
            raise ValueError(f"{self._files[0]} can't be used with {self._files[1]}: {error}") from error
        self.expire_s = chain[0].not_valid_after_utc.timestamp()
        return configuration, context, Content(certificate, key, client_ca[0] if client_ca else None)


@contextmanager
def named(content: Content) -> Iterator[Paths]:
    """Gives files with the content for as long as the block lasts. No other user can open them. Raises OSError."""
    with _named(content.certificate) as certificate, _named(content.key) as key, ExitStack() as stack:
        client_ca = Path(stack.enter_context(_named(content.client_ca))) if content.client_ca else None
        yield Paths(Path(certificate), Path(key), client_ca)


def _context(certificate: bytes, key: bytes, trusted: Sequence[x509.Certificate]) -> ssl.SSLContext:
    """For a server of HTTP. Takes what was read and checked, because the files may have changed since. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _named(certificate) as chain, _named(key) as private:
        context.load_cert_chain(chain, private)
    if trusted:
        context.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.DER) for each in trusted))
        context.verify_mode = ssl.CERT_REQUIRED
    # With a ticket, a session would go on in another process, too.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def _named(content: bytes) -> Iterator[str]:
    """The name of a file with the content, because OpenSSL reads files only. No other user can open the file, and it has no name
    on a disk. Raises OSError.
    """
    with _nameless() as file:
        file.write(content)
        # On macOS, who opens the name goes on at this place.
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _nameless() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("rampd"), "w+b")
    return tempfile.TemporaryFile()


def _content(path: Path) -> bytes:
    """Raises ValueError."""
    try:
        return content_of(path, max_bytes=_MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path} can't be read: {reason}") from error


def _is_known(key: object) -> TypeGuard[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]:
    return isinstance(key, rsa.RSAPrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    )
