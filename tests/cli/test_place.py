"""Which server of this machine a command talks to if none is named, and which socket is trusted."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd_cli import place
from rampd_cli.profiles import Profile
from rampd_server.process.config import Config
from tests.cli.conftest import Run
from tests.servers import rampd_server, short_directory


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


@contextlib.contextmanager
def listening_at(path: Path) -> Iterator[None]:
    """Somebody listens at a socket. It stays after the end, as that of a server that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind(str(path))
        listens.listen()
        yield


def test_the_server_of_this_folder_is_found_before_that_of_the_user_and_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with short_directory() as folder, contextlib.ExitStack() as stack:
        here, mine, system = (folder / each / "rampd.sock" for each in (".rampd", "home/.local/state/rampd", "lib"))
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HOME", str(folder / "home"))
        monkeypatch.setattr(place, "SYSTEM_SOCKET", system)
        stack.enter_context(listening_at(system))
        assert found() == f"unix:{system}"
        with listening_at(mine):
            assert found() == f"unix:{mine}"
            with listening_at(here):
                assert found() == f"unix:{here}"
            assert found() == f"unix:{mine}"
        assert found() == f"unix:{system}"


@pytest.mark.parametrize("is_here", [True, False], ids=["make run", "of this user"])
def test_a_command_without_a_server_finds_the_one_that_runs_here(
    run: Run, monkeypatch: pytest.MonkeyPatch, is_here: bool
) -> None:
    """Given a server with its data where `make run` has them, or in its own default place, expect that no command has to name it."""
    with short_directory() as folder:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        # If no server is found, none of this machine is changed.
        monkeypatch.setattr(place, "SYSTEM_SOCKET", folder / "none")
        monkeypatch.setattr(place, "LOOPBACK", "127.0.0.1:1")
        data = folder / ".rampd" if is_here else Config().data_dir
        with rampd_server(data) as server:
            server.event("serving")

            made = run("release", "restyler", "1.0")
            checked = run("doctor", "-o", "json").json["checks"]

    assert (made.code, made.rows[0][:3]) == (0, ["restyler", "yes", "1"])
    assert {each["server"] for each in checked} == {f"unix:{data}/rampd.sock"}
    assert "the socket of a server on this machine" in checked[0]["message"]
