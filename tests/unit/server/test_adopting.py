"""The command that a message tells an operator to type."""

import sys
from pathlib import Path

import pytest

import rampd_server
from rampd_server.process.adopting import adopt_command
from rampd_server.process.config import Config

PACKAGE = Path(rampd_server.__file__).parent
DATA = Path("/var/lib/my rampd")


@pytest.mark.parametrize(
    ("started", "program"),
    [
        ("/opt/rampd/bin/rampd-server", "/opt/rampd/bin/rampd-server"),
        (".venv/bin/rampd-server", f"{Path.cwd()}/.venv/bin/rampd-server"),
        ("rampd-server", "rampd-server"),
        (str(PACKAGE / "__main__.py"), f"{sys.executable} -m rampd_server"),
        ("/usr/bin/pytest", "rampd-server"),
        ("/srv/app/__main__.py", "rampd-server"),
        ("", "rampd-server"),
    ],
)
def test_the_command_names_the_program_as_it_was_started(
    started: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    config = Config(data_dir=Path("/data"))
    assert adopt_command(config, "unix:///data/valkey/valkey.sock") == f"{program} adopt --data-dir /data"


@pytest.mark.parametrize(
    ("namespace", "url", "flags"),
    [
        ("default", "unix:///var/lib/my%20rampd/valkey/valkey.sock", f"--data-dir '{DATA}'"),
        ("default", "redis://:secret@db:6379/1", "--redis-url 'redis://:***@db:6379/1'"),
        ("blue", "redis://db:6379", "--redis-url redis://db:6379 --namespace blue"),
    ],
)
def test_the_command_names_the_store_quoted_for_a_shell_and_without_its_password(
    namespace: str, url: str, flags: str
) -> None:
    assert adopt_command(Config(data_dir=DATA, namespace=namespace), url).partition(" adopt ")[2] == flags
