"""The server that a client talks to: its address, the authorities for its certificate, and the client's credentials."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import grpc

from rampd._calls.channel import Options, open_channel
from rampd._calls.held_token import HeldToken
from rampd._calls.target import checked_target, is_tls, place_of
from rampd._contract.loopback import is_loopback
from rampd._contract.small_file import content_of
from rampd._contract.token import Secret
from rampd._runtime.file_stamp import stamp_of
from rampd._runtime.log import log
from rampd.credentials import ClientCertificate, Credentials, Token, TokenFile
from rampd.errors import InvalidArgumentError, RampdError

_Files: TypeAlias = tuple[bytes | None, bytes | None, bytes | None]
"""The content of the files of TLS: the authorities, the client's key, the client's certificate."""

TOKEN_S: Final = 20.0
"""How long a call without a time-out waits for a token."""


def NO_CREDENTIALS() -> tuple[str, float | None]:  # noqa: N802 - a constant among the credentials
    """Credentials for a client that sends nothing to a server. The environment is not read."""
    return "", None


class Endpoint:
    """Any thread may use it. Without arguments it uses `RAMPD_TOKEN` and the other variables of rampd.credentials."""

    def __init__(
        self, target: str, credentials: Credentials | None = None, ca_file: str | os.PathLike[str] | None = None
    ) -> None:
        """Raises InvalidArgumentError."""
        self.target = checked_target(target)
        self._has_tls = is_tls(target)
        self._ca_file = _ca_file(ca_file)
        ask, self._certificate = _of_environment() if credentials is None else _parted(credentials)
        if self._certificate is not None and not self._has_tls:
            raise _wrong(f"a client certificate needs TLS: the target has to be https://host:port; got {self.target}")
        if ask is not None and not self._has_tls and not is_local(self.target):
            raise _wrong(f"a token is not sent in the clear: the target has to be https://host:port; got {self.target}")
        self._token = None if ask is None else HeldToken(ask)
        self._files: _Files | None = None
        certificate = self._certificate
        files = (self._ca_file, *(() if certificate is None else (certificate.certificate, certificate.key)))
        self._paths = [path for path in files if path is not None and self._has_tls]

    def open_channel(self, options: Options) -> grpc.Channel:
        """Returns a channel, which connects at its first call. If a file of TLS can't be used any more, the channel uses the
        content that was read before. Raises UnauthenticatedError and InvalidArgumentError if nothing was read before.
        """
        if not self._has_tls:
            return open_channel(self.target, options)
        try:
            self._files = self._read()
        except RampdError as error:
            if self._files is None:
                raise
            log.warning("%s The files that were read before stay in use.", error.message)
        return open_channel(self.target, options, grpc.ssl_channel_credentials(*self._files))

    def stamp(self) -> object:
        """Returns a value that differs after a file of TLS has changed. Then the channel has to be opened again."""
        return tuple(map(stamp_of, self._paths))

    def authorization(self, timeout_s: float = TOKEN_S) -> tuple[tuple[str, str], ...]:
        """Returns the metadata that proves who calls. It may wait for a token, so do not call it inside the gate of forks.
        Raises UnauthenticatedError, and DeadlineExceededError after `timeout_s`.
        """
        return () if self._token is None else (("authorization", self._token.header(timeout_s)),)

    def forget_token(self) -> None:
        """Notes that a server has refused the token, so that the next call asks the credentials for another one."""
        if self._token is not None:
            self._token.forget()

    def has_other_than(self, sent: tuple[tuple[str, str], ...], timeout_s: float) -> bool:
        """Returns whether there is now another token than the one that a server has refused."""
        try:
            return self.authorization(timeout_s) != sent
        except RampdError:
            return False

    def _read(self) -> _Files:
        chain = key = None
        if self._certificate is not None:
            chain, key = self._certificate.read()
        return None if self._ca_file is None else _authorities(self._ca_file), key, chain


def is_local(target: str) -> bool:
    """Returns whether all that is sent to a checked target stays on this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    return is_loopback(place_of(target).rpartition(":")[0].strip("[]"))


_Parts: TypeAlias = tuple[Callable[[], tuple[str, float | None]] | None, ClientCertificate | None]
"""The callable that gives a token, and the certificate for the TLS handshake."""


def _parted(credentials: Credentials) -> _Parts:
    if credentials is NO_CREDENTIALS:
        return None, None
    if isinstance(credentials, ClientCertificate):
        return None, credentials
    if not callable(credentials):
        raise _wrong("must be one of rampd.credentials, or a callable")
    return credentials, None


def _of_environment() -> _Parts:
    """Returns both parts, because a server may ask for both: a certificate for the connection and a token for the identity. Raises
    InvalidArgumentError.
    """
    ask: Token | TokenFile | None = None
    if token := Secret(os.environ.get("RAMPD_TOKEN", "").strip()):
        ask = Token(token)
    elif path := os.environ.get("RAMPD_TOKEN_FILE"):
        ask = TokenFile(path)
    certificate, key = os.environ.get("RAMPD_CERT_FILE"), os.environ.get("RAMPD_KEY_FILE")
    if bool(certificate) != bool(key):
        raise InvalidArgumentError(violations=[("RAMPD_CERT_FILE", "goes together with RAMPD_KEY_FILE: set both")])
    return ask, ClientCertificate(certificate, key) if certificate and key else None


def _ca_file(given: str | os.PathLike[str] | None) -> Path | None:
    found = given or os.environ.get("RAMPD_CA_FILE")
    if not found:
        return None
    path = Path(found)
    _authorities(path)
    return path


def _authorities(path: Path) -> bytes:
    try:
        content = content_of(path)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):  # an empty file raises ValueError
        reason = "has no certificate in PEM form"
    except OSError as error:
        reason = f"can't be read: {error.strerror}"
    else:
        return content
    raise InvalidArgumentError(violations=[("ca_file", f"{path} {reason}")])


def _wrong(text: str) -> InvalidArgumentError:
    return InvalidArgumentError(violations=[("credentials", text)])
