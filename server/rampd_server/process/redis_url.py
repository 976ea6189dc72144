"""The Redis URL of the store, checked completely before anything connects to it.

redis-py takes every option after the `?` as an argument, which overrules the argument that the code gives. So this
module lists the options that are passed on, and refuses all others.
"""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Secret

from rampd_server.process import sentinel_url
from rampd_server.process.address import masked
from rampd_server.process.cluster_url import CLUSTER, ClusterUrl
from rampd_server.process.hosts import split
from rampd_server.process.sentinel_url import SENTINELS, SentinelUrl

_SCHEMES: Final = ("redis", "rediss", "unix", *SENTINELS.schemes, *CLUSTER.schemes)
_PORT: Final = 6379
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"ssl_cert_reqs": ("required", "optional", "none"), "ssl_check_hostname": ("true", "false")}
)
_TLS: Final = (*_TLS_FILES, *_TLS_WORDS)
_ALWAYS: Final = ("db", "username", "password")
OPTIONS: Final = (*_ALWAYS, *sentinel_url.OPTIONS, *_TLS)
"""The options allowed after the `?`. Options that begin with `ssl_` are allowed only with TLS, and those that begin with
`sentinel_` only with Sentinels.
"""
_ENCODE: Final = (
    "In a user and a password, write every character as % and its code, except letters, digits and . _ ~ -: "
    "%2F for /, %23 for #, %3F for ?, %40 for @, %25 for %"
)


class RedisUrl(Secret[str]):
    """A URL that hides its password: `str()` and `repr()` show `***` in its place, `get_secret_value()` returns the
    whole URL.
    """

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a sentence that does not show the URL's user, password or options."""
        scheme, _, rest = text.partition("://")
        if scheme.lower() not in _SCHEMES:
            raise ValueError(
                "the URL must begin with redis://, rediss:// or unix://, with redis+sentinel:// or rediss+sentinel://, or with "
                "redis+cluster:// or rediss+cluster://."
            )
        if not text.isprintable():
            raise ValueError("the URL has a line end or another control character in it.")
        try:
            _check(text)
        except ValueError as error:
            authority, *behind = re.split("[/?#]", rest, maxsplit=1)
            if authority and ("@" in "".join(behind) or "[" in rest.rpartition("@")[0]):
                # A character of the password has cut the URL in the wrong place, so errors about its parts would
                # mislead.
                raise ValueError(f"the URL can't be read. {_ENCODE}.") from None
            raise ValueError(str(error)) from None
        return cls(text)

    def _display(self) -> str:
        return masked(split(self.get_secret_value()))


def place_of(url: str) -> str:
    """Returns the store and the database that a URL names, without its user, its password and its other options. Sentinels are
    not in it, and neither are nodes of a cluster: with one more of them the store is the same.
    """
    if CLUSTER.fits(url):
        return "cluster"
    if SENTINELS.fits(url):
        known = SentinelUrl.parse(url)
        return f"sentinel:{known.service}/{place_of(known.primary).rpartition('/')[2]}"
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, errors="surrogateescape"))
    if parts.scheme == "unix":
        return f"{parts.path} {options.get('db', '0')}"
    return f"{parts.hostname}:{parts.port or _PORT}/{options.get('db') or parts.path.strip('/') or '0'}"


def _check(text: str) -> None:
    if SENTINELS.fits(text):
        _check_sentinels(text)
    elif CLUSTER.fits(text):
        _check_cluster(text)
    else:
        _check_one(text, text.partition("://")[0].lower())


def _check_cluster(text: str) -> None:
    _require_no_fragment(text)
    known = ClusterUrl.parse(text)
    _check_one(known.at(known.hosts[0]), known.scheme)
    if "db" in dict(parse_qsl(split(text).query)):
        raise ValueError("a cluster has database 0 only: take out the option db.")


def _require_no_fragment(text: str) -> None:
    if "#" in text:
        raise ValueError(f"there is a # in it. {_ENCODE}.")


def _require_no_space(parts: SplitResult) -> None:
    if " " in parts.netloc or "+" in parts.query:
        raise ValueError(
            "there is a space before the path, or a + after the ?, where + means a space: write %20 for a space, %2B for +."
        )


def _check_sentinels(text: str) -> None:
    _require_no_fragment(text)
    known = SentinelUrl.parse(text)
    _require_no_space(split(text))
    _check_one(known.primary, known.scheme)
    own = [each for each in parse_qsl(split(text).query, keep_blank_values=True) if each[0] in sentinel_url.OPTIONS]
    options = dict(own)
    if len(options) < len(own):
        raise ValueError("an option that begins with sentinel_ is in it twice.")
    if "" in options.values():
        raise ValueError("an option that begins with sentinel_ is empty.")
    if "sentinel_username" in options and "sentinel_password" not in options:
        raise ValueError("it has the option sentinel_username, but not sentinel_password.")


def _check_one(text: str, scheme: str) -> None:
    """Checks the URL of one Redis. `scheme` is the one that was typed."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL; a URL looks like redis://user:password@host:6379/0.") from None
    if parts.fragment or text.endswith("#"):
        raise ValueError(f"there is a # in it. {_ENCODE}.")
    _require_no_space(parts)
    options = _options(parts)
    _check_credentials(parts, options, scheme)
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.netloc.rpartition("@")[2]:
            raise ValueError("after unix:// must come an absolute path, such as unix:///run/redis/redis.sock.")
    elif not parts.hostname or port == 0:
        raise ValueError(f"it has no host, or port 0; a URL looks like {parts.scheme}://user:password@host:6379/0.")
    elif not re.fullmatch(r"/?|/[0-9]+", parts.path, re.ASCII):
        raise ValueError("after the host may come only the number of a database, such as /0.")
    elif "db" in options and parts.path.strip("/"):
        raise ValueError("the database is in it twice, after the host and as the option db.")
    if parts.scheme == "rediss":
        _check_files(options)


def _options(parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape"):
        if name in sentinel_url.OPTIONS:
            raise ValueError(f"the option {name} is allowed only with redis+sentinel://, which names Sentinels.")
        if name not in OPTIONS:
            shown = f"the option {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else "an option"
            raise ValueError(
                f"{shown} is not allowed, because rampd chooses the settings of its Redis client. Allowed are "
                f"{', '.join(_ALWAYS)}, with redis+sentinel:// {', '.join(sentinel_url.OPTIONS)}, and with rediss:// {', '.join(_TLS)}."
            )
        if name in _TLS and parts.scheme != "rediss":
            raise ValueError(
                f"the option {name} is allowed only with rediss://, rediss+sentinel:// or rediss+cluster://, which is Redis with TLS."
            )
        if name in options:
            raise ValueError(f"the option {name} is in it twice.")
        if not value:
            raise ValueError(f"the option {name} is empty.")
        if name == "db" and not re.fullmatch("[0-9]{1,9}", value, re.ASCII):
            raise ValueError("the option db is not the number of a database, such as 0.")
        if name in _TLS_WORDS and value not in _TLS_WORDS[name]:
            raise ValueError(f"the option {name} must be one of {', '.join(_TLS_WORDS[name])}.")
        options[name] = value
    if parts.query and not options:
        raise ValueError(f"after the ? come no options. {_ENCODE}.")
    return options


def _check_credentials(parts: SplitResult, options: Mapping[str, str], scheme: str) -> None:
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
            f"it has a user but no password. For a password without a user, type {scheme}://:password@host. For a "
            "user that Redis lets in without a password, type any password."
        )


def _check_files(options: Mapping[str, str]) -> None:
    """Checks the files that TLS needs. A connection would find the same mistakes, but again each time, and say less."""
    for name in _TLS_FILES:
        if name in options:
            try:
                Path(options[name]).open("rb").close()
            except (OSError, ValueError) as error:
                raise ValueError(f"the file of {name} can't be read: {_reason(error)}.") from None
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("the option ssl_keyfile needs ssl_certfile, the certificate of the key.")
    context = ssl.create_default_context()
    try:
        if "ssl_ca_certs" in options:
            context.load_verify_locations(options["ssl_ca_certs"])
    except OSError:
        raise ValueError("the file of ssl_ca_certs has no certificates in PEM.") from None
    try:
        if "ssl_certfile" in options:
            # For a key with a password, OpenSSL would ask on the terminal; with an empty password it fails.
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), password="")
    except OSError:
        raise ValueError(
            "the files of ssl_certfile and ssl_keyfile are not a certificate and its key, in PEM and without a password."
        ) from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is not a path"
