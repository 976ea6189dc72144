"""GetServer over a real channel: what a server tells of itself and of its store, to whom, and while the store is away."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format

from rampd import Admin, AsyncAdmin, Token, v1
from rampd_server import testing
from rampd_server.access import following
from rampd_server.listeners import Listening
from tests.authority import Authority
from tests.rpc.access_table import Tokens, send, status
from tests.servers import Stubs, short_directory
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import eventually

C = "restyler"
ASK = v1.GetServerRequest()


@contextlib.contextmanager
def own_server(store: StoreServer | None = None, **settings: Any) -> Iterator[tuple[Path, Listening]]:
    """A server for one test: its folder, and where it listens."""
    with (
        short_directory() as directory,
        testing.listening(directory, store and store.url, **settings) as found,
    ):
        yield directory, found


def seconds(moment: Any) -> float:
    return float(moment.seconds + moment.nanos / 1e9)


@pytest.mark.usefixtures("never_stale")
@pytest.mark.parametrize("kind", [VALKEY, REDIS])
def test_a_server_tells_of_itself_and_of_its_store(kind: str) -> None:
    before = time.time()
    with store_server(kind) as store, own_server(store, namespace="eu") as (directory, found):
        target = str(found.grpc)
        with Admin(target) as admin:
            admin.release(C, "t1")
            server = admin.get_server()
            assert server == v1.Server.FromString(server.SerializeToString())
            after = time.time()

    assert server.version
    assert (server.namespace, server.components, server.damaged_components) == ("eu", 1, 0)
    assert before - 1 <= seconds(server.start_time) <= seconds(server.time) <= after + 1
    assert not server.stale
    assert server.HasField("snapshot_age")
    assert server.epoch
    assert int(server.last_entry.partition("-")[0]) >= (before - 60) * 1000
    assert server.store_problem == ""
    assert server.store.product == kind
    assert not server.store.embedded
    assert (server.store.topology, server.store.primary) == ("single", store.url)
    assert abs(seconds(server.store.time) - seconds(server.time)) < 30
    assert server.store.max_memory_policy == "noeviction"
    assert list(server.store.unknown) == []
    assert [(each.address, each.protocol, each.tls, each.reach) for each in server.listeners] == [
        (target, "grpc", False, "machine"),
        (f"unix://{directory}/rampd.sock", "grpc", False, "owner"),
    ]


def test_a_server_with_its_own_store_says_so() -> None:
    with own_server() as (_, found), Admin(str(found.grpc)) as admin:
        store = admin.get_server().store
    assert (store.product, store.embedded, store.append_only, store.append_fsync) == ("valkey", True, True, "always")


async def test_the_client_for_asyncio_asks_the_same(target: str, namespace: str) -> None:
    async with AsyncAdmin(target) as admin:
        assert (await admin.get_server()).namespace == namespace


def test_servers_of_one_store_have_the_same_epoch_and_soon_the_same_last_entry(call: Stubs, second: Stubs) -> None:
    call("Release", component=C, tag="t1")
    first = call("GetServer").server
    assert first.epoch == second("GetServer").server.epoch
    eventually(lambda: second("GetServer").server.last_entry == first.last_entry)

    call("Ramp", component=call("Release", component=C, tag="t2").rollout.component, percent=10)
    assert call("GetServer").server.last_entry != first.last_entry


def test_http_serves_it_and_describes_it(url: str, namespace: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as http:
        answer = http.post("/rampd.v1.RolloutService/GetServer", json={})
        server = json_format.ParseDict(answer.json(), v1.GetServerResponse()).server
        described = http.get("/openapi.json").json()
    assert server.namespace == namespace
    assert [(each.address, each.protocol) for each in server.listeners if each.protocol == "http"] == [
        (url.removeprefix("http://"), "http")
    ]
    assert "/rampd.v1.RolloutService/GetServer" in described["paths"]


def test_each_address_tells_who_gets_in(authority: Authority) -> None:
    """Given an access file, and addresses with TLS and without it, expect that no address takes changes from everybody, except
    the socket of the owner.
    """
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("dashboard", "viewer")
        certificate, key = authority.issue("localhost", "127.0.0.1").write(directory, "server")
        settings = {
            "access_file": tokens.path,
            "insecure_admin": False,
            "tls_cert": certificate,
            "tls_key": key,
            "listen": "https://127.0.0.1:0 http://127.0.0.1:0",
            "http": "https://127.0.0.1:0",
            "launcher_socket": directory / "launchers.sock",
        }
        with (
            testing.listening(directory, **settings) as found,
            Admin(
                f"https://{found.grpc}", credentials=Token(tokens.of["dashboard"]), ca_file=authority.write(directory)
            ) as admin,
        ):
            listeners = admin.get_server().listeners
    assert [(each.protocol, each.tls, each.reach) for each in listeners] == [
        ("grpc", True, "machine"),
        ("grpc", False, "machine"),
        ("grpc", False, "owner"),
        ("grpc", False, "machine"),
        ("http", True, "machine"),
    ]
    assert [each.requires_credentials for each in listeners] == [True, True, False, False, True]
    assert [each.changes_without_credentials for each in listeners] == [False, False, True, False, False]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_readers_may_ask_and_see_the_number_of_their_own_components(
    store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_LOOK_S", 0.02)
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        for role in ("admin", "viewer", "launcher"):
            tokens.grant(role, role)
        tokens.grant("viewer of one", "viewer", 'components = ["restyler"]')
        tokens.grant("viewer without it", "viewer", 'deny = ["GetServer"]')
        settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False}
        with (
            testing.run(directory, store_process.url, **settings) as target,
            grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
        ):
            for name in (C, "other"):
                send(channel, "Release", v1.ReleaseRequest(component=name, tag="t1"), tokens.metadata("admin"))

            def components(name: str) -> int:
                return int(send(channel, "GetServer", ASK, tokens.metadata(name)).server.components)

            assert {name: components(name) for name in ("admin", "viewer", "viewer of one")} == {
                "admin": 2,
                "viewer": 2,
                "viewer of one": 1,
            }
            refused = ("launcher", "viewer without it", "nobody")
            assert [status(channel, "GetServer", ASK, tokens.metadata(name)) for name in refused] == [
                "PERMISSION_DENIED",
                "PERMISSION_DENIED",
                "UNAUTHENTICATED",
            ]
            [socket] = [
                each
                for each in send(channel, "GetServer", ASK, tokens.metadata("admin")).server.listeners
                if each.address.startswith("unix:")
            ]
            with Admin(socket.address) as admin:
                assert admin.get_server().components == 2

            tokens.grant("everybody", "operator", "everybody = true", proof="")

            def is_open() -> bool:
                listeners = send(channel, "GetServer", ASK, tokens.metadata("admin")).server.listeners
                return bool(listeners[0].changes_without_credentials)

            eventually(is_open)


def test_damaged_components_are_counted_among_those_that_the_caller_sees(
    store_process: StoreServer, call: Stubs, namespace: str
) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component="other", tag="t1")
    store = store_process.store(namespace)

    async def damage() -> None:
        await store.client.hset(store.keys.component(C).rollout, "current", "nonsense")
        await store.close()

    asyncio.run(damage())
    # The server looks at a component of which a request has met the damage.
    with pytest.raises(grpc.RpcError):
        call("GetRollout", component=C)

    def counts() -> tuple[int, int]:
        server = call("GetServer").server
        return server.components, server.damaged_components

    eventually(lambda: counts() == (2, 1))


def test_a_redis_user_without_info_and_config_is_enough() -> None:
    with store_server(REDIS) as store:
        link = store.link()

        async def restrict() -> None:
            await link.client.execute_command("ACL", "SETUSER", "default", "-info", "-config")
            await link.close()

        asyncio.run(restrict())
        with own_server(store) as (_, found), Admin(str(found.grpc)) as admin:
            admin.release(C, "t1")
            server = admin.get_server()
    assert server.store_problem == ""
    assert server.HasField("store")
    assert abs(seconds(server.store.time) - seconds(server.time)) < 30
    assert set(server.store.unknown) == {
        *("product", "version", "append_only", "append_fsync", "save_failed", "used_memory_bytes", "max_memory_bytes"),
        *("max_memory_policy", "replicas"),
    }


@pytest.mark.parametrize("timeout_s", [0.7, 10.0])
def test_while_the_store_hangs_the_rest_is_told_within_the_deadline(timeout_s: float) -> None:
    with store_server(VALKEY) as store, own_server(store) as (_, found), Admin(str(found.grpc), timeout=20) as admin:
        admin.release(C, "t1")
        assert admin.get_server().HasField("store")
        store.signal(signal.SIGSTOP)
        try:
            # A short time-out may end while this machine is busy. A server that waits for the store ends all of them.
            eventually(lambda: not admin.get_server(timeout=timeout_s).HasField("store"), suppressed=Exception)
            eventually(lambda: admin.get_server().stale)
            server = admin.get_server()
        finally:
            store.signal(signal.SIGCONT)
        assert not server.HasField("store")
        assert "did not answer in time" in server.store_problem
        assert (server.components, server.namespace) == (1, "default")
        assert server.snapshot_age.seconds >= 5
        assert server.epoch
        eventually(lambda: admin.get_server().HasField("store") and not admin.get_server().stale)


def test_a_server_that_has_no_state_yet_says_why() -> None:
    """Given a server that started while its store was away, expect that it tells what it waits for."""
    with short_directory() as directory:
        settings = {"wait_for_store": True}
        with (
            testing.listening(directory, f"unix://{directory}/nothing.sock", **settings) as found,
            Admin(str(found.grpc)) as admin,
        ):
            server = admin.get_server()
    assert server.stale
    assert not server.HasField("snapshot_age")
    assert not server.HasField("store")
    assert "Redis can't be reached" in server.store_problem
    assert (server.epoch, server.last_entry, server.components) == ("", "", 0)
    assert server.version
    assert server.listeners


def test_a_store_that_was_emptied_is_a_problem_although_it_answers() -> None:
    with store_server(VALKEY) as store, own_server(store) as (_, found), Admin(str(found.grpc)) as admin:
        admin.release(C, "t1")
        link = store.link()

        async def empty() -> None:
            await link.client.flushall()
            await link.close()

        asyncio.run(empty())
        eventually(lambda: "adopt" in admin.get_server().store_problem)
        server = admin.get_server()
    assert server.HasField("store")
    assert server.components == 1
