"""A URL that names Sentinels in place of a Redis: `redis+sentinel://user:password@host:port,host:port/service/db`.

User and password are those of the Redis. Those of the Sentinels are the options `sentinel_username` and `sentinel_password`.
"""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, quote, urlencode

from rampd_server.process.hosts import Kind

SENTINELS: Final = Kind("+sentinel", "Sentinel", port=26379, path="/service/0")
OPTIONS: Final = ("sentinel_username", "sentinel_password")
_PATH: Final = re.compile(r"/([A-Za-z0-9._-]+)(?:/[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """The parts of the URL. Those that are URLs themselves are `redis://` or `rediss://`, as redis-py takes them."""

    scheme: str
    hosts: tuple[str, ...]
    """`host:port` of each Sentinel."""
    sentinels: tuple[str, ...]
    """The URL of each Sentinel."""
    service: str
    """The name of the primary at the Sentinels."""
    primary: str
    """The URL of the primary. Its host is not known yet, and stands there as `primary`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with a sentence, if the hosts or the service are wrong. User, database and options are those of
        `primary`, and are not checked here.
        """
        scheme, base, login, hosts, path, query = SENTINELS.read(text)
        found = _PATH.fullmatch(path)
        if found is None:
            raise ValueError(
                f"after the Sentinels must come the name of the service that they watch, and may come the number of a database: "
                f"{SENTINELS.example(scheme)}. The name is that of `sentinel monitor` in sentinel.conf."
            )
        options = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        own = {name: quote(value, safe="", errors="surrogateescape") for name, value in options if name in OPTIONS}
        user, password = (own.get(name, "") for name in OPTIONS)
        shared = urlencode([each for each in options if each[0].startswith("ssl_")])
        introduced = f"{user}:{password}@" if password else ""
        return cls(
            scheme,
            hosts,
            tuple(f"{base}://{introduced}{host}/0?{shared}" for host in hosts),
            found[1],
            f"{base}://{login}primary{path.removeprefix(f'/{found[1]}')}{_without_own(query)}",
        )


def _without_own(query: str) -> str:
    """The options of the primary. They are left as they were typed, so that a mistake in them is found."""
    kept = [pair for pair in query.split("&") if pair.partition("=")[0] not in OPTIONS]
    return f"?{'&'.join(kept)}" if any(kept) else ""
