"""A Redis that refuses, does not answer or is unreachable: within about a second an error says what to do, and nothing is
half done."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import exceptions
from redis.asyncio import UnixDomainSocketConnection

from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.ports import Override
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import redis_errors
from rampd_server.storage.store import RedisStore
from rampd_server.storage.wire import Wire
from tests.contract.conftest import silent
from tests.contract.driving import ADA, COMPONENT, commit, contents, decide, do
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import PATIENCE_S


@pytest.fixture(params=[VALKEY, REDIS])
def own_server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    """A server that a test may stop or fill."""
    with store_server(request.param) as server:
        yield server


async def test_an_error_names_a_full_memory_and_nothing_is_half_written(own_store: RedisStore):
    rollout = (await own_store.read(COMPONENT)).rollout
    before = await contents(own_store)
    await own_store.client.config_set("maxmemory", "1mb")

    with pytest.raises(StoreUnavailableError, match="maxmemory") as caught:
        await commit(own_store, rollout, decide(rollout, commands.Ramp(1)))
    assert caught.value.metadata == {"code": "OOM"}
    with pytest.raises(StoreUnavailableError):
        await own_store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA)

    assert await contents(own_store) == before
    assert (await own_store.read(COMPONENT)).rollout == rollout


async def test_an_error_names_a_replica_and_reads_from_it_work(own_store: RedisStore):
    rollout = (await own_store.read(COMPONENT)).rollout
    await own_store.client.replicaof("127.0.0.1", "1")

    with pytest.raises(StoreUnavailableError, match="primary") as caught:
        await commit(own_store, rollout, decide(rollout, commands.Ramp(1)))

    assert caught.value.metadata == {"code": "READONLY"}
    assert (await own_store.read(COMPONENT)).rollout == rollout


async def test_an_error_names_too_few_replicas(own_store: RedisStore):
    rollout = (await own_store.read(COMPONENT)).rollout
    await own_store.client.config_set("min-replicas-to-write", "1")

    with pytest.raises(StoreUnavailableError) as caught:
        await commit(own_store, rollout, decide(rollout, commands.Ramp(1)))

    assert caught.value.metadata == {"code": "NOREPLICAS"}


async def test_an_error_names_a_user_without_rights(own_server: StoreServer, own_store: RedisStore):
    await own_store.client.execute_command("ACL", "SETUSER", "default", "-@scripting")

    with pytest.raises(StoreUnavailableError, match="ACL LOG") as caught:
        await own_store.sweep_overrides(COMPONENT)

    assert caught.value.metadata == {"code": "NOPERM"}


async def test_an_error_names_a_wrong_password(own_server: StoreServer, own_store: RedisStore):
    await own_store.client.config_set("requirepass", "secret")
    stranger = RedisStore(Link.connect(own_server.url, deadline_s=10.0))
    impostor = RedisStore(Link.connect(f"{own_server.url}?password=wrong", deadline_s=10.0))

    with pytest.raises(StoreUnavailableError, match="RAMPD_REDIS_URL"):
        await stranger.head()
    with pytest.raises(StoreUnavailableError, match="RAMPD_REDIS_URL"):
        await impostor.head()
    await stranger.close()
    await impostor.close()


async def test_a_call_ends_if_the_store_does_not_answer_and_the_store_is_used_again_later(
    own_server: StoreServer, own_store: RedisStore
):
    rollout = (await own_store.read(COMPONENT)).rollout
    with silent(own_server, own_store):
        for call in (
            own_store.head(),
            own_store.read(COMPONENT),
            own_store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA),
        ):
            # The connection itself would wait for a minute.
            async with asyncio.timeout(PATIENCE_S / 2):
                with pytest.raises(StoreUnavailableError, match="in time"):
                    await call

    # The sent write happens exactly once, when the store continues.
    after = (await own_store.read(COMPONENT)).rollout
    assert after.revision in {rollout.revision, rollout.revision + 1}
    await commit(own_store, after, decide(after, commands.Ramp(1)))


async def test_a_call_to_an_unreachable_store_ends(own_server: StoreServer, own_store: RedisStore):
    own_server.signal(signal.SIGKILL)
    assert own_server.process is not None
    own_server.process.wait()

    for call in (
        own_store.head(),
        own_store.is_empty(),
        own_store.read(COMPONENT),
        own_store.feed("0-0", block_ms=10),
        own_store.sweep_overrides(COMPONENT),
        own_store.begin_epoch(adopted=True),
    ):
        with pytest.raises(StoreUnavailableError, match="can't be reached"):
            await call


async def test_dead_connections_in_the_pool_do_not_fail_a_call(own_server: StoreServer, own_store: RedisStore):
    async with own_server.client() as killer:
        for percent in range(1, 5):
            await asyncio.gather(*(own_store.head() for _ in range(20)))
            await killer.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await do(own_store, commands.Ramp(percent))

    assert (await own_store.read(COMPONENT)).rollout.revision == 6


async def test_many_callers_share_a_limited_number_of_connections(own_server: StoreServer):
    store = own_server.store()
    await asyncio.gather(*(store.head() for _ in range(300)))

    assert len(await store.client.client_list()) <= 34
    await store.close()


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ResponseError(
            "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk"
        ),
        exceptions.ResponseError(
            "MISCONF Errors writing to the AOF file: No space left on device script: 9f, on @u:7."
        ),
        exceptions.ResponseError("ERR Error running script (call to f_9f): @user_script:7: -MISCONF Errors writing"),
        exceptions.ReadOnlyError("You can't write against a read only replica. script: 9f"),
        exceptions.ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL"),
        exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
        exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"),
        exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        exceptions.AuthenticationError("invalid username-password pair"),
        exceptions.ResponseError("ERR something that nobody has seen yet"),
        exceptions.ConnectionError("Error 111 connecting to localhost:6379. Connection refused."),
        exceptions.TimeoutError("Timeout reading from localhost:6379"),
        exceptions.InvalidResponse("Protocol Error: b'x'"),
        TimeoutError(),
        OSError(28, "No space left on device"),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
        AttributeError("'NoneType' object has no attribute 'write'"),
        asyncio.IncompleteReadError(b"", 4),
    ],
    ids=repr,
)
def test_every_error_of_redis_becomes_an_error_of_rampd(error: Exception):
    with pytest.raises(StoreUnavailableError) as caught, redis_errors():
        raise error

    assert caught.value.__cause__ is error
    assert caught.value.message.endswith((".", str(error)))


@pytest.mark.parametrize(
    "error",
    [exceptions.ConnectionError, exceptions.RedisError, exceptions.ResponseError, OSError],
    ids=lambda kind: kind.__name__,
)
def test_a_quoted_message_of_redis_ends_with_one_full_stop(error: type[Exception]):
    for words in ("Connection refused", "Connection refused."):
        with pytest.raises(StoreUnavailableError, match=r"Connection refused\. Look") as caught, redis_errors():
            raise error(words)
        assert ".." not in str(caught.value)


@pytest.mark.parametrize("kind", [RuntimeError, AttributeError, EOFError])
async def test_a_link_that_breaks_while_it_is_written_to_is_opened_again(
    own_store: RedisStore, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    send, broken = UnixDomainSocketConnection.send_packed_command, []

    async def breaks(connection: UnixDomainSocketConnection, *arguments: object, **options: object) -> None:
        if len(broken) < most:
            broken.append(connection)
            await connection.disconnect(nowait=True)
            raise kind("the handler is closed")
        await send(connection, *arguments, **options)

    names = await own_store.components(after="", limit=10)
    monkeypatch.setattr(UnixDomainSocketConnection, "send_packed_command", breaks)
    most = 1
    assert await own_store.components(after="", limit=10) == names
    assert len(broken) == 1
    most = 1000
    with pytest.raises(StoreUnavailableError, match="the handler is closed"):
        await own_store.components(after="", limit=10)
    most = 0
    assert await own_store.components(after="", limit=10) == names


@pytest.mark.parametrize("kind", [RuntimeError, AttributeError, EOFError])
async def test_a_link_that_breaks_while_a_script_is_written_to_it_is_opened_again(
    own_store: RedisStore, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    ask, broken = Wire.ask, []

    async def breaks(wire: Wire, *command: object) -> object:
        if len(broken) < most:
            broken.append(wire)
            wire.end()
            raise kind("the handler is closed")
        return await ask(wire, *command)

    monkeypatch.setattr(Wire, "ask", breaks)
    most = 1
    rollout = await do(own_store, commands.Ramp(1))
    assert len(broken) == 1
    most = 1000
    with pytest.raises(StoreUnavailableError, match="the handler is closed"):
        await commit(own_store, rollout, decide(rollout, commands.Ramp(2)))
    most = 0
    assert (await own_store.read(COMPONENT)).rollout == rollout


def test_a_wrong_type_is_an_error_of_the_data_that_names_the_key():
    with pytest.raises(StoreCorruptError) as caught, redis_errors("rampd:{a}:meta"):
        raise exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")

    assert caught.value.metadata == {"key": "rampd:{a}:meta"}


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ReadOnlyError(
            f"You can't write against a read only replica. script: {'371a4b' * 7}, on @user_script:303."
        ),
        exceptions.ResponseError(
            f"READONLY You can't write against a read only replica. script: {'9f' * 20}, on @user_script:7"
        ),
    ],
)
def test_an_error_does_not_show_the_place_in_a_script(error: Exception):
    with pytest.raises(StoreUnavailableError) as caught, redis_errors():
        raise error

    assert caught.value.message.endswith("You can't write against a read only replica.")


def test_errors_that_are_not_from_redis_pass_through():
    with pytest.raises(KeyError), redis_errors():
        raise KeyError("x")


def test_an_invalid_url_or_namespace_is_a_mistake(tmp_path: Path):
    with pytest.raises(ValueError, match="URL"):
        RedisStore(Link.connect("http://localhost:6379"))
    for namespace in ("", "a}b", "a*", "A", "-a", "a\n", "a" * 64):
        with pytest.raises(ValueError, match="namespace"):
            RedisStore(Link.connect(f"unix://{tmp_path}/x", namespace=namespace))


@pytest.mark.parametrize("came", [None, exceptions.ConnectionError("gone"), TimeoutError(), OSError("no such file")])
async def test_a_cancellation_that_the_redis_client_swallows_ends_the_task(came: Exception | None):
    """Given a call that is cancelled while it connects, and its result instead of the cancellation, expect that its task ends."""
    begun = asyncio.Event()

    async def call_again_and_again() -> None:
        for _ in range(2):
            with contextlib.suppress(StoreUnavailableError), redis_errors():
                try:
                    begun.set()
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if came is not None:
                        raise came from None

    task = asyncio.create_task(call_again_and_again())
    await begun.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE_S)

    assert task.cancelled()
