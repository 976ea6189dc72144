"""`rampd` in this process, against a real server."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from rampd.testing import RampdServer
from rampd_cli import app


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The lines of `-o plain`."""
        return [line.split("\t") for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Run:
    """Runs a command line. Nothing of the person's own settings is in force, and there is no terminal."""
    for name in ("SERVER", "PROFILE", "TOKEN", "TOKEN_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE"):
        monkeypatch.delenv(f"RAMPD_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = app.run(words)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def rampd(run: Run, rampd_server: RampdServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line against an empty server."""
    monkeypatch.setenv("RAMPD_SERVER", rampd_server.target)
    return run
