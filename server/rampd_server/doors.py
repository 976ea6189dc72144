"""The doors of a server: which proof the server asks for at each of its addresses."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from rampd._runtime.file_stamp import stamp_of
from rampd_server.access import following
from rampd_server.access.access_file import AccessFileError
from rampd_server.access.credentials import Credentials, Verifier
from rampd_server.access.grants import Caller, Proof
from rampd_server.access.rpc_roles import Role
from rampd_server.metrics.counting import Reloads
from rampd_server.process.config import Config
from rampd_server.process.startup import StartupError
from rampd_server.rpc.binding import NAMES
from rampd_server.rpc.door import Door, local

_READER = local(Role.VIEWER, proof=Proof.NONE, allow=frozenset({"ReportOutcomes"}))
_ANYBODY = local(Role.ADMIN, proof=Proof.NONE)
_OWNER = local(Role.ADMIN)
_LAUNCHER = local(Role.LAUNCHER)


class Doors:
    """One door for all TCP addresses, and one for each unix socket. All doors use the same access list."""

    def __init__(self, config: Config, verifier: Verifier) -> None:
        """Raises StartupError if the access file can't be used."""
        self._file = config.access_file
        # The stamp is taken before the file is read, so that a later change is noticed.
        self._stamp = None if self._file is None else stamp_of(self._file)
        self.reloads = Reloads()
        """Of the access file."""
        self.credentials = _credentials(config.access_file, verifier)
        if self.credentials is None:
            self.tcp = Door(_without_file(config), how_else=_by_socket(config.socket))
        else:
            self.tcp = Door(None, self.credentials, takes_certificates=config.tls_client_ca is not None)
        self.sockets = [(Door(_OWNER, self.credentials), config.socket)]
        """The door of each unix socket, with the path of the socket."""
        if config.launcher_socket is not None:
            launchers = Door(
                _LAUNCHER, self.credentials, serves=Role.LAUNCHER, how_else=_by_other_socket(config.socket)
            )
            self.sockets.append((launchers, config.launcher_socket))

    async def follow(self) -> None:
        """Reads the access file again after each change, for ever."""
        if self._file is not None and self.credentials is not None:
            await following.follow(self._file, self.credentials, names=NAMES, known=self._stamp, reloads=self.reloads)


def _credentials(file: Path | None, verifier: Verifier) -> Credentials | None:
    if file is None:
        return None
    try:
        access_list = following.load(file, names=NAMES)
    except AccessFileError as error:
        raise StartupError(*(f"--access-file (RAMPD_ACCESS_FILE): {mistake}" for mistake in error.mistakes)) from error
    following.tell(file, access_list)
    return Credentials(access_list, verifier)


def _without_file(config: Config) -> Caller:
    return _ANYBODY if config.insecure_admin else _READER


def _by_other_socket(socket: Path) -> Callable[[str], str]:
    def how_else(method: str) -> str:
        return (
            f"This socket serves what launchers need, and {method.rpartition('/')[2]} is not part of it. Use the unix socket "
            f"{socket}, or an address of the network with a credential."
        )

    return how_else


def _by_socket(socket: Path) -> Callable[[str], str]:
    def how_else(method: str) -> str:
        # grpcurl's flag -unix is broken in its releases 1.9.2 and 1.9.3, so the address names the socket.
        return (
            f"{method.rpartition('/')[2]} changes something, and this address serves reads only. Use the unix socket: with rampd "
            f"--server unix:{shlex.quote(str(socket))}, with grpcurl -plaintext -d '{{…}}' unix://{quote(os.fsencode(socket))} "
            f"{method} (or start the server with --insecure-admin, which makes everybody who reaches the port an admin)."
        )

    return how_else
