"""A server that is killed in the middle of a command: how the command ends, and what its repeat does."""

import re
import signal
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.terminal import in_pipe
from tests.proxy import proxy_to_unix
from tests.servers import ServerProcess, rampd_server, short_directory
from tests.stores import VALKEY, store_server
from tests.waiting import PATIENCE_S, eventually

ROWS = 8_000


def address(server: ServerProcess) -> str:
    """Returns where a server is reached, once it serves."""
    server.event("serving")
    return f"unix:{server.socket}"


@pytest.mark.parametrize("has_store_it", [False, True], ids=["before the store has it", "after the store has it"])
def test_a_change_whose_server_was_killed_is_made_once_by_the_repeat_that_is_told(
    run: Run, tmp_path: Path, has_store_it: bool
) -> None:
    errors, sent = tmp_path / "errors", threading.Event()
    ramp = ("ramp", "restyler", "10", "--note", "unmistakable")
    with (
        short_directory() as directory,
        store_server(VALKEY) as store,
        proxy_to_unix(store.url.removeprefix("unix://")) as proxy,
    ):
        flags = ("--redis-url", f"redis://127.0.0.1:{proxy.port}")

        def is_kept(piece: bytes) -> bool:
            """Whether a piece of what the server sends does not reach the store. If it does, its reply comes nowhere."""
            if b"unmistakable" in piece:
                if has_store_it:
                    proxy.is_silent.set()
                sent.set()
            return sent.is_set() and not has_store_it

        with rampd_server(directory, *flags) as server:
            at = address(server)
            for tag in ("1.0", "2.0"):
                assert run("--server", at, "release", "restyler", tag).code == 0
            proxy.keeps_back = is_kept
            with in_pipe("--server", at, *ramp, errors=errors) as ramps:
                assert sent.wait(PATIENCE_S)
                server.stop(signal.SIGKILL)
                assert (ramps.ends(), ramps.lines) == (3, [])
        proxy.keeps_back = lambda _piece: False
        proxy.is_silent.clear()
        told, how, following = errors.read_text().splitlines()
        again = how.removeprefix("To try again, add this, and the change is made once at most: ").split()
        with rampd_server(directory, *flags) as server:
            at = address(server)
            repeated = run("--server", at, *ramp, *again, "-o", "json").json
            history = run("--server", at, "history", "restyler").rows

    assert told.startswith(f"rampd: Can't reach a rampd server at {at}: ")
    assert following == f"Next: rampd doctor --server {at}"
    assert (repeated.get("replayed", False), repeated["rollout"]["nextPercent"]) == (has_store_it, 10)
    assert [row[4] for row in history] == ["Release", "Release", "Ramp"]


def test_an_import_whose_server_was_killed_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    (tmp_path / "o.csv").write_text("repo,channel\n" + "".join(f"acme/{number:05},next\n" for number in range(ROWS)))
    imported = ("override", "import", "restyler", "o.csv")
    with short_directory() as directory:
        with rampd_server(directory) as server:
            at = address(server)
            assert run("--server", at, "release", "restyler", "1.0").code == 0
            with in_pipe("--server", at, *imported, errors=errors) as imports:
                eventually(lambda: "of 8,000" in errors.read_text())
                server.stop(signal.SIGKILL)
                assert (imports.ends(), imports.lines) == (3, [])
        with rampd_server(directory) as server:
            again = run("--server", address(server), *imported)

    told, how_far, following = errors.read_text().splitlines()[-3:]
    made = re.fullmatch(
        r"Of 8,000 changes, at least ([0-9,]+) are made. Type the command again: it goes on there.", how_far
    )
    assert told.startswith(f"rampd: Can't reach a rampd server at {at}: ")
    assert following == f"Next: rampd doctor --server {at}"
    assert made is not None
    _, new, deleted, same, *_ = again.rows[0]
    assert (again.code, int(new) + int(same), deleted) == (0, ROWS, "0")
    assert ROWS > int(same) >= int(made[1].replace(",", "")) >= 1_000
