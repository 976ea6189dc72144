"""The address of a server, taken apart."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Self
from urllib.parse import unquote

from rampd._contract.loopback import is_loopback


class Kind(Enum):
    """How a server is reached."""

    TCP = auto()
    SOCKET = auto()
    """A unix socket."""
    OTHER = auto()
    """An address in a notation of gRPC, or no address at all. Only a call finds out whether it works."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address, as a person has given it."""

    text: str
    kind: Kind = Kind.OTHER
    is_tls: bool = False
    host: str = ""
    port: int = 0
    path: str = ""
    """That of a unix socket."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Never raises: an address that can't be taken apart is OTHER."""
        if text.startswith("unix://"):
            return cls(text, Kind.SOCKET, path=unquote(text.removeprefix("unix://"), errors="surrogateescape"))
        if text.startswith("unix:"):
            return cls(text, Kind.SOCKET, path=text.removeprefix("unix:"))
        host, _, port = text.removeprefix("https://").rpartition(":")
        host = host.strip("[]")
        is_host = bool(host) and not set(host) & set("/@?#\\") and not host.startswith(("dns:", "ipv4:", "ipv6:"))
        if not is_host or not (port.isascii() and port.isdecimal()) or "unix-abstract" in host:
            return cls(text)
        return cls(text, Kind.TCP, text.startswith("https://"), host, int(port))

    @property
    def is_local(self) -> bool:
        """Whether all that is sent there stays on this machine."""
        return self.kind is Kind.SOCKET or (self.kind is Kind.TCP and is_loopback(self.host))

    @property
    def place(self) -> str:
        """`host:port`, without https://."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
