"""Values of the configuration with a syntax of their own: the server's address, and the URL and headers of Prometheus."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from pydantic import Secret

from rampd._contract.loopback import is_loopback

_MASK = "***"
_SECRETS = frozenset({"password", "sentinel_password"})
"""Options of a URL that are never shown."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_OWN_HEADERS = frozenset(
    [
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ]
)
_LISTEN = re.compile(
    r"(?:(?P<scheme>https?)://)?(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on; port 0 lets the system choose. `str()` gives `host:port`, IPv6 in brackets."""

    host: str
    port: int
    is_tls: bool | None = field(default=None, compare=False)
    """None: not said."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `host:port`, with `https://` before it for TLS or `http://` for plain text. Raises ValueError with a sentence."""
        match = _LISTEN.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(f"{text!r} is not host:port, such as 127.0.0.1:50051 or [::1]:0.")
        host = match["v6"] or match["host"]
        if not host:
            raise ValueError(f"{text!r} has no host; 0.0.0.0 is every IPv4 address of this machine, [::] every one.")
        return cls(host, int(match["port"]), None if match["scheme"] is None else match["scheme"] == "https")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PrometheusUrl(Secret[str]):
    """The URL of Prometheus: `http://` or `https://`, with an optional path. A password is never shown."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a sentence that does not show the URL's password."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError("not a URL; a URL looks like http://prometheus:9090.") from None
        if parts.scheme not in {"http", "https"}:
            raise ValueError("the URL must begin with http:// or https://.")
        if not parts.hostname or port == 0:
            raise ValueError(f"it has no host, or port 0; a URL looks like {parts.scheme}://prometheus:9090.")
        if parts.query or parts.fragment:
            raise ValueError("nothing may come after the path: no ? and no #.")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a URL has no spaces and no special characters; write them as %20 and so on.")
        return cls(text)

    @property
    def without_credentials(self) -> str:
        """The URL in a form that may be shown, without a slash at its end."""
        parts = urlsplit(self.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password; None if the URL has none."""
        parts = urlsplit(self.get_secret_value())
        if "@" not in parts.netloc:
            return None
        return unquote(parts.username or ""), unquote(parts.password or "")

    def _display(self) -> str:
        return masked(urlsplit(self.get_secret_value()))


class PrometheusHeaders(Secret[tuple[tuple[str, str], ...]]):
    """Headers that go with each question to Prometheus. `str()` and `repr()` show their names; values may be secrets."""

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        """Parses lines such as `X-Scope-OrgID: team`. Raises ValueError with a sentence that shows no value."""
        headers: dict[str, tuple[str, str]] = {}
        for line in filter(None, map(str.strip, lines)):
            name, colon, value = (part.strip() for part in line.partition(":"))
            if not colon or not _HEADER_NAME.fullmatch(name):
                raise ValueError("a header is a name, a colon and a value, such as 'X-Scope-OrgID: team'.")
            if not value or not value.isascii() or not value.replace("\t", " ").isprintable():
                raise ValueError(f"the value of {name} is empty, or is not printable ASCII on one line.")
            if name.lower() == "authorization":
                raise ValueError(
                    "Authorization can't be given as a header. Put a bearer token into a file for --prometheus-token-file, or "
                    "a user and a password into --prometheus-url."
                )
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"rampd sets {name} itself: leave it out.")
            if name.lower() in headers:
                raise ValueError(f"{name} is given twice: once is enough.")
            headers[name.lower()] = name, value
        if not headers:
            raise ValueError("it has no header; a header looks like 'X-Scope-OrgID: team'.")
        return cls(tuple(headers.values()))

    @property
    def by_name(self) -> dict[str, str]:
        """The headers, with their values."""
        return dict(self.get_secret_value())

    def _display(self) -> str:
        return ", ".join(f"{name}: {_MASK}" for name, _ in self.get_secret_value())


def masked(parts: SplitResult) -> str:
    """Returns a URL with `***` for its password, which may also stand among the options."""
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}{colon and ':' + _MASK}{at}{host}"
    pairs = [(key, _MASK if key in _SECRETS else value) for key, value in parse_qsl(parts.query)]
    query = urlencode(pairs, safe="*/")
    return f"{parts.scheme}://{netloc}{parts.path}{query and '?' + query}"
