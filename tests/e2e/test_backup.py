"""`rampd-server export` and `import` as processes: a backup under running servers, a move, and an import that is killed."""

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from tests.proxy import proxy_to_unix
from tests.servers import Stubs, rampd_server, stubs
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import eventually


@pytest.fixture
def store() -> Iterator[StoreServer]:
    """One kind is enough: tests/contract has the scripts on each kind."""
    with store_server(REDIS) as running:
        yield running


def run(*words: str, given: bytes = b"", code: int = 0) -> tuple[bytes, str]:
    """Runs a command of `rampd-server`. Returns its standard output, and what it says on either output."""
    done = subprocess.run(
        [sys.executable, "-m", "rampd_server", *words], input=given, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == code, done
    said = done.stderr if words[0] == "export" else done.stdout + done.stderr
    return done.stdout, said.decode()


def fill(call: Stubs) -> None:
    call("Release", component="restyler", tag="t1")
    call("Release", component="restyler", tag="t2")
    call("Ramp", component="restyler", percent=10)
    call("SetOverride", component="restyler", repo="acme/app", tag="t1")
    call("Release", component="hlint", tag="h1")


def rollout(call: Stubs) -> Any:
    return call("GetRollout", component="restyler").rollout


@pytest.mark.parametrize(("kind", "history"), [(VALKEY, ["--history"]), (REDIS, [])], ids=["history", "no history"])
def test_running_servers_follow_a_restored_backup_and_say_what_it_lacks(
    directory: Path, kind: str, history: list[str]
) -> None:
    """Given a change after the export, expect that the servers record it as lost. Nothing else is lost."""
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(store_server(kind))
        servers = [
            stack.enter_context(rampd_server(directory / str(number), "--redis-url", store.url)) for number in range(2)
        ]
        for server in servers:
            server.event("serving")
        calls = [stack.enter_context(stubs(f"unix:{server.socket}")) for server in servers]
        client = stack.enter_context(redis.Redis.from_url(store.url))
        fill(calls[0])
        backup, said = run("export", "--redis-url", store.url, *history)
        assert said.startswith("Exported 2 components with 1 override")
        calls[0]("Ramp", component="restyler", percent=20)
        lost = rollout(calls[0]).revision
        client.flushall()

        _, said = run("import", "--redis-url", store.url, given=backup)
        assert "Imported 2 components with 1 override into the namespace default, in epoch " in said
        assert "2 servers follow it and take it over within seconds." in said

        for call in calls:
            eventually(lambda call=call: rollout(call).revision == lost + 1, suppressed=grpc.RpcError)
            assert rollout(call).next_percent == 10
            assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
            eventually(lambda call=call: not call("Resolve", component="hlint", repo="acme/app").stale)
        events = calls[1]("ListEvents", component="restyler").events
        actions = ["RecordLoss", "Import"] + (["SetOverride", "Ramp", "Release", "Release"] if history else [])
        assert [event.action for event in events] == actions
        assert f"revision {lost}" in events[0].note
        assert calls[1]("ListEvents", component="hlint").events[0].action == "Import"
        assert calls[1]("Ramp", component="restyler", percent=30).rollout.revision == lost + 2
        eventually(lambda: rollout(calls[0]).next_percent == 30)

        before = sorted(client.keys("rampd:{default}:*"))
        _, said = run("import", "--redis-url", store.url, given=backup)
        assert said == (
            "This input made the namespace default before, so nothing was changed. Later changes stay. To see them, type import --merge.\n"
        )
        assert (sorted(client.keys("rampd:{default}:*")), rollout(calls[0]).next_percent) == (before, 30)


def test_a_namespace_moves_from_one_redis_to_another_through_a_pipe(directory: Path) -> None:
    with store_server(VALKEY) as old, store_server(REDIS) as new:
        with (
            rampd_server(directory / "old", "--redis-url", old.url) as server,
            stubs(f"unix:{server.socket}") as call,
        ):
            server.event("serving")
            fill(call)
            revision = rollout(call).revision
        command = '"$1" -m rampd_server export --history --redis-url "$2" | "$1" -m rampd_server import --redis-url "$3" --namespace blue'
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command, "bash", sys.executable, old.url, new.url],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert "No server is connected to it now." in done.stdout
        with (
            rampd_server(directory / "new", "--redis-url", new.url, "--namespace", "blue") as server,
            stubs(f"unix:{server.socket}") as call,
        ):
            server.event("serving")
            assert (rollout(call).revision, rollout(call).next_percent) == (revision + 1, 10)
            assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
            assert len(call("ListEvents", component="restyler").events) == 5
        # The empty one on the way is refused: nothing is imported of an export that failed.
        done = subprocess.run(
            ["bash", "-c", command.replace("--history", "--namespace typo"), "bash", sys.executable, old.url, new.url],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "is neither an export nor a table: it is empty" in done.stderr


def large(backup: bytes, overrides: int) -> bytes:
    """Returns an export with many overrides, whose import takes a while."""
    lines = backup.splitlines(keepends=True)[:-1]
    end = next(number for number, line in enumerate(lines) if line.startswith(b'{"overrides":'))
    pieces = [
        json.dumps({"overrides": {f"many/{number + each}": "tag=t1" for each in range(1000)}}).encode() + b"\n"
        for number in range(0, overrides, 1000)
    ]
    lines[end:end] = pieces
    whole = b"".join(lines)
    last = json.dumps({"lines": len(lines), "sha256": hashlib.sha256(whole).hexdigest()})
    return whole + last.encode() + b"\n"


def test_an_import_that_is_killed_is_no_state_for_servers_until_it_is_repeated_or_discarded(
    directory: Path, store: StoreServer
) -> None:
    with rampd_server(directory / "s", "--redis-url", store.url) as server, stubs(f"unix:{server.socket}") as call:
        server.event("serving")
        fill(call)
        backup = large(run("export", "--redis-url", store.url)[0], 200_000)
    flags = ("--redis-url", store.url, "--namespace", "blue")
    meta = "rampd:{blue}:meta"
    path = directory / "backup.jsonl"
    path.write_bytes(backup)
    with redis.Redis.from_url(store.url, decode_responses=True) as client:

        def kill_midway() -> None:
            """Kills the import when it sends more overrides after the first ones. No more reach the store then."""
            with proxy_to_unix(store.url.removeprefix("unix://")) as proxy, path.open("rb") as file:
                url = f"redis://127.0.0.1:{proxy.port}"
                command = [sys.executable, "-m", "rampd_server", "import", "--redis-url", url, "--namespace", "blue"]
                is_begun = threading.Event()

                def is_more(request: bytes) -> bool:
                    if b"many/" not in request or client.hlen("rampd:{blue}:overrides:restyler") < 1000:
                        return False
                    is_begun.wait()
                    process.kill()
                    return True

                proxy.keeps_back = is_more
                process = subprocess.Popen(command, stdin=file, stdout=subprocess.DEVNULL)
                is_begun.set()
                assert process.wait(100) == -signal.SIGKILL
            assert (client.hexists(meta, "import"), client.hexists(meta, "epoch")) == (True, False)

        kill_midway()
        with rampd_server(directory / "b", *flags) as server:
            assert "An import into this namespace has not ended" in server.event("waiting_for_store")["error"]
            _, said = run("export", *flags, code=2)
            assert "An import into this namespace has not ended" in said
            _, said = run("adopt", *flags, code=2)
            assert "An import into this namespace has not ended" in said
            _, said = run("import", *flags, given=run("export", "--redis-url", store.url)[0], code=2)
            assert "An import into this namespace has not ended" in said
            _, said = run("import", *flags, given=backup)
            assert "with 200,001 overrides" in said
            server.event("serving")
            with stubs(f"unix:{server.socket}") as call:
                assert call("Resolve", component="restyler", repo="many/199999").tag == "t1"

        client.unlink(*client.keys("rampd:{blue}:*"))
        kill_midway()
        _, said = run("import", "--discard", *flags)
        assert said.startswith("The namespace blue is empty.")
        assert client.keys("rampd:{blue}:*") == []
        _, said = run("import", "--discard", *flags)
        assert said == "No import into the namespace blue is under way, so nothing was discarded.\n"


def test_what_can_not_be_imported_or_exported_is_refused_with_a_sentence(directory: Path, store: StoreServer) -> None:
    flags = ("--redis-url", store.url)
    assert "no epoch" in run("export", *flags, code=2)[1]
    with rampd_server(directory, *flags) as server, stubs(f"unix:{server.socket}") as call:
        server.event("serving")
        assert "has no component, so there is nothing to export" in run("export", *flags, code=2)[1]
        fill(call)
    backup, _ = run("export", *flags)
    assert "is not empty, so nothing was imported" in run("import", *flags, given=backup, code=2)[1]
    other = ("--namespace", "blue")
    for given, said in (
        (backup[:-100], "is not a whole export: it was cut off"),
        (backup.replace(b"t1", b"t9"), "was changed or damaged after the export"),
    ):
        assert said in run("import", *flags, *other, given=given, code=2)[1]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rampd_server", "export", *flags], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, b"What was written is not whole" in done.stderr) == (2, True)
    with redis.Redis.from_url(store.url) as client:
        assert client.keys("rampd:{blue}*") == []
