"""The users of docs/redis: Redis and Valkey load them, each may do what it is for, and nothing else.

rampd has no password in these tests but those that the commands of docs/store.md make.
"""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from rampd_server.domain.errors import StoreMisconfiguredError
from rampd_server.storage import server_check
from rampd_server.storage.link import Link
from rampd_server.storage.sentinel import RedisSentinel
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from tests.rpc.test_outcomes import resolved
from tests.servers import Stubs, rampd_server, require, stubs
from tests.stores import REDIS, VALKEY, StoreServer, program_of, store_server
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
[MAKE_FILES] = re.findall(r"```sh\n(umask.*?)```", (ROOT / "docs" / "store.md").read_text(), re.DOTALL)
DENIED = {"CLIENT SETINFO": "client|setinfo", "CONFIG GET": "config|get"}
"""What docs/store.md calls denied in normal use, as ACL LOG has it."""
BY_OTHER_MEANS = (
    *("client|list", "client|setname", "cluster|nodes", "discard", "eval", "evalsha", "exec", "info", "multi", "ping"),
    *("script|load", "select", "unwatch", "wait", "watch"),
)
"""What rampd needs beside the commands that the start of a server checks."""


class Users(NamedTuple):
    """A store with the users of the file, and their passwords."""

    store: StoreServer
    folder: Path

    def url(self, user: str) -> str:
        password = (self.folder / f"{user}.password").read_text()
        return self.store.url.replace("unix://", f"unix://{user}:{password}@")

    def client(self, user: str) -> "Redis[str]":
        return Redis.from_url(self.url(user), decode_responses=True)

    def owner(self) -> "Redis[str]":
        """The user `default`, which may do everything here."""
        return Redis.from_url(self.store.url, decode_responses=True)


def make_files(folder: Path) -> None:
    """Types the commands of docs/store.md."""
    require("openssl")
    (folder / "docs").symlink_to(ROOT / "docs")
    subprocess.run(["bash", "-e", "-c", MAKE_FILES], cwd=folder, check=True, timeout=60)
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.*") if path.name != "docs")


@pytest.fixture(params=[VALKEY, REDIS])
def users(request: pytest.FixtureRequest, directory: Path) -> Iterator[Users]:
    make_files(directory)
    with store_server(request.param, aclfile=str(directory / "users.acl")) as store:
        yield Users(store, directory)


def run(*words: str, given: bytes = b"") -> bytes:
    """Runs a command of `rampd-server`. Returns its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "rampd_server", *words], input=given, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


def test_a_whole_server_runs_with_the_rights_of_its_user(users: Users) -> None:
    """Given calls of each kind, and each command of the program, expect no error, and that nothing is denied but what docs/store.md
    says.
    """
    url = users.url("rampd")
    with rampd_server(users.folder / "s", "--redis-url", url, "--wait-replicas", "1") as server:
        server.event("serving")
        with stubs(f"unix:{server.socket}") as call:
            use(call)
            for change in call("Watch", components=["restyler"]):
                if change.HasField("state"):
                    break
            backup = run("export", "--history", "--redis-url", url)
            run("import", "--redis-url", url, "--namespace", "other", given=backup)
            call("Ramp", component="restyler", percent=5)
            run("import", "--merge", "--yes", "--redis-url", url, given=backup)
            eventually(lambda: call("GetRollout", component="restyler").rollout.next_percent == 10)
            run("upgrade", "--redis-url", url)
            run("adopt", "--redis-url", url)
            eventually(lambda: not call("Resolve", component="restyler", repo="acme/app").stale)
            told = call("GetServer").server.store
            assert told.version
            assert set(told.unknown) <= {"append_fsync"}
        assert server.stop() == 0
    assert [line for line in server.log if line.get("level") in {"warning", "error"}] == []
    with users.owner() as owner:
        denied = {(each["username"], each["object"]) for each in owner.acl_log()}
    assert denied <= {("rampd", name) for name in DENIED.values()}
    assert all(f"`{name}`" in (ROOT / "docs" / "store.md").read_text() for name in DENIED)


def use(call: Stubs) -> None:
    for tag in ("t1", "t2", "t3"):
        call("Release", component="restyler", tag=tag)
    call("Ramp", component="restyler", percent=10)
    call("SetOverride", component="restyler", repo="acme/app", tag="t1")
    outcomes = [resolved(call, f"acme/{number}") for number in range(50)]
    answer = call("ReportOutcomes", client_id="w1", sequence=1, outcomes=outcomes)
    assert answer.accepted == len(outcomes), answer
    call("Ramp", component="restyler", percent=20, dry_run=True)
    call("Freeze", all=True)
    call("Unfreeze", all=True)
    call("CancelRelease", component="restyler", release=3)
    assert call("ListOverrides", component="restyler").overrides
    assert call("ListEvents", component="restyler").events
    assert call("ListEvents", every_component=True).events
    call("Release", component="old-one", tag="t1")
    call("DeleteComponent", component="old-one", confirm="old-one")


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("rampd", "FLUSHALL"),
        ("rampd", "CONFIG GET *"),
        ("rampd", "CONFIG SET dir /tmp"),
        ("rampd", "KEYS *"),
        ("rampd", "ACL LIST"),
        ("rampd", "ACL SETUSER rampd allcommands"),
        ("rampd", "CLIENT KILL TYPE normal"),
        ("rampd", "SCRIPT FLUSH"),
        ("rampd", "REPLICAOF NO ONE"),
        ("rampd", "SHUTDOWN NOSAVE"),
        ("rampd", "PUBLISH c m"),
        ("rampd", "SET other 1"),
        ("rampd", "GET other"),
        ("rampd", "EVAL return 1 other"),
        ("rampd-viewer", "HSET rampd:{default}:meta epoch x"),
        ("rampd-viewer", "DEL rampd:{default}:meta"),
        ("rampd-viewer", "EVAL return 0"),
        ("rampd-viewer", "SCRIPT LOAD return"),
        ("rampd-viewer", "KEYS *"),
        ("rampd-viewer", "CONFIG GET *"),
        ("rampd-viewer", "CLIENT LIST"),
        ("rampd-viewer", "GET other"),
    ],
)
def test_a_user_is_denied_what_it_is_not_for(user: str, words: str, denying: Users) -> None:
    with denying.client(user) as client, pytest.raises(NoPermissionError):
        client.execute_command(*words.split())


@pytest.fixture(scope="module", params=[VALKEY, REDIS])
def denying(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    folder = tmp_path_factory.mktemp("users")
    make_files(folder)
    with store_server(request.param, aclfile=str(folder / "users.acl")) as store:
        yield Users(store, folder)


def test_a_script_reaches_no_key_of_others(denying: Users) -> None:
    """Given a script that does not declare the key that it writes, expect that this is denied, too."""
    with denying.client("rampd") as client, pytest.raises(ResponseError, match=r"permission|can.t access"):
        client.eval("return redis.call('SET', 'other', '1')", 0)


def test_a_viewer_reads_the_keys_of_rampd(users: Users) -> None:
    with users.owner() as owner, users.client("rampd-viewer") as viewer:
        owner.hset("rampd:{default}:meta", "epoch", "e")
        owner.xadd("rampd:{default}:feed", {"component": "restyler"})
        assert viewer.hgetall("rampd:{default}:meta") == {"epoch": "e"}
        assert len(viewer.xrevrange("rampd:{default}:feed")) == 1
        assert viewer.info("memory")["used_memory"]
        assert sorted(viewer.scan_iter("rampd:*")) == ["rampd:{default}:feed", "rampd:{default}:meta"]


def test_the_user_of_the_server_may_run_the_commands_of_rampd_and_no_others() -> None:
    """Given a command that rampd needs no more, expect that the file does not have it either."""
    line = (ROOT / "docs" / "redis" / "rampd.acl").read_text().splitlines()[0]
    checked = {command.split()[0].lower() for command in server_check._COMMANDS}
    assert sorted(word[1:] for word in line.split() if word.startswith("+")) == sorted({*checked, *BY_OTHER_MEANS})


@pytest.mark.parametrize("name", ["rampd.acl", "rampd-sentinel.acl"])
@pytest.mark.parametrize("kind", [VALKEY, REDIS])
def test_a_file_without_passwords_is_refused(kind: str, name: str, directory: Path) -> None:
    """Nobody can use the files by mistake with a password that everybody knows."""
    done = subprocess.run(
        [
            *(program_of(kind), "--port", "0", "--unixsocket", str(directory / "s"), "--dir", str(directory)),
            *("--aclfile", str(ROOT / "docs" / "redis" / name)),
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "password hash" in done.stdout + done.stderr


@pytest.mark.parametrize("kind", [VALKEY, REDIS])
def test_redis_conf_may_include_the_file_among_its_own_users(kind: str, directory: Path) -> None:
    make_files(directory)
    (directory / "own.conf").write_text(f"user own on nopass ~* +@all\ninclude {directory / 'users.acl'}\n")
    with store_server(kind, include=str(directory / "own.conf")) as store:
        users = Users(store, directory)
        with users.owner() as owner, users.client("rampd") as rampd:
            assert set(owner.acl_users()) == {"default", "own", "rampd", "rampd-viewer"}
            assert rampd.ping()


async def test_a_user_for_one_namespace_reaches_no_other(users: Users) -> None:
    keys = re.search(r"`(~rampd:\{blue\}:\* \S+)`", (ROOT / "docs" / "store.md").read_text())
    assert keys is not None
    with users.owner() as owner:
        owner.execute_command("ACL", "SETUSER", "rampd", "resetkeys", *keys[1].split())
    for namespace, is_its_own in (("blue", True), ("default", False), ("blues", False)):
        link = Link.connect(users.url("rampd"), namespace=namespace, deadline_s=60)
        if is_its_own:
            await check_server(link)
        else:
            with pytest.raises(StoreMisconfiguredError, match="lacks a permission"):
                await check_server(link)
        await link.close()


async def test_a_user_for_outcomes_alone_is_refused_at_the_start(users: Users) -> None:
    """Given a user that may read everything, but write the keys of outcomes only, expect a sentence with what is missing."""
    with users.owner() as owner:
        owner.execute_command("ACL", "SETUSER", "rampd", "resetkeys", "~rampd:{default:*", "%R~rampd:{default}:*")
    link = Link.connect(users.url("rampd"), deadline_s=60)
    with pytest.raises(UnsuitableStoreError, match=r"HSET.*rampd:\{default\}:meta"):
        await check_server(link)
    await link.close()


@pytest.fixture(params=[VALKEY, REDIS])
def sentinel(request: pytest.FixtureRequest, directory: Path) -> Iterator[Path]:
    """A Sentinel with the user of the file. Yields its socket's folder. It watches a service that nobody can reach."""
    make_files(directory)
    settings = directory / "sentinel.conf"
    settings.write_text(
        f"port 0\nunixsocket {directory}/sentinel.sock\ndir {directory}\nsentinel monitor main 127.0.0.1 1 1\n"
        f"aclfile {directory}/sentinel-users.acl\n"
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program_of(request.param), str(settings), "--sentinel"], stdout=log, stderr=log)
    try:
        eventually(lambda: is_listening(directory / "sentinel.sock"))
        yield directory
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def test_the_user_at_the_sentinels_may_only_ask_for_the_primary(sentinel: Path) -> None:
    password = (sentinel / "rampd-sentinel.password").read_text()
    url = f"unix://rampd-sentinel:{password}@{sentinel}/sentinel.sock"
    asked = RedisSentinel("the sentinel", url, "main", timeout_s=60)
    decision = await asked.ask()
    await asked.close()
    assert str(decision.node) == "127.0.0.1:1"
    with Redis.from_url(url) as client:
        for words in (
            "SENTINEL FAILOVER main",
            "SENTINEL SET main quorum 2",
            "SENTINEL REMOVE main",
            "ACL LIST",
            "INFO",
        ):
            with pytest.raises(NoPermissionError):
                client.execute_command(*words.split())
