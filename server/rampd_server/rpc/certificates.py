"""The server's TLS certificate, read again when its files change, without a lost call."""

import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rampd_server.process.file_stamp import Stamp, stamp_of
from rampd_server.process.startup import StartupError

_log: Final = structlog.get_logger(__name__)


class Certificates:
    """A certificate with its key, and the authorities that sign the certificates of clients, if these are asked for."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        """Raises StartupError."""
        self._files = (certificate, key, *((client_ca,) if client_ca else ()))
        self.asks_clients = client_ca is not None
        self._turn = threading.Lock()
        self._stamps = self._look()
        try:
            self._configuration, self._tls = self._read()
        except (OSError, ValueError) as error:
            raise StartupError(f"--tls-cert, --tls-key, --tls-client-ca: {error}.") from error

    def credentials(self) -> grpc.ServerCredentials:
        """For one port of a gRPC server. Each handshake has the files as they are then."""
        in_use = self._configuration

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """Called by gRPC before a handshake, in a thread of its own: another configuration; None for the one in use."""
            nonlocal in_use
            with self._turn:
                self._refresh()
                if self._configuration is in_use:
                    return None
                in_use = self._configuration
                return in_use

        return grpc.dynamic_ssl_server_credentials(
            in_use,
            changed,  # type: ignore[arg-type]  # None is what gRPC documents for no change
            require_client_authentication=self.asks_clients,
        )

    def context(self) -> ssl.SSLContext:
        """The same for a server of HTTP."""

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            """Called before a handshake is answered."""
            with self._turn:
                self._refresh()
                connection.context = self._tls

        first = self._context()
        first.sni_callback = choose
        return first

    def _context(self) -> ssl.SSLContext:
        certificate, key, *client_ca = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        for authorities in client_ca:
            context.load_verify_locations(authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        # A session that goes on would keep the certificate of a client that the files no longer trust.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _refresh(self) -> None:
        """Reads the files where they have changed. One that is wrong is told of once, and read again when it changes again."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._configuration, self._tls = self._read()
        except (OSError, ValueError) as error:
            _log.error(
                "certificate_refused",
                error=str(error),
                what_it_means="the certificate of before stays in use",
                what_to_do="put the right files in place; they are read again when they change",
            )
        else:
            _log.info("certificate_changed", file=str(self._files[0]))

    def _look(self) -> Sequence[Stamp | None]:
        return [stamp_of(path) for path in self._files]

    def _read(self) -> tuple[grpc.ServerCertificateConfiguration, ssl.SSLContext]:
        """For gRPC and for HTTP. Raises OSError; ValueError with what is wrong."""
        certificate, key, *client_ca = (path.read_bytes() for path in self._files)
        try:
            chain = x509.load_pem_x509_certificates(certificate)
        except ValueError as error:
            raise ValueError(f"{self._files[0]} is not a certificate in PEM form") from error
        try:
            private = load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._files[1]} is not a private key in PEM form, without a password") from error
        if private.public_key() != chain[0].public_key():
            raise ValueError(f"{self._files[1]} is not the key of {self._files[0]}")
        for authorities in client_ca:
            try:
                x509.load_pem_x509_certificates(authorities)
            except ValueError as error:
                raise ValueError(f"{self._files[2]} has no certificate in PEM form") from error
        configuration = grpc.ssl_server_certificate_configuration(
            [(key, certificate)], client_ca[0] if client_ca else None
        )
        return configuration, self._context()
