"""Two versions of servers over one store: this one, and one with a later schema, which is made up from a copy of the source."""

import contextlib
import itertools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from rampd_server.process.cluster_url import ClusterUrl
from rampd_server.storage.schema import SCHEMA
from tests.clusters import cluster
from tests.e2e.test_operations_document import typed
from tests.e2e.test_readme import shows
from tests.later_version import LATER, ROOT, begin, is_paused, make_later, run, serving
from tests.servers import Stubs, reason_of, short_directory
from tests.stores import CLUSTER, REDIS, StoreServer, store_server
from tests.waiting import eventually

BOXES = re.findall(r"^```console\n(.*?)^```", (ROOT / "docs" / "upgrade.md").read_text(), re.DOTALL | re.MULTILINE)
META = "rampd:{default}:meta"


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PYTHONPATH of the next version."""
    return make_later(tmp_path_factory.mktemp("later"))


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    """One kind of Redis is enough: tests/contract has the scripts on each kind."""
    if getattr(request, "param", REDIS) == REDIS:
        with store_server(REDIS) as running:
            yield running
    else:
        with short_directory() as folder, cluster(REDIS, folder, is_mortal=False) as nodes:
            yield StoreServer(CLUSTER, nodes.url)


def connected(store: StoreServer, **options: bool) -> Any:
    """A client for tests. The caller closes it."""
    if store.kind == CLUSTER:
        nodes = ClusterUrl.parse(store.url)
        return redis.RedisCluster.from_url(nodes.at(nodes.hosts[0]), **options)
    return redis.Redis.from_url(store.url, **options)


@pytest.fixture
def client(store: StoreServer) -> Iterator[Any]:
    with connected(store, decode_responses=True) as made:
        yield made


def has_paused(call: Stubs, wanted: bool) -> bool:
    return is_paused(call) == wanted


def contents(store: StoreServer) -> dict[bytes, Any]:
    with connected(store) as client:
        return {key: client.dump(key) for key in client.keys("*")}


on_each = pytest.mark.parametrize("store", [REDIS, CLUSTER], indirect=True)


@on_each
def test_two_versions_write_side_by_side_until_somebody_raises_the_schema(
    directory: Path, store: StoreServer, client: Any, later: str
) -> None:
    with contextlib.ExitStack() as stack:
        with serving(directory / "old", store.url) as (_, old):
            begin(old)
            server, new = stack.enter_context(serving(directory / "new", store.url, later))
            assert server.event("schema_kept")["schema"] == SCHEMA
            for caller, verb in itertools.product((old, new, old, new), ("Pause", "Resume")):
                caller(verb, component="restyler")
                for each in (old, new):
                    eventually(partial(has_paused, each, verb == "Pause"))
            new("Pause", component="restyler")
            new("SetOverride", component="restyler", repo="acme/app", tag="a")
            eventually(lambda: old("Resolve", component="restyler", repo="acme/app").tag == "a")
            assert client.hget("rampd:{default}:rollout:restyler", "paused") == "1"

            said = run("upgrade", "--redis-url", store.url, path=later, code=2)
            assert f"1 server is connected that can't work with schema {LATER}: " in said
            assert f"knows schema {SCHEMA}." in said
            assert client.hget(META, "schema") == str(SCHEMA)
        said = run("upgrade", "--redis-url", store.url, path=later)
        assert f"from {SCHEMA} to {LATER}" in said
        new("Resume", component="restyler")
        new("Pause", component="restyler")
        assert client.hget("rampd:{default}:rollout:restyler", "paused") == "yes"
        assert f"has schema {LATER}, the newest" in run("upgrade", "--redis-url", store.url, path=later)

        # There is no way back.
        for command, words in (
            ("upgrade", ["--force"]),
            ("adopt", []),
            ("serve", ["--data-dir", str(directory / "old")]),
        ):
            said = run(command, "--redis-url", store.url, *words, path="", code=2)
            assert f"has schema {LATER}, and this server knows up to {SCHEMA}: start a newer rampd-server." in said
        run("adopt", "--redis-url", store.url, path=later)
        assert client.hget(META, "schema") == str(LATER)
        # The server follows the new epoch within a second.
        eventually(lambda: is_paused(new), suppressed=grpc.RpcError)


@on_each
def test_a_server_that_does_not_know_the_schema_says_so_and_resolves_from_memory(
    directory: Path, store: StoreServer, client: Any, later: str
) -> None:
    with serving(directory / "old", store.url) as (server, old):
        begin(old)
        run("upgrade", "--redis-url", store.url, "--force", path=later)
        before = contents(store)

        for verb, fields in (
            ("Ramp", {"percent": 10}),
            ("Pause", {}),
            ("SetOverride", {"repo": "acme/app", "tag": "a"}),
        ):
            with pytest.raises(grpc.RpcError, match=f"has schema {LATER}.*Update this server") as caught:
                old(verb, component="restyler", **fields)
            assert reason_of(caught.value) == "STORE_UNAVAILABLE"
        eventually(lambda: old("Resolve", component="restyler", repo="acme/app").stale)
        assert old("Resolve", component="restyler", repo="acme/app").tag == "a"
        assert f"has schema {LATER}" in server.event("store_lost")["error"]
        assert contents(store) == before
    with serving(directory / "new", store.url, later) as (_, new):
        new("Pause", component="restyler")
        assert is_paused(new)


def test_an_empty_store_begins_with_the_newest_schema(
    directory: Path, store: StoreServer, client: Any, later: str
) -> None:
    with serving(directory, store.url, later, "blue"):
        assert client.hget("rampd:{blue}:meta", "schema") == str(LATER)


@on_each
def test_a_raise_under_load_fails_no_change_and_none_has_the_form_of_before(
    directory: Path, store: StoreServer, client: Any, later: str
) -> None:
    """Given three servers that write all the time, expect that each of them writes the new form from the same change on."""
    changes = 30
    with contextlib.ExitStack() as stack:
        client.hset(META, mapping={"schema": SCHEMA, "epoch": "an-epoch", "head": "0-0"})
        calls = [stack.enter_context(serving(directory / str(number), store.url, later))[1] for number in range(3)]
        for number, call in enumerate(calls):
            begin(call, f"c{number}")
        is_raised, counts, failures = threading.Event(), [0] * 3, []

        def write(number: int) -> None:
            left = changes
            try:
                while left:
                    begins_later = is_raised.is_set()
                    for verb in ("Pause", "Resume"):
                        calls[number](verb, component=f"c{number}")
                    counts[number] += 1
                    left -= begins_later
            except grpc.RpcError as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: failures or min(counts) >= changes)
        run("upgrade", "--redis-url", store.url, path=later)
        is_raised.set()
        for thread in threads:
            thread.join(60)
        assert not failures
    found = [
        re.search(r'"paused","(\w+)"', fields.get("patch", "")) for _, fields in client.xrange("rampd:{default}:feed")
    ]
    forms = [each[1] in {"yes", "no"} for each in found if each]
    assert forms == sorted(forms)
    assert min(forms.count(True), forms.count(False)) >= 2 * 3 * changes


def test_the_commands_print_what_the_document_shows(directory: Path, store: StoreServer, later: str) -> None:
    back_up, refused, raised = BOXES
    variables = ""

    def types(box: str, path: str, code: int = 0) -> None:
        nonlocal variables
        for command, shown in typed(box):
            if command.startswith("export "):
                variables = f"{command.replace('redis://redis-1.example.com:6379', store.url)}\n"
                continue
            words = command.replace("rampd-server", f"{sys.executable} -m rampd_server")
            done = subprocess.run(
                ["bash", "-c", variables + words],
                cwd=directory, env=os.environ | ({"PYTHONPATH": path} if path else {}),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert done.returncode == code, done.stdout
            assert shows(without_variable(shown), without_variable(done.stdout)), done.stdout

    with serving(directory / "old", store.url) as (_, old):
        begin(old)
        types(back_up, "")
        types(refused, later, 2)
    types(raised, later)


def without_variable(text: str) -> list[str]:
    for pattern, name in (
        (r"\d{13}-\d+", "ENTRY"),
        (r"\S+ knows schema", "ADDRESS knows schema"),
        (r"\b(schema|from|to) \d+", r"\1 N"),
    ):
        text = re.sub(pattern, name, text)
    return text.splitlines()
