"""The address of a server: what a caller may give, and how gRPC writes it."""

import os
import re
from urllib.parse import quote, unquote

from rampd._contract.grammar import shown
from rampd.errors import InvalidArgumentError

_TLS = "https://"
_SCHEMES = ("unix-abstract:", "dns:", "ipv4:", "ipv6:")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@]*@)?(.*)", re.DOTALL)
_HOST_PORT = re.compile(r"[A-Za-z0-9.:\[\]_-]+:[0-9]+")
_NO_HOST = frozenset("/@?#\\")


def checked_target(target: str) -> str:
    """Returns the address if `channel_target` can use it. Raises InvalidArgumentError."""
    wrong = _what_is_wrong(target)
    if wrong:
        # There may be a password before an @, so the address is not shown.
        got = "" if isinstance(target, str) and "@" in target else f"; got {shown(target)}"
        raise InvalidArgumentError(violations=[("target", f"{wrong}{got}")])
    return target


def channel_target(target: str) -> str:
    """Returns a checked target in gRPC's notation, in which the path of a socket is percent-encoded."""
    if target.startswith("unix:"):
        return "unix:" + quote(os.fsencode(_path(target)))
    return place_of(target)


def is_tls(target: str) -> bool:
    """Whether a checked target asks for TLS."""
    return target.startswith(_TLS)


def place_of(target: str) -> str:
    """Returns a checked target without `https://`."""
    return target.removeprefix(_TLS)


def _path(target: str) -> str:
    """Returns the path of a socket. It is percent-decoded after `unix://`, and taken as it is after `unix:`."""
    if target.startswith("unix://"):
        return unquote(target.removeprefix("unix://"), errors="surrogateescape")
    return target.removeprefix("unix:")


def _what_is_wrong(target: object) -> str:
    expected = 'must be "host:port", "https://host:port" or "unix:/path/of/a/socket"'
    if not isinstance(target, str):
        return expected
    if target.startswith("unix:"):
        path = _path(target)
        if not path or "\0" in path:
            return expected
        if target.startswith("unix://") and not path.startswith("/"):
            return "must have an absolute path after unix://, as in unix:///run/rampd.sock"
        return ""
    if not target.isprintable() or " " in target:
        return expected
    if target.startswith(_SCHEMES) and target not in _SCHEMES:
        return ""
    if is_tls(target) and not _what_is_wrong(place_of(target)) and not place_of(target).startswith(_SCHEMES):
        return ""
    if url := _URL.fullmatch(target):
        return _what_is_wrong_with_a_url(url[1].lower(), url[2].partition("/")[0])
    host, _, port = target.rpartition(":")
    is_port = port.isdecimal() and port.isascii() and 0 < int(port) < 65536
    return "" if host and is_port and not _NO_HOST & set(host) else expected


def _what_is_wrong_with_a_url(scheme: str, place: str) -> str:
    known = place if _HOST_PORT.fullmatch(place) else "host:port"
    if scheme == "https":
        return 'must be "https://host:port" for a server with TLS'
    if scheme in {"redis", "rediss"}:
        return 'must be "host:port" of a rampd server. Only the server needs the address of Redis'
    return f'must be "{known}", without {scheme}://, or "https://{known}" for a server with TLS'
