"""Types every command of docs/observability/runbook.md, one after the other, on a server with the flags of docs/operations.md."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.authority import Authority
from tests.cli.terminal import on_terminal
from tests.damaging import damage, make_servers_read_again
from tests.e2e.test_operations_document import Admin, serving
from tests.proxy import proxy_to_unix
from tests.rpc.access_table import Tokens
from tests.servers import Stubs, require, short_directory, stubs
from tests.stores import VALKEY, StoreServer
from tests.waiting import eventually

FOLDER = Path(__file__).parents[2] / "docs" / "observability"
C = "restyler"
SECTIONS = {
    section.split("\n")[0]: [
        box for language, box in re.findall(r"^```(\w*)\n(.*?)^```", section, re.DOTALL | re.MULTILINE) if not language
    ]
    for section in re.split(r"^## ", (FOLDER / "runbook.md").read_text(), flags=re.MULTILINE)
}
# What is set once for all commands.
EXPORT = "".join(
    line + "\n" for line in SECTIONS["# When an alert fires"][0].splitlines() if line.startswith("export ")
)
EVENTS = re.findall(r"^\| `(\w+)` \|", (FOLDER / "logs.md").read_text(), re.MULTILINE)


class Host:
    """The host of a server, where somebody types as root."""

    def __init__(self, admin: Admin, tokens: Tokens, store: StoreServer) -> None:
        self.store = store
        self._admin = admin
        programs = admin.etc.parent / "bin"
        log = "\n".join([*EVENTS, "Out of memory: Killed process 17 (rampd-server)"])
        for name, script in {
            "systemctl": '[ "$2" = rampd ]',
            "journalctl": f"cat <<'END'\n{log}\nEND",
            "top": '[ "$1" = -p ] && [ -n "$2" ]',
            "rampd": f'exec {sys.executable} -m rampd_cli "$@"',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        prometheus = self._folder("prometheus")
        (prometheus / "rampd.token").write_text(f"{tokens.of['prometheus']}\n")
        (prometheus / "rampd-ca.pem").write_bytes((admin.etc / "ca.pem").read_bytes())
        # Otherwise curl ends with 0 also if the server refuses it.
        (self._folder("home") / ".curlrc").write_text("fail\n")

    def _folder(self, name: str) -> Path:
        folder = self._admin.etc.parent / name
        folder.mkdir()
        return folder

    def types(self, command: str) -> str:
        command = command.replace("runuser -u rampd -- ", "")  # here one user does everything
        root = self._admin.etc.parent
        for there, here in {
            "/etc/rampd": self._admin.etc,
            "/etc/prometheus": root / "prometheus",
            "/var/lib/rampd": root / "data",
            "/var/backups": root / "backups",
            "rampd.example.com:8080": self._admin.address,
        }.items():
            command = command.replace(there, str(here))
        export = EXPORT.replace("/var/lib/rampd", f"{root}/data")
        if (deleted := re.fullmatch(r"rampd delete (\S+)", command)) is not None:
            return self._deletes(deleted[1], export.rpartition("RAMPD_SERVER=")[2].strip())
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", export + command],
            env={**os.environ, "PATH": f"{root}/bin:{os.environ['PATH']}", "CURL_HOME": f"{root}/home"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _deletes(self, component: str, server: str) -> str:
        with on_terminal("delete", component, environment={"RAMPD_SERVER": server}) as terminal:
            terminal.shows(f"Type {component} to go on: ")
            terminal.types(f"{component}\n")
            assert terminal.ends() == 0, terminal.text
            return terminal.text


def typed(box: str) -> Iterator[tuple[str, str]]:
    """Each command of a box, with what has been set before it."""
    before = ""
    for line in box.splitlines():
        if line.startswith(("export ", ". ")):
            before += f"{line}\n"
        else:
            yield before, line


def prepare(call: Stubs, section: str, command: str) -> None:
    """Makes the state in which somebody types a verb: restyler has a rollout at 10 %, is HELD, or is paused."""
    for component in (C, "old-one"):
        with contextlib.suppress(grpc.RpcError):
            call("DeleteComponent", component=component, confirm=component)
        call("Release", component=component, tag="t1")
    call("Release", component=C, tag="t2")
    call(
        "Ramp",
        component=C,
        percent=10,
        confirm_within=Duration(seconds=600) if command.startswith("rampd confirm ") else None,
    )
    if section == "RampdHeld":
        call("Rollback", component=C)
    if command.startswith("rampd resume "):
        call("Pause", component=C)


@contextlib.contextmanager
def typing_at(admin: Admin) -> Iterator[tuple[Host, Stubs]]:
    authority = Authority()
    authority.write(admin.etc)
    authority.issue("localhost").write(admin.etc, "server")
    (tokens := Tokens(admin.etc / "access.toml")).grant("prometheus", "viewer")
    with serving(admin) as server:
        admin.address = f"localhost:{str(server.event('listening_http')['address']).rpartition(':')[2]}"
        store = StoreServer(VALKEY, f"unix://{server.directory}/valkey/valkey.sock")
        with proxy_to_unix(store.url.removeprefix("unix://")) as proxy:
            (admin.etc / "environment").write_text(f"RAMPD_REDIS_URL='redis://127.0.0.1:{proxy.port}'\n")
            with stubs(f"unix:{server.socket}") as call:
                yield Host(admin, tokens, store), call


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[Host, Stubs]]:
    with short_directory() as folder, typing_at(Admin(folder)) as found:
        yield found


@pytest.mark.parametrize("section", SECTIONS)
def test_each_command_works_on_the_server_of_the_operations_document(section: str, host: tuple[Host, Stubs]) -> None:
    for program in ("curl", "redis-cli", "openssl", "pgrep", "jq"):
        require(program)
    at, call = host
    assert SECTIONS[section]
    for before, command in (each for box in SECTIONS[section] for each in typed(box)):
        prepare(call, section, command)
        at.types(before + command)


def test_the_commands_name_a_damaged_component_and_only_it(host: tuple[Host, Stubs]) -> None:
    at, call = host
    prepare(call, "RampdComponentsDamaged", "")
    asyncio.run(break_it(at.store, "old-one"))
    eventually(lambda: any(each.HasField("damage") for each in call("ListRollouts").rollouts))
    [box] = SECTIONS["RampdComponentsDamaged"]
    said = [at.types(command) for _, command in typed(box)]
    assert '"component": "old-one"' in said[1]
    assert C not in said[1]
    assert [each.component for each in call("ListRollouts").rollouts] == [C]


async def break_it(server: StoreServer, component: str) -> None:
    store = server.store()
    await damage(store, component, "releases", "type")
    await make_servers_read_again(store, component)
    await store.close()
