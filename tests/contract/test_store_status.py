"""What a Redis and a Valkey tell about themselves, and what is left if the user may not ask."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.ports import StoreStatus, Topology
from rampd_server.storage.clients import Clients
from rampd_server.storage.finding import Node
from rampd_server.storage.link import Link
from rampd_server.storage.server_check import check_server
from rampd_server.storage.store_status import RedisStatus
from tests.contract.test_finding import FakeFinder
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import eventually_async


@pytest.fixture(params=[VALKEY, REDIS])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[StoreServer]:
    """A store that a test may set up as it likes."""
    with store_server(request.param) as running:
        yield running


@pytest.fixture
async def link(server: StoreServer) -> AsyncIterator[Link]:
    link = server.link()
    yield link
    await link.close()


async def told(link: Link) -> StoreStatus:
    return await RedisStatus(link, is_embedded=False).status()


async def test_a_store_tells_what_it_is_and_how_it_is_set_up(server: StoreServer, link: Link) -> None:
    found = await told(link)

    info = await link.client.info()
    assert found.product == server.kind
    assert found.version == info["valkey_version" if server.kind == VALKEY else "redis_version"]
    assert not found.is_embedded
    assert (found.topology, found.primary) == (Topology.SINGLE, server.url)
    assert (found.append_only, found.append_fsync, found.save_failed) == (False, "everysec", False)
    assert (found.max_memory_bytes, found.max_memory_policy, found.replicas) == (0, "noeviction", 0)
    assert found.used_memory_bytes is not None
    assert found.used_memory_bytes > 100_000
    assert abs(found.ahead_ms) < 60_000


@pytest.mark.parametrize(
    ("url", "primary"),
    [
        ("redis://ada:secret@redis.example.com", "redis.example.com:6379"),
        ("rediss://:secret@10.0.0.1:7000/2", "10.0.0.1:7000"),
        ("redis://[2001:db8::1]:7000", "[2001:db8::1]:7000"),
        ("unix://ada:secret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
async def test_a_store_of_one_address_is_told_by_this_address_without_a_password(url: str, primary: str) -> None:
    link = Link.connect(url)
    assert (link.clients.topology, link.clients.primary) == (Topology.SINGLE, primary)
    await link.close()


async def test_the_primary_is_the_one_that_the_sentinels_name_and_unknown_until_they_do() -> None:
    link = Link.connect("redis+sentinel://ada:secret@s1,s2/main")
    assert (link.clients.topology, link.clients.primary) == (Topology.SENTINEL, "")
    await link.close()

    clients = Clients(None, None, finder=FakeFinder(Node("10.0.0.1", 7000)))
    assert clients.primary == "10.0.0.1:7000"


async def test_each_setting_is_told_as_it_is_now(link: Link) -> None:
    settings = {"appendonly": "yes", "appendfsync": "always", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    for name, value in settings.items():
        await link.client.config_set(name, value)

    found = await told(link)
    assert (found.append_only, found.append_fsync) == (True, "always")
    assert (found.max_memory_bytes, found.max_memory_policy) == (100 << 20, "allkeys-lru")


async def test_the_clock_is_compared_with_this_machine_s(link: Link) -> None:
    behind = RedisStatus(link, is_embedded=False, clock=lambda: 0.0)
    seconds, microseconds = await link.client.time()

    assert (await behind.status()).ahead_ms == pytest.approx(seconds * 1000 + microseconds / 1000, abs=60_000)


async def test_a_save_that_failed_is_told(server: StoreServer, link: Link) -> None:
    """Given a folder in the place of the store's file, expect that the store says that it can't save."""
    Path(urlsplit(server.url).path).with_name("dump.rdb").mkdir()
    await link.client.bgsave()

    async def has_ended() -> bool:
        return not (await link.client.info("persistence"))["rdb_bgsave_in_progress"]

    await eventually_async(has_ended)
    assert (await told(link)).save_failed


async def with_rules(link: Link, *rules: str) -> None:
    await link.client.execute_command("ACL", "SETUSER", "default", *rules)


async def test_without_config_only_the_fsync_is_not_known(link: Link) -> None:
    await with_rules(link, "-config")

    found = await told(link)
    unknown = {name for name in StoreStatus.__slots__ if getattr(found, name) is None}
    assert unknown == {"append_fsync"}


async def test_without_info_the_settings_are_still_told(link: Link) -> None:
    await with_rules(link, "-info")

    found = await told(link)
    assert (found.append_only, found.append_fsync, found.max_memory_bytes) == (False, "everysec", 0)
    assert found.max_memory_policy == "noeviction"
    unknown = {name for name in StoreStatus.__slots__ if getattr(found, name) is None}
    assert unknown == {"product", "version", "save_failed", "used_memory_bytes", "replicas"}


async def test_without_both_only_the_clock_is_told_and_the_store_still_counts_as_suitable(link: Link) -> None:
    await with_rules(link, "-config", "-info")

    found = await told(link)
    assert found == StoreStatus(False, found.topology, found.primary, found.ahead_ms)
    assert abs(found.ahead_ms) < 60_000
    assert "denies INFO" in await check_server(link)


async def test_a_store_that_does_not_tell_the_time_is_an_error(link: Link) -> None:
    await with_rules(link, "-time")

    with pytest.raises(StoreUnavailableError, match="lacks a permission"):
        await told(link)
