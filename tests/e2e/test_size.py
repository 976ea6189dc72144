"""Many overrides: a server starts with them, follows each change, and lists them exactly.

Bounds are ten times the targets, because the machine may be busy. docs/performance.md has the figures.
"""

import contextlib
import time
from collections.abc import Iterator

import pytest

from rampd import v1
from rampd_server.process import event_loop
from rampd_server.storage.codec.feed_entry import write_overrides
from rampd_server.storage.store import RedisStore
from tests import filling
from tests.nights import IS_NIGHT
from tests.observing import health_checks, peak_memory_mb, pings, work_of
from tests.servers import ServerProcess, Stubs, rampd_server, short_directory, stubs
from tests.stores import REDIS, StoreServer, store_server

OVERRIDES = 1_000_000 if IS_NIGHT else 100_000
COMPONENTS = 1_000 if IS_NIGHT else 100
FEED_BYTES = 64 * 1024 * 1024
OVERFULL = 140
"""The number of changes that overfill the feed. Each is half a MiB."""
START_S, MEMORY_MB, REDIS_BLOCK_S, LOOP_BLOCK_S, CHANGE_S = 150, 600, 0.5, 1.0, 0.5

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with store_server(REDIS) as running:
        event_loop.run(fill(running))
        yield running


async def fill(server: StoreServer) -> None:
    store = server.store()
    try:
        await filling.fill(store, components=COMPONENTS, overrides=OVERRIDES)
    finally:
        await store.close()


@contextlib.contextmanager
def server(store: StoreServer) -> Iterator[ServerProcess]:
    with (
        short_directory() as directory,
        rampd_server(directory, "--insecure-admin", "--redis-url", store.url) as running,
    ):
        running.event("listening")
        yield running


@pytest.fixture(scope="module")
def first(store: StoreServer) -> Iterator[ServerProcess]:
    with server(store) as running:
        running.event("serving", within_s=START_S)
        yield running


@pytest.fixture(scope="module")
def call(first: ServerProcess) -> Iterator[Stubs]:
    with stubs(first.target) as made:
        yield made


def test_a_server_starts_with_many_overrides_while_redis_and_its_own_loop_answer_others(store: StoreServer) -> None:
    assert store.process is not None
    with (
        pings(store.url.removeprefix("unix://"), work_of(store.process.pid)) as store_waits,
        server(store) as starting,
        health_checks(starting.target, work_of(starting.process.pid)) as server_waits,
    ):
        starting.event("serving", within_s=START_S)
        assert peak_memory_mb(starting.process.pid) < MEMORY_MB
    assert max(store_waits) < REDIS_BLOCK_S
    assert max(server_waits) < LOOP_BLOCK_S


def test_every_override_is_there(call: Stubs) -> None:
    numbers = range(0, OVERRIDES, OVERRIDES // 500)
    requests = [v1.ResolveRequest(component=filling.LARGE, repo=filling.repo(number)) for number in numbers]
    answers = call("BatchResolve", requests=requests).results
    for number, answer in zip(numbers, answers, strict=True):
        override = filling.override(number)
        if override.tag:
            assert answer.response.tag == override.tag
        else:
            assert answer.response.reason == v1.RESOLVE_REASON_OVERRIDE_CHANNEL


def test_a_change_is_one_entry_of_the_feed_on_every_server(store: StoreServer, call: Stubs) -> None:
    with server(store) as second:
        second.event("serving", within_s=START_S)
        with stubs(second.target) as other:
            waits = sorted(_change(call, other, f"pb/one-{number}") for number in range(20))
        assert waits[len(waits) // 2] < CHANGE_S
        assert len([line for line in second.log if line["event"] == "replica_loaded"]) == 1


def _change(call: Stubs, other: Stubs, tag: str) -> float:
    """Sets an override. Returns the seconds until the other server uses it."""
    began = time.monotonic()
    call("SetOverride", component=filling.LARGE, repo=filling.repo(7), tag=tag)
    while other("Resolve", component=filling.LARGE, repo=filling.repo(7)).tag != tag:
        assert time.monotonic() - began < 60
    return time.monotonic() - began


def test_pages_of_an_owner_are_exact_and_in_order(call: Stubs) -> None:
    owner = "owner-0042/"
    expected = sorted(
        repo for number in range(42, OVERRIDES, filling.OWNERS) if (repo := filling.repo(number)).startswith(owner)
    )
    found: list[str] = []
    token = ""
    while True:
        page = call("ListOverrides", component=filling.LARGE, prefix=owner, page_size=7, page_token=token)
        found += [override.repo for override in page.overrides]
        token = page.next_page_token
        if not token:
            break
        assert len(page.overrides) == 7
    assert found == expected


def test_a_thousand_overrides_are_set_in_one_revision_and_deleted_in_one(call: Stubs) -> None:
    repos = [f"batch/{number:04}" for number in range(1000)]
    tag = "pb/batch"
    made = call(
        "BatchSetOverrides",
        component=filling.LARGE,
        overrides=[v1.OverrideChange(repo=repo, tag=tag) for repo in repos],
    )
    page = call("ListOverrides", component=filling.LARGE, prefix="batch/", page_size=1000)
    assert [(override.repo, override.tag) for override in page.overrides] == [(repo, tag) for repo in repos]
    assert not page.next_page_token

    gone = call(
        "BatchSetOverrides",
        component=filling.LARGE,
        overrides=[v1.OverrideChange(repo=repo, delete=True) for repo in repos],
    )
    assert gone.revision == made.revision + 1
    assert not call("ListOverrides", component=filling.LARGE, prefix="batch/").overrides


def test_the_feed_stays_within_its_limit_in_bytes() -> None:
    """Given more bytes of changes than the limit that a server sets, expect that the oldest changes are deleted."""
    with store_server(REDIS) as store:
        written, counted, found = event_loop.run(overfill(store))
    assert written > FEED_BYTES
    assert found == counted
    assert FEED_BYTES / 2 < found <= FEED_BYTES


async def overfill(server: StoreServer) -> tuple[int, int, int]:
    """Returns the bytes that were written to the feed, the bytes that the store counts, and the bytes that the feed has."""
    store = server.store()
    try:
        await filling.fill(store, components=1, overrides=0)
        written = 0
        for number in range(OVERFULL):
            changes = filling.large_changes(number)
            written += len(write_overrides(changes))
            await store.commit_overrides(filling.LARGE, changes, filling.ADA)
        counted = int(await store.client.get(store.keys.feed_bytes))
        return written, counted, await bytes_of_feed(store)
    finally:
        await store.close()


async def bytes_of_feed(store: RedisStore) -> int:
    found, after = 0, "-"
    while entries := await store.client.xrange(store.keys.feed, after, "+", 20):
        found += sum(len(text.encode()) for _, fields in entries for pair in fields.items() for text in pair)
        after = f"({entries[-1][0]}"
    return found
