"""Which repos were seen survives a killed server, apart from its last ten seconds, and a store that was away."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from rampd_server.storage.keys import Keys
from tests.servers import IN_PRODUCTION_S, Stubs, rampd_server, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually

C = "restyler"
KEY = Keys().outcomes(C).seen_repos


@pytest.fixture
def store() -> Iterator[StoreServer]:
    """A store of the test's own, because it is stopped."""
    with store_server(REDIS) as running:
        yield running


def seen(call: Stubs) -> list[str]:
    """The repos that would lose their version if the component were deleted."""
    return [each.repo for each in call("DeleteComponent", component=C, confirm=C, dry_run=True).preview.moves]


def sent(store: StoreServer) -> int:
    with Redis(unix_socket_path=store.url.removeprefix("unix://")) as redis:
        return int(redis.zcard(KEY))


def test_a_killed_server_loses_only_what_it_has_seen_in_its_last_ten_seconds(
    directory: Path, store: StoreServer
) -> None:
    flags = ("--insecure-admin", "--redis-url", store.url)
    with rampd_server(directory / "a", *flags) as server, stubs(server.target) as call:
        server.event("serving")
        call("Release", component=C, tag="t1")
        call("Resolve", component=C, repo="acme/sent")
        eventually(lambda: sent(store) == 1)
        call("Resolve", component=C, repo="acme/lost")
        assert seen(call) == ["acme/lost", "acme/sent"]
        server.stop(signal.SIGKILL)
    with rampd_server(directory / "b", *flags) as server, stubs(server.target) as call:
        server.event("serving")
        assert set(seen(call)) - {"acme/lost"} == {"acme/sent"}


def test_what_was_seen_while_the_store_was_away_is_sent_when_it_is_back(directory: Path, store: StoreServer) -> None:
    flags = ("--insecure-admin", "--redis-url", store.url)
    with rampd_server(directory / "a", *flags, store_deadline_s=IN_PRODUCTION_S) as server:
        server.event("serving")
        with stubs(server.target) as call:
            call.until_made("Release", component=C, tag="t1")
            store.signal(signal.SIGSTOP)
            call("Resolve", component=C, repo="acme/app")
            server.event("store_lost")
            store.signal(signal.SIGCONT)
            server.event("store_found")
            eventually(lambda: sent(store) == 1)
        assert [line for line in server.log if line["event"] == "seen_repos_not_kept"] == []
