"""The hosts of a URL that names several of them: `scheme://user:password@host:port,host:port/path?options`."""

import re
from typing import Final
from urllib.parse import SplitResult

_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:,@\[\]]+)(?::([0-9]{1,5}))?", re.ASCII)


def split(text: str) -> SplitResult:
    """As `urlsplit`, which does not take several hosts, and takes a fragment."""
    scheme, _, rest = text.partition("://")
    place, _, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    return SplitResult(scheme.lower(), authority, slash + path, query, "")


def read_hosts(names: str, *, port: int, what: str, example: str) -> tuple[str, ...]:
    """Returns `host:port` of each host. `port` is that of a host without one. Raises ValueError, with a sentence that calls a host
    `what`, such as "Sentinel".
    """
    hosts = []
    for name in names.split(","):
        found = _HOST.fullmatch(name)
        if found is None or (found[1] is not None and not 0 < int(found[1]) <= 65535):
            raise ValueError(f"each {what} is a host, or host:port, with commas between them: {example}.")
        hosts.append(name if found[1] else f"{name}:{port}")
    if len(set(hosts)) < len(hosts):
        raise ValueError(f"a {what} is in it twice.")
    return tuple(hosts)
