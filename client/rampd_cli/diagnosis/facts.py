"""What was found out about one server. Checks read it, and nothing else."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from rampd_cli.diagnosis.address import Address
from rampd_cli.place import FLAG, typed

if TYPE_CHECKING:
    from rampd import v1
    from rampd.errors import RampdError

_NO_ANSWER = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""Reasons of errors that no server of rampd has given."""


class Knock(Enum):
    """What happened when the address was connected to, without a call."""

    NOT_TRIED = auto()
    OPEN = auto()
    UNKNOWN_HOST = auto()
    REFUSED = auto()
    """Nothing listens there."""
    SILENT = auto()
    """No answer in time."""
    NO_ROUTE = auto()
    NO_SOCKET = auto()
    """There is no file with the path of the unix socket."""
    FORBIDDEN = auto()
    """This user may not open the unix socket."""
    FAILED = auto()


class Speaks(Enum):
    """What a port speaks."""

    UNKNOWN = auto()
    PLAIN = auto()
    TLS = auto()


class Trust(Enum):
    """Whether the certificate of a server can be trusted."""

    TRUSTED = auto()
    UNTRUSTED = auto()
    """No authority that this machine trusts has signed it."""
    OTHER_NAME = auto()
    ENDED = auto()
    NOT_YET = auto()


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a server."""

    trust: Trust
    names: tuple[str, ...] = ()
    issuer: str = ""
    end: datetime | None = None
    """None: not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server told, and this machine's clock when it was asked and when the answer came, in seconds since 1970."""

    server: "v1.Server"
    asked_s: float
    came_s: float

    @property
    def round_trip_s(self) -> float:
        """How long the answer took."""
        return max(0.0, self.came_s - self.asked_s)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about one server."""

    address: Address
    why: str
    """Where the address comes from, for a person."""
    now: datetime
    client_version: str
    profile: str = ""
    """The profile that the person has typed."""
    proof: str = ""
    """Where the credential comes from, for a person. Empty: there is none."""
    is_unnamed: bool = False
    """Whether nobody has named a server."""
    data: tuple[str, ...] = ()
    """The folders with data of servers of this machine, if nobody has named a server."""
    wrong: "RampdError | None" = None
    """Why the client refuses to connect."""
    knock: Knock = Knock.NOT_TRIED
    knock_detail: str = ""
    """The words of the system."""
    speaks: Speaks = Speaks.UNKNOWN
    certificate: Certificate | None = None
    caller: "v1.WhoAmIResponse | None" = None
    """The answer of WhoAmI."""
    caller_error: "RampdError | None" = None
    """Why WhoAmI was not answered, if it was asked."""
    answer: Answer | None = None
    """The answer of GetServer."""
    answer_error: "RampdError | None" = None
    """Why GetServer was not answered, if it was asked."""
    later_entry: str | None = None
    """The newest change of the server when it was asked again, after all other servers."""

    def command(self, words: str, *, server: str = "") -> str:
        """Returns a command line for this server, or for another one, with the options that the person has typed."""
        named = server or (self.address.text if self.why == FLAG else "")
        return f"rampd {words}{typed([named], self.profile)}"

    @property
    def is_reached(self) -> bool:
        """Whether a server answers."""
        return self.caller is not None or (self.caller_error is not None and self.caller_error.reason not in _NO_ANSWER)

    @property
    def server(self) -> "v1.Server | None":
        """What the server told of itself; None if it did not."""
        return None if self.answer is None else self.answer.server
