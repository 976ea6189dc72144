"""Which socket of this machine is trusted without being named."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd_cli import place
from rampd_cli.profiles import Profile
from tests.servers import short_directory


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket in a folder of a user who is neither root nor the one who types."""
    with short_directory() as directory, socket.socket(socket.AF_UNIX) as listens:
        path = Path(directory) / "rampd.sock"
        listens.bind(str(path))
        listens.listen()
        path.parent.chmod(0o755)
        monkeypatch.setattr(place, "_ROOT", -1)
        monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
        monkeypatch.setattr(place, "_sockets", lambda _environment: iter([path]))
        yield path


def found() -> str:
    return place.place_of("", Profile(), is_profile_named=False, environment={}).server


@pytest.mark.parametrize(
    ("servers", "profile", "expected"),
    [
        ([], "", ""),
        ([""], "", ""),
        (["a:1"], "", " --server a:1"),
        (["a:1", "unix:/x y"], "", " --server a:1 --server 'unix:/x y'"),
        ([], "my own", " --profile 'my own'"),
        (["a:1"], "prod", " --server a:1 --profile prod"),
    ],
)
def test_what_a_person_has_typed_can_be_typed_again(servers: list[str], profile: str, expected: str) -> None:
    assert place.typed(servers, profile) == expected


def test_a_socket_of_another_user_is_not_trusted(listening: Path) -> None:
    assert found() == place.LOOPBACK


def test_the_system_s_server_has_a_user_of_its_own(listening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "SYSTEM_SOCKET", listening)

    assert found() == f"unix:{listening}"


def test_a_socket_in_a_folder_that_others_can_write_is_not_trusted(
    listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "SYSTEM_SOCKET", listening)
    listening.parent.chmod(0o777)

    assert found() == place.LOOPBACK
