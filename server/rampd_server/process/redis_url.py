"""Where the store is: a Redis URL, checked whole before anything connects to it.

redis-py takes whatever stands after the `?` as an argument of its own, and lets it overrule what the code gave. So what is
passed on is named here, and everything else is refused.
"""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Secret

from rampd_server.process.address import masked

_SCHEMES: Final = ("redis", "rediss", "unix")
_PORT: Final = 6379
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"ssl_cert_reqs": ("required", "optional", "none"), "ssl_check_hostname": ("true", "false")}
)
_TLS: Final = (*_TLS_FILES, *_TLS_WORDS)
OPTIONS: Final = ("db", "username", "password", *_TLS)
"""What may stand after the `?`; those that begin with `ssl_` with rediss:// only."""
_ENCODE: Final = (
    "In a user and a password, write every character that is no letter, no digit and none of . _ ~ - as % and its code: "
    "%2F for /, %23 for #, %3F for ?, %40 for @, %25 for %"
)


class RedisUrl(Secret[str]):
    """A URL whose password is shown to nobody: `str()` and `repr()` have `***` there; `get_secret_value()` has all."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a sentence that has nothing of the URL's user, password and options."""
        scheme, _, rest = text.partition("://")
        if scheme.lower() not in _SCHEMES:
            raise ValueError("the URL begins with none of redis://, rediss:// and unix://.")
        if not text.isprintable():
            raise ValueError("the URL has a line end or another control character in it.")
        try:
            _check(text)
        except ValueError as error:
            authority, *behind = re.split("[/?#]", rest, maxsplit=1)
            if authority and ("@" in "".join(behind) or "[" in rest.rpartition("@")[0]):
                # A password has cut the URL in the wrong place, so what is wrong with its parts says nothing.
                raise ValueError(f"the URL can't be read. {_ENCODE}.") from None
            raise ValueError(str(error)) from None
        return cls(text)

    def _display(self) -> str:
        return masked(urlsplit(self.get_secret_value()))


def place_of(url: str) -> str:
    """Which database of which store a URL is for: nothing of its user, its password and its options is in it."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, errors="surrogateescape"))
    if parts.scheme == "unix":
        return f"{parts.path} {options.get('db', '0')}"
    return f"{parts.hostname}:{parts.port or _PORT}/{options.get('db') or parts.path.strip('/') or '0'}"


def _check(text: str) -> None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL; one looks like redis://user:password@host:6379/0.") from None
    if parts.fragment or text.endswith("#"):
        raise ValueError(f"there is a # in it. {_ENCODE}.")
    if " " in parts.netloc or "+" in parts.query:
        raise ValueError(
            "there is a space before the path, or a + after the ?, which means one: write %20, or %2B for +."
        )
    options = _options(parts)
    _check_credentials(parts, options)
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.netloc.rpartition("@")[2]:
            raise ValueError("unix:// is followed by an absolute path, such as unix:///run/redis/redis.sock.")
    elif not parts.hostname or port == 0:
        raise ValueError(f"no host in it, or port 0; a URL looks like {parts.scheme}://user:password@host:6379/0.")
    elif not re.fullmatch(r"/?|/[0-9]+", parts.path, re.ASCII):
        raise ValueError("after the host comes nothing, or the number of a database, such as /0.")
    elif "db" in options and parts.path.strip("/"):
        raise ValueError("the database is in it twice, after the host and as the option db.")
    if parts.scheme == "rediss":
        _check_files(options)


def _options(parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape"):
        if name not in OPTIONS:
            shown = f"the option {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else "an option"
            raise ValueError(
                f"{shown} is not passed on to the Redis client, whose settings are rampd's own; what may be given is "
                f"{', '.join(OPTIONS[:3])} and, with rediss://, {', '.join(_TLS)}."
            )
        if name in _TLS and parts.scheme != "rediss":
            raise ValueError(f"the option {name} is for rediss://, which is Redis with TLS.")
        if name in options:
            raise ValueError(f"the option {name} is in it twice.")
        if not value:
            raise ValueError(f"the option {name} is empty.")
        if name == "db" and not re.fullmatch("[0-9]{1,9}", value, re.ASCII):
            raise ValueError("the option db is not the number of a database, such as 0.")
        if name in _TLS_WORDS and value not in _TLS_WORDS[name]:
            raise ValueError(f"the option {name} is none of {', '.join(_TLS_WORDS[name])}.")
        options[name] = value
    if parts.query and not options:
        raise ValueError(f"after the ? come no options. {_ENCODE}.")
    return options


def _check_credentials(parts: SplitResult, options: Mapping[str, str]) -> None:
    credentials, _, _ = parts.netloc.rpartition("@")
    if "@" in credentials:
        raise ValueError(f"there is an @ in the user or the password. {_ENCODE}.")
    if re.search("%(?![0-9A-Fa-f]{2})", credentials):
        raise ValueError(f"there is a % in the user or the password without a code after it. {_ENCODE}.")
    for name, value in (("username", parts.username), ("password", parts.password)):
        if value and name in options:
            raise ValueError(f"the {name} is in it twice, before the host and as an option.")
    if (parts.username or "username" in options) and not (parts.password or "password" in options):
        raise ValueError(
            f"there is a user in it and no password. With a password alone, type {parts.scheme}://:password@host; for a "
            "user that Redis lets in without one, type any."
        )


def _check_files(options: Mapping[str, str]) -> None:
    """Looks into the files that TLS needs: a connection would find out too, each time anew, and say less."""
    for name in _TLS_FILES:
        if name in options:
            try:
                Path(options[name]).open("rb").close()
            except (OSError, ValueError) as error:
                raise ValueError(f"the file of {name} can't be read: {_reason(error)}.") from None
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("the option ssl_keyfile needs ssl_certfile, the certificate that the key is of.")
    context = ssl.create_default_context()
    try:
        if "ssl_ca_certs" in options:
            context.load_verify_locations(options["ssl_ca_certs"])
    except OSError:
        raise ValueError("the file of ssl_ca_certs has no certificates in PEM.") from None
    try:
        if "ssl_certfile" in options:
            # The empty password is for a key that has one: OpenSSL would ask the terminal for it.
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), password="")
    except OSError:
        raise ValueError(
            "the files of ssl_certfile and ssl_keyfile are not a certificate and its key, in PEM and without a password."
        ) from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is no path"
