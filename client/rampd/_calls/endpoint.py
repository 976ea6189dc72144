"""The server that a client talks to: its address, how the client knows it, and what proves who calls."""

import ipaddress
import os
import threading
import time
from pathlib import Path
from typing import Final

import grpc

from rampd._calls.channel import Options, open_channel
from rampd._calls.target import checked_target, is_tls, place_of
from rampd.credentials import ClientCertificate, Credentials, Token, TokenFile
from rampd.errors import InvalidArgumentError, UnauthenticatedError

_BEFORE_END_S: Final = 30.0
"""So long before its end a token is replaced."""
_LIFE_S: Final = 60.0
"""Of a token that does not say when it ends."""


def NO_CREDENTIALS() -> tuple[str, float | None]:  # noqa: N802 - a constant among the credentials
    """For a client that talks to nobody: the environment is not looked at."""
    return "", None


class Endpoint:
    """Any thread may use it. Without arguments it follows `RAMPD_TOKEN` and the other variables of rampd.credentials."""

    def __init__(
        self, target: str, credentials: Credentials | None = None, ca_file: str | os.PathLike[str] | None = None
    ) -> None:
        """Raises InvalidArgumentError."""
        self.target = checked_target(target)
        self._has_tls = is_tls(target)
        self._ca_file = _ca_file(ca_file)
        found = _of_environment() if credentials is None else credentials
        if found is NO_CREDENTIALS:
            found = None
        self._certificate = found if isinstance(found, ClientCertificate) else None
        self._ask = None if found is None or isinstance(found, ClientCertificate) else found
        self._lock = threading.Lock()
        self._token = ""
        self._until_s = 0.0
        self._check()

    def _check(self) -> None:
        where = "credentials"
        if self._certificate is not None and not self._has_tls:
            raise InvalidArgumentError(
                violations=[
                    (
                        where,
                        f"a client certificate needs TLS: the target has to be https://host:port; got {self.target}",
                    )
                ]
            )
        if self._ask is not None and not self._has_tls and not is_local(self.target):
            raise InvalidArgumentError(
                violations=[
                    (
                        where,
                        f"a token is not sent in the clear: the target has to be https://host:port; got {self.target}",
                    )
                ]
            )
        if self._ask is not None and not callable(self._ask):
            raise InvalidArgumentError(violations=[(where, "must be one of rampd.credentials, or a callable")])

    def open_channel(self, options: Options) -> grpc.Channel:
        """A channel, which connects at its first call. Raises UnauthenticatedError: a certificate can't be read."""
        if not self._has_tls:
            return open_channel(self.target, options)
        key = chain = None
        if self._certificate is not None:
            chain, key = self._certificate.read()
        roots = None if self._ca_file is None else _read(self._ca_file)
        return open_channel(self.target, options, grpc.ssl_channel_credentials(roots, key, chain))

    def stamp(self) -> object:
        """Differs where a channel has to be opened again: a file of its TLS has changed."""
        return None if self._certificate is None else self._certificate.stamp()

    def authorization(self) -> tuple[tuple[str, str], ...]:
        """The metadata that proves who calls. It may ask somebody for a token: seconds. Raises UnauthenticatedError."""
        if self._ask is None:
            return ()
        if not self._token or time.time() >= self._until_s:
            self._renew()
        return (("authorization", f"Bearer {self._token}"),)

    def forget_token(self) -> bool:
        """After a server has refused the token: whether another one can be had, and it asks for it at the next call."""
        with self._lock:
            had, self._token = self._token, ""
        return bool(had) and self._ask is not None and not isinstance(self._ask, Token)

    def _renew(self) -> None:
        with self._lock:
            if self._token and time.time() < self._until_s:
                return
            assert self._ask is not None  # noqa: S101 - who calls has looked
            try:
                token, end_s = self._ask()
            except UnauthenticatedError:
                raise
            except Exception as error:
                raise UnauthenticatedError(
                    f"There is no token: the credentials raised {type(error).__name__}."
                ) from error
            now_s = time.time()
            self._token = token
            self._until_s = now_s + _LIFE_S if end_s is None else max(now_s + 1.0, end_s - _BEFORE_END_S)


def is_local(target: str) -> bool:
    """Whether what is sent to a checked target stays on this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = place_of(target).rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _of_environment() -> Credentials | None:
    """Raises InvalidArgumentError."""
    if token := os.environ.get("RAMPD_TOKEN"):
        return Token(token)
    if path := os.environ.get("RAMPD_TOKEN_FILE"):
        return TokenFile(path)
    certificate, key = os.environ.get("RAMPD_CERT_FILE"), os.environ.get("RAMPD_KEY_FILE")
    if bool(certificate) != bool(key):
        raise InvalidArgumentError(violations=[("RAMPD_CERT_FILE", "goes together with RAMPD_KEY_FILE: set both")])
    return ClientCertificate(certificate, key) if certificate and key else None


def _ca_file(given: str | os.PathLike[str] | None) -> Path | None:
    found = given or os.environ.get("RAMPD_CA_FILE")
    if not found:
        return None
    path = Path(found)
    _read(path)
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(violations=[("ca_file", f"{path} can't be read: {error.strerror}")]) from error
