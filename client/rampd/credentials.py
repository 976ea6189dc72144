"""Credentials, which prove to a server who calls: `credentials=` of `Resolver`, `Admin` and their asyncio twins.

Without `credentials=`, clients use `RAMPD_TOKEN` or `RAMPD_TOKEN_FILE`, and `RAMPD_CERT_FILE` with `RAMPD_KEY_FILE`. A client
sends a token over TLS, over a unix socket, or on this machine. It never sends a token in the clear to another machine.
"""

import json
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rampd._contract.loopback import is_loopback
from rampd._contract.small_file import content_of
from rampd._contract.token import Secret, end_of, token_violation
from rampd.errors import InvalidArgumentError, UnauthenticatedError

if TYPE_CHECKING:
    import urllib.request

__all__ = ["ClientCertificate", "Credentials", "GitHubActions", "GitLab", "Token", "TokenFile"]

_TIMEOUT_S: Final = 10.0
_MAX_BYTES: Final = 1 << 20


class Token:
    """A token of `rampd-server token create`, or a token of an OIDC issuer. `repr()` does not show it."""

    def __init__(self, token: str) -> None:
        """Raises InvalidArgumentError if the text can't be a token."""
        token = _hidden(token)
        self._token = _checked(token, "token")

    def __call__(self) -> tuple[str, float | None]:
        """Returns the token, and when it ends, in seconds since 1970 (None: not known)."""
        return self._token, end_of(self._token)

    def __repr__(self) -> str:
        return "Token(…)"


class TokenFile:
    """A file with a token, such as a Kubernetes secret or a file that an agent writes. It is read again when it changes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self) -> tuple[str, float | None]:
        """Returns the token that the file has now, and when the token ends. Raises UnauthenticatedError."""
        try:
            text = Secret(content_of(self.path).decode().strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UnauthenticatedError(f"The token file {self.path} can't be read: {reason}.") from error
        try:
            token = _checked(text, str(self.path))
        except InvalidArgumentError as error:
            raise UnauthenticatedError(error.message) from None
        return token, end_of(token)

    def __repr__(self) -> str:
        return f"TokenFile({str(self.path)!r})"


class ClientCertificate:
    """A client certificate and its key, for a server with `--tls-client-ca`. Both are PEM files, and are read again when they
    change.
    """

    def __init__(self, certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
        self.certificate = Path(certificate)
        self.key = Path(key)

    def read(self) -> tuple[bytes, bytes]:
        """Returns the certificate and its key. Raises UnauthenticatedError if they do not belong together."""
        try:
            found = None
            # Python checks only files. They may be replaced at any moment, so what was read before and after the check is the same.
            while found != (found := (content_of(self.certificate), content_of(self.key))):
                # A key with a password is refused. Without this function, OpenSSL would ask for the password at the terminal.
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(self.certificate, self.key, password=lambda: "")
        except ssl.SSLError:
            raise UnauthenticatedError(
                f"The client certificate can't be used: {self.certificate} and {self.key} have to be a certificate and its key, "
                "in PEM form and without a password."
            ) from None
        except OSError as error:
            raise UnauthenticatedError(
                f"The client certificate can't be read: {error.filename or self.key}: {error.strerror}."
            ) from error
        return found

    def __repr__(self) -> str:
        return f"ClientCertificate({str(self.certificate)!r}, {str(self.key)!r})"


class GitHubActions:
    """The identity of a job of GitHub Actions, without a stored secret. The job needs `permissions: id-token: write`."""

    def __init__(self, audience: str) -> None:
        """`audience` is the audience that the access file names."""
        # It is slow to import, and only this class needs it. Not at the first call: a fork at that moment would leave the import
        # locked.
        import urllib.request  # noqa: F401, PLC0415

        self.audience = audience

    def __call__(self) -> tuple[str, float | None]:
        """Asks GitHub for a token of this job. Returns it, and when it ends. Raises UnauthenticatedError."""
        import http.client  # noqa: PLC0415 - `__init__` says why
        import urllib.error  # noqa: PLC0415
        import urllib.parse  # noqa: PLC0415
        import urllib.request  # noqa: PLC0415

        url = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
        secret = Secret(os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", ""))
        if not url or not secret:
            raise UnauthenticatedError(
                "This is not a job of GitHub Actions with an identity: give the job `permissions: id-token: write`."
            )
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise UnauthenticatedError("ACTIONS_ID_TOKEN_REQUEST_URL is not an https:// address.")
        joint = "&" if parts.query else "?"
        request = urllib.request.Request(  # noqa: S310 - checked above
            f"{url}{joint}{urllib.parse.urlencode({'audience': self.audience})}",
            headers={"Authorization": Secret(f"bearer {secret}"), "Accept": "application/json"},
        )
        try:
            with _without_redirects().open(request, timeout=_TIMEOUT_S) as response:
                token = _checked(_hidden(json.loads(response.read(_MAX_BYTES))["value"]), "value")
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, InvalidArgumentError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else type(error).__name__
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise UnauthenticatedError(f"GitHub gave no token for this job: {reason}.") from None
        return token, end_of(token)

    def __repr__(self) -> str:
        return f"GitHubActions({self.audience!r})"


class GitLab:
    """The identity of a job of GitLab CI, without a stored secret. The job names the variable in `id_tokens:`."""

    def __init__(self, variable: str = "RAMPD_ID_TOKEN") -> None:
        self.variable = variable

    def __call__(self) -> tuple[str, float | None]:
        """Returns the token of this job, and when it ends. Raises UnauthenticatedError."""
        token = Secret(os.environ.get(self.variable, "").strip())
        if not token:
            raise UnauthenticatedError(
                f"The variable {self.variable} has no token: name it in `id_tokens:` of the job, with the audience of the access file."
            )
        return token, end_of(token)

    def __repr__(self) -> str:
        return f"GitLab({self.variable!r})"


Credentials: TypeAlias = (
    Token | TokenFile | ClientCertificate | GitHubActions | GitLab | Callable[[], tuple[str, float | None]]
)
"""One of these classes, or a callable that returns a token, and when it ends, in seconds since 1970 (None: not known)."""


def _without_redirects() -> "urllib.request.OpenerDirector":
    """Returns an opener that follows no redirect, because another server would get the secret of the job."""
    import urllib.request  # noqa: PLC0415 - `GitHubActions.__init__` says why

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    return urllib.request.build_opener(NoRedirects)


def _hidden(text: Any) -> Any:  # noqa: ANN401 - a caller may give anything
    """Returns a text as a Secret. Tools that show the variables of a traceback do not show a Secret."""
    return Secret(text) if isinstance(text, str) else text


def _checked(text: object, field: str) -> Secret:
    """Returns a text if it can be a token. Raises InvalidArgumentError, which does not show the text."""
    if (wrong := token_violation(text)) is not None:
        raise InvalidArgumentError(violations=[(field, wrong)])
    return Secret(text)
