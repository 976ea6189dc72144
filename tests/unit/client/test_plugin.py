"""The pytest plugin finds the server by its entry point, and says what to install if there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from rampd import ClosedError
from rampd.testing import ServerNotInstalledError, running_server
from rampd.testing import _server as testing_server

life: list[str] = []


@contextmanager
def stub_server(data_dir: Path) -> Iterator[str]:
    """Replaces the runner of the server. Only its signature matters here."""
    assert data_dir.is_dir()
    life.append("started")
    yield "127.0.0.1:1"
    life.append("stopped")


def install(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    def entry_points(*, group: str, name: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for value in values]

    monkeypatch.setattr(testing_server, "entry_points", entry_points)


def test_a_server_and_its_clients_are_closed_when_they_are_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, f"{__name__}:stub_server")
    monkeypatch.setitem(
        __import__("sys").modules, __name__, __import__("types").SimpleNamespace(stub_server=stub_server)
    )
    with running_server() as server:
        assert (server.target, life) == ("127.0.0.1:1", ["started"])
        admin = server.admin(actor="me")
        server.resolver()
    assert life == ["started", "stopped"]
    with pytest.raises(ClosedError):
        admin.pause("restyler")


@pytest.mark.parametrize("values", [(), ("no_such_module:run",)])
def test_without_a_server_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, values: tuple[str, ...]
) -> None:
    install(monkeypatch, *values)
    with pytest.raises(ServerNotInstalledError, match=r"pip install 'rampd\[server\]'"), running_server():
        pass


def test_the_fixture_is_available_without_a_plugin_option(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    install(monkeypatch, f"{__name__}:stub_server")
    assert request.getfixturevalue("rampd_server").target == "127.0.0.1:1"
