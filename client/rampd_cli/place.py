"""Which server a command talks to, and with which credentials."""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rampd_cli.profiles import Profile, home_of_person

if TYPE_CHECKING:
    from rampd.credentials import Credentials

LOOPBACK = "127.0.0.1:50051"
FLAG = "--server"
SYSTEM_SOCKET = Path("/var/lib/rampd/rampd.sock")
"""Where the server of the system has its socket (docs/operations.md)."""
_ROOT = 0
_PROOFS = ("RAMPD_TOKEN", "RAMPD_TOKEN_FILE", "RAMPD_CERT_FILE")
"""Variables that prove who calls. The client library reads them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and what proves to it who calls."""

    server: str
    why: str
    """Where the address comes from, for a person: FLAG, `RAMPD_SERVER`, a profile, or this machine."""
    profile: Profile
    """Where the credentials come from. A profile without settings if the environment or nothing has them."""

    def credentials(self) -> "Credentials | None":
        """Returns the credentials of the profile. None: those of the environment, if there are any."""
        from rampd import ClientCertificate, TokenFile  # noqa: PLC0415 - it is slow to import

        profile = self.profile
        found: list[ClientCertificate | TokenFile] = []
        if profile.token_file:
            found.append(TokenFile(_expanded(profile.token_file)))
        if profile.cert_file or profile.key_file:
            certificate, key = (_expanded(each) for each in (profile.cert_file, profile.key_file))
            found.append(ClientCertificate(certificate, key))
        if len(found) > 1:
            raise click.UsageError(f"The profile {profile.name} has a token and a certificate. Leave one of them out.")
        return found[0] if found else None

    @property
    def ca_file(self) -> Path | None:
        """The file with the authorities that the profile names. None: RAMPD_CA_FILE, or those of the system."""
        return _expanded(self.profile.ca_file) if self.profile.ca_file else None


def typed(servers: Iterable[str], profile: str) -> str:
    """Returns the options that choose the place, as they are typed at the end of a command line. Begins with a space; is empty if
    nothing is given.

    Without them, a command line that a person copies reaches the server of the environment, of the default profile, or of this
    machine.
    """
    words = [word for server in servers if server for word in (FLAG, server)]
    return "".join(f" {shlex.quote(word)}" for word in (*words, *(("--profile", profile) if profile else ())))


def has_proof(environment: Mapping[str, str]) -> bool:
    """Whether the environment says who calls."""
    return any(environment.get(name) for name in _PROOFS)


def _expanded(file: str) -> Path:
    """Raises UsageError if the home directory that `~` means is not known."""
    try:
        return Path(file).expanduser()
    except RuntimeError:
        raise click.UsageError(f"{file!r} begins with a home directory that this machine does not know.") from None


def place_of(server: str, profile: Profile, *, is_profile_named: bool, environment: Mapping[str, str]) -> Place:
    """Returns the place to talk to. The flag wins, then the environment, then the profile, then this machine.

    Credentials of a profile go to the profile's own server only, unless the person names the profile on the command line.
    """
    in_environment = environment.get("RAMPD_SERVER", "")
    for address, why in ((server, FLAG), (in_environment, "RAMPD_SERVER")):
        if address and not (is_profile_named and why == "RAMPD_SERVER"):
            fits = is_profile_named or address == profile.server
            return Place(address, why, _without_proof(profile, environment) if fits else Profile())
    if profile.server:
        return Place(profile.server, f"the profile {profile.name}", _without_proof(profile, environment))
    for socket in _sockets(environment):
        if _is_trusted(socket) and _listens(socket):
            return Place(f"unix:{socket}", "the socket of a server on this machine", Profile())
    return Place(LOOPBACK, "this machine", Profile())


def _without_proof(profile: Profile, environment: Mapping[str, str]) -> Profile:
    """The environment wins over the profile, and the two are never mixed."""
    if not has_proof(environment):
        return profile
    return Profile(profile.name, profile.server, ca_file=profile.ca_file)


def _sockets(environment: Mapping[str, str]) -> Iterator[Path]:
    """The places in which servers of this machine put their socket: `make run`, a server of this user, one of the system."""
    with suppress(FileNotFoundError):  # the working directory was deleted
        yield Path(".rampd/rampd.sock").absolute()
    state = environment.get("XDG_STATE_HOME", "")
    yield (Path(state) if Path(state).is_absolute() else home_of_person() / ".local" / "state") / "rampd" / "rampd.sock"
    yield SYSTEM_SOCKET


def data_of_servers(environment: Mapping[str, str]) -> list[Path]:
    """Returns the folders of this machine that servers have made for their data and their socket."""
    return [socket.parent for socket in _sockets(environment) if os.path.lexists(socket.parent)]


def _is_trusted(path: Path) -> bool:
    """Whether a file is a socket that only this user or root could have made. The system's server has a user of its own: only
    root could have given it its folder.
    """
    try:
        made, folder = path.stat(), path.parent.stat()
    except OSError:
        return False
    owners = {_ROOT, os.getuid()}
    if path == SYSTEM_SOCKET and not folder.st_mode & 0o022:
        owners.add(folder.st_uid)
    return stat.S_ISSOCK(made.st_mode) and made.st_uid in owners


def _listens(path: Path) -> bool:
    """Whether somebody listens at a socket."""
    import socket  # noqa: PLC0415 - not every command looks for a socket

    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(str(path))
    except (OSError, ValueError):
        return False
    return True
