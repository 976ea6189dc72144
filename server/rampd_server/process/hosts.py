"""A URL that names several hosts: `scheme://user:password@host:port,host:port/path?options`."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import SplitResult

_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:,@\[\]]+)(?::([0-9]{1,5}))?", re.ASCII)


def split(text: str) -> SplitResult:
    """As `urlsplit`, which does not take several hosts, and takes a fragment."""
    scheme, _, rest = text.partition("://")
    place, _, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    return SplitResult(scheme.lower(), authority, slash + path, query, "")


class Parts(NamedTuple):
    """The parts of such a URL."""

    scheme: str
    base: str
    """The scheme of the URL of one host: `redis` or `rediss`."""
    login: str
    """User and password with the `@` after them; empty if there are none."""
    hosts: tuple[str, ...]
    """`host:port` of each host."""
    path: str
    query: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of such URLs."""

    suffix: str
    """What its schemes have after `redis` or `rediss`."""
    what: str
    """What a sentence calls a host."""
    port: int
    """That of a host without one."""
    path: str = ""
    """The end of an example."""

    @property
    def schemes(self) -> tuple[str, str]:
        """The scheme without TLS, and with it."""
        return f"redis{self.suffix}", f"rediss{self.suffix}"

    def fits(self, text: str) -> bool:
        """Whether a URL is of this kind."""
        return text.partition("://")[0].lower() in self.schemes

    def example(self, scheme: str) -> str:
        """Returns a URL for a sentence."""
        return f"{scheme}://user:password@host:{self.port},host:{self.port}{self.path}"

    def read(self, text: str) -> Parts:
        """Raises ValueError, with a sentence, if the hosts are wrong."""
        scheme, authority, path, query, _ = split(text)
        credentials, at, names = authority.rpartition("@")
        return Parts(
            scheme, scheme.removesuffix(self.suffix), credentials + at, self._hosts(scheme, names), path, query
        )

    def _hosts(self, scheme: str, names: str) -> tuple[str, ...]:
        hosts = []
        for name in names.split(","):
            found = _HOST.fullmatch(name)
            if found is None or (found[1] is not None and not 0 < int(found[1]) <= 65535):
                raise ValueError(
                    f"each {self.what} is a host, or host:port, with commas between them: {self.example(scheme)}."
                )
            hosts.append(name if found[1] else f"{name}:{self.port}")
        if len(set(hosts)) < len(hosts):
            raise ValueError(f"a {self.what} is in it twice.")
        return tuple(hosts)
