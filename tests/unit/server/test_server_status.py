"""What GetServer says about an address: who has to prove what there, and who may change something."""

from pathlib import Path

import pytest

from rampd_server.access import access_file
from rampd_server.access.credentials import Credentials
from rampd_server.access.grants import Proof
from rampd_server.access.oidc import OidcVerifier
from rampd_server.access.rpc_roles import Role
from rampd_server.doors import Doors
from rampd_server.listeners import Listeners
from rampd_server.process.address import Address
from rampd_server.process.config import Config
from rampd_server.rpc.binding import NAMES
from rampd_server.rpc.door import Door, local
from rampd_server.rpc.server_status import OpenAddress, Reach, _listener

TOKEN = 'tokens = ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]'
EVERYBODY = "everybody = true"


def granting(*grants: str) -> Credentials:
    text = "\n".join(f'[[grant]]\nname = "n{number}"\n{grant}' for number, grant in enumerate(grants))
    return Credentials(access_file.parse(text, names=NAMES), OidcVerifier())


@pytest.mark.parametrize(
    ("door", "requires", "changes"),
    [
        (Door(local(Role.ADMIN, proof=Proof.NONE)), False, True),
        (Door(local(Role.VIEWER, proof=Proof.NONE, allow=frozenset({"ReportOutcomes"}))), False, False),
        (Door(local(Role.ADMIN)), False, True),
        (Door(local(Role.LAUNCHER), serves=Role.LAUNCHER), False, False),
        (Door(local(Role.ADMIN), serves=Role.LAUNCHER), False, False),
        (Door(None, granting(f'role = "admin"\n{TOKEN}')), True, False),
        (Door(local(Role.ADMIN), granting(f'role = "viewer"\n{EVERYBODY}')), False, True),
        (Door(None, granting(f'role = "viewer"\n{EVERYBODY}')), False, False),
        (Door(None, granting(f'role = "ci"\n{EVERYBODY}')), False, True),
        (Door(None, granting(f'role = "viewer"\n{EVERYBODY}\nallow = ["Pause"]')), False, True),
        (Door(None, granting(f'role = "viewer"\n{EVERYBODY}\nallow = ["expedite"]')), False, False),
        (Door(None, granting(f'role = "admin"\n{EVERYBODY}\nexpires = 2020-01-31')), True, False),
    ],
    ids=[
        "insecure-admin",
        "loopback",
        "socket",
        "launcher socket",
        "socket that serves launchers",
        "token",
        "socket of a server with an access file",
        "everybody reads",
        "everybody releases",
        "everybody pauses",
        "everybody has a flag without its method",
        "everybody until it ended",
    ],
)
def test_an_address_tells_what_it_asks_of_callers(door: Door, requires: bool, changes: bool) -> None:
    listener = _listener(OpenAddress("127.0.0.1:1", "grpc", is_tls=False, reach=Reach.MACHINE, door=door))
    assert (listener.requires_credentials, listener.changes_without_credentials) == (requires, changes)


def test_over_tls_a_certificate_may_be_needed_from_everybody() -> None:
    """Given --tls-client-ca and a grant for everybody, expect that only the address without TLS asks for no proof."""
    door = Door(None, granting(f'role = "admin"\n{EVERYBODY}'), takes_certificates=True)
    over = {
        has_tls: _listener(OpenAddress("10.0.0.1:1", "grpc", is_tls=has_tls, reach=Reach.NETWORK, door=door))
        for has_tls in (True, False)
    }
    assert {has_tls: each.requires_credentials for has_tls, each in over.items()} == {True: True, False: False}
    assert {has_tls: each.changes_without_credentials for has_tls, each in over.items()} == {True: False, False: True}


@pytest.mark.parametrize(
    ("mode", "reach"), [("600", Reach.OWNER), ("660", Reach.GROUP), ("666", Reach.MACHINE), ("644", Reach.OWNER)]
)
def test_a_socket_tells_who_can_open_it(tmp_path: Path, mode: str, reach: Reach) -> None:
    config = Config(data_dir=tmp_path, listen=Address("127.0.0.1", 0), socket_mode=mode)
    listeners = Listeners(config, Doors(config, OidcVerifier()))
    assert listeners._socket(Door(local(Role.ADMIN)), config.socket).reach is reach


def test_the_address_of_a_socket_is_written_as_a_client_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "a b\udcff"
    config = Config(data_dir=folder, listen=Address("127.0.0.1", 0))
    listeners = Listeners(config, Doors(config, OidcVerifier()))
    assert listeners._socket(Door(local(Role.ADMIN)), config.socket).address == f"unix://{tmp_path}/a%20b%FF/rampd.sock"
