"""The messages of Watch on the wire, from a real server."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from rampd import v1
from rampd._watching.feed import Feed
from rampd.v1 import resolver_service_pb2_grpc
from rampd_server import testing
from rampd_server.rpc.watch import watch, whole_state
from rampd_server.rpc.watch.change_log import ChangeLog
from tests.servers import Stubs, reason_of, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
MAX_PART = 512 * 1024


class Watcher:
    """One stream. It is read only when the test reads it."""

    def __init__(self, target: str, *, window: int | None = None, **request: Any) -> None:
        """With a `window`, gRPC buffers at most this many bytes of the stream that are not read yet."""
        options: list[tuple[str, int]] = [("grpc.use_local_subchannel_pool", 1)]
        if window is not None:
            options += [("grpc.http2.lookahead_bytes", window), ("grpc.http2.bdp_probe", 0)]
        self.channel = grpc.insecure_channel(target, options=options)
        stub = resolver_service_pb2_grpc.ResolverServiceStub(self.channel)
        self.call = stub.Watch(v1.WatchRequest(**request), timeout=110)

    def __iter__(self) -> Iterator[v1.WatchResponse]:
        return iter(self.call)

    def until(self, is_enough: Callable[[v1.WatchResponse], object]) -> list[v1.WatchResponse]:
        """Returns the messages up to the first one for which `is_enough` is true."""
        messages = []
        for message in self.call:
            messages.append(message)
            if is_enough(message):
                return messages
        raise AssertionError(f"the stream ended: {messages}")

    def whole(self) -> list[v1.WatchResponse]:
        """Returns the messages up to the first heartbeat: the parts of a whole state, and others if there are any."""
        return self.until(lambda message: message.HasField("heartbeat"))

    def changes(self) -> list[v1.WatchChange]:
        """Returns the changes of the next message that has changes."""
        return list(self.until(lambda message: message.changes)[-1].changes)


@contextlib.contextmanager
def watcher(target: str, *, window: int | None = None, **request: Any) -> Iterator[Watcher]:
    made = Watcher(target, window=window, **request)
    try:
        yield made
    finally:
        made.call.cancel()
        made.channel.close()


def pinned(call: Stubs, number: int) -> None:
    for start in range(0, number, 1000):
        repos = range(start, min(start + 1000, number))
        call(
            "BatchSetOverrides",
            component=C,
            overrides=[v1.OverrideChange(repo=f"acme/{'r' * 60}-{n}", channel=v1.CHANNEL_NEXT) for n in repos],
        )


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records what servers encode, in order: `change` or `state`."""
    found: list[str] = []

    def count(module: Any, name: str, what: str) -> None:
        real = getattr(module, name)

        def counted(*args: Any) -> Any:
            found.append(what)
            return real(*args)

        monkeypatch.setattr(module, name, counted)

    count(watch, "change_of", "change")
    count(whole_state, "parts_of", "state")
    return found


def test_the_whole_state_comes_in_parts_and_then_every_change(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1", attributes={"commit": "1a"})
    call("Release", component=C, tag="t2", attributes={"commit": "2b"})
    call("Release", component="other", tag="o1")
    pinned(call, 20_000)
    revision = call("Ramp", component=C, percent=12.5).revision
    with watcher(target) as stream:
        messages = stream.whole()
        parts = [message.state for message in messages if message.HasField("state")]
        assert len(parts) > 5
        assert max(message.ByteSize() for message in messages) <= MAX_PART
        assert [part.first for part in parts] == [True] + [False] * (len(parts) - 1)
        assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
        assert [bool(message.cursor) for message in messages[: len(parts)]] == [part.last for part in parts]
        feed = Feed()
        for message in messages:
            feed.take(message)
        assert set(feed.components) == {C, "other"}
        known = feed.components[C]
        assert (known.snapshot.revision, known.snapshot.basis_points, len(known.overrides)) == (revision, 1250, 20_000)
        assert known.snapshot.next is not None
        assert known.snapshot.next.attributes == {"commit": "2b"}
        call("SetOverride", component=C, repo="acme/app", tag="pb/x")
        call("DeleteOverride", component=C, repo="acme/app")
        call("Rollback", component=C)
        seen = [change for _ in range(3) for change in stream.changes()]
        assert [change.component.revision for change in seen] == [revision + 1, revision + 2, revision + 3]


def test_a_change_is_sent_alone_and_encoded_once_for_all_watchers(target: str, call: Stubs, encoded: list[str]) -> None:
    call("Release", component=C, tag="t1", attributes={"note": "x" * 1000})
    call("Release", component=C, tag="t2", attributes={"note": "y" * 1000})
    pinned(call, 10_000)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(watcher(target)) for _ in range(20)]
        for stream in streams:
            stream.whole()
        assert encoded.count("state") == 1
        encoded.clear()
        call("SetOverride", component=C, repo="acme/app", tag="pb/x")
        call("Ramp", component=C, percent=10)
        call("Pause", component=C)
        for stream in streams:
            sizes: list[int] = []
            while len(sizes) < 3:
                [message] = stream.until(lambda message: message.changes)[-1:]
                sizes.extend(change.ByteSize() for change in message.changes)
            assert max(sizes) < 80
        assert encoded == ["change"] * 3


def test_a_watcher_of_one_component_gets_no_other(target: str, call: Stubs) -> None:
    for name in ("a", "b", "c"):
        call("Release", component=name, tag="t1")
    with watcher(target, components=["b", "later"]) as stream:
        [state] = [message.state for message in stream.whole() if message.HasField("state")]
        assert [piece.component for piece in state.components] == ["b"]
        call("SetOverride", component="a", repo="acme/app", tag="x")
        call("Release", component="later", tag="t1")
        call("SetOverride", component="b", repo="acme/app", tag="x")
        seen = [*stream.changes(), *stream.changes()]
        assert [change.component.component for change in seen] == ["later", "b"]


def test_watchers_get_new_and_deleted_components(target: str, call: Stubs) -> None:
    with watcher(target) as stream:
        assert [list(message.state.components) for message in stream.whole()[:1]] == [[]]
        call("Release", component=C, tag="t1")
        [born] = stream.changes()
        assert (born.component.component, born.component.resolution.current, born.deleted) == (C, 1, False)
        call("DeleteComponent", component=C, confirm=C)
        [gone] = stream.changes()
        assert (gone.component.component, gone.deleted) == (C, True)
        again = call("Release", component=C, tag="t1")
        [back] = stream.changes()
        assert (back.component.revision, back.component.resolution.current) == (again.revision, 2)


def test_heartbeats_come_about_every_second_and_say_how_fresh_the_server_is(target: str, call: Stubs) -> None:
    with watcher(target) as stream:
        beats = [stream.whole()[-1].heartbeat for _ in range(4)]
    clocks = [beat.server_clock.seconds + beat.server_clock.nanos / 1e9 for beat in beats]
    assert all(0.3 < later - earlier < 60 for earlier, later in itertools.pairwise(clocks))
    assert all(beat.snapshot_age.seconds < 60 for beat in beats)
    assert abs(beats[-1].store_time.seconds - time.time()) < 60


def test_a_watcher_that_comes_back_in_time_gets_only_the_changes_that_it_missed(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    with watcher(target) as stream:
        cursor = stream.whole()[-1].cursor
    assert cursor
    for n in range(30):
        call("SetOverride", component=C, repo="acme/app", tag=f"x{n}")
    with watcher(target, cursor=cursor) as stream:
        messages = stream.whole()
        assert not any(message.HasField("state") for message in messages)
        tags = [
            override.tag
            for message in messages
            for change in message.changes
            for override in change.component.overrides
        ]
        assert tags == [f"x{n}" for n in range(30)]
        cursor = messages[-1].cursor
    with watcher(target, cursor=cursor) as stream:
        [message] = stream.whole()
        assert (message.cursor, len(message.changes)) == (cursor, 0)


def test_a_change_that_does_not_affect_resolving_moves_only_the_cursor(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    with watcher(target) as stream:
        cursor = stream.whole()[-1].cursor
        call("Freeze", all=True)
        moved = stream.until(lambda message: message.cursor not in ("", cursor))[-1]
        assert moved.HasField("heartbeat")
    with watcher(target, cursor=moved.cursor) as stream:
        assert not any(message.HasField("state") for message in stream.whole())


@pytest.mark.parametrize("cursor", ["", "nonsense", "/", "{epoch}/x-0"])
def test_a_watcher_with_a_cursor_that_is_not_in_the_log_gets_the_whole_state(
    target: str, call: Stubs, cursor: str
) -> None:
    call("Release", component=C, tag="t1")
    with watcher(target) as stream:
        epoch = stream.whole()[-1].cursor.partition("/")[0]
    with watcher(target, cursor=cursor.format(epoch=epoch)) as stream:
        messages = stream.whole()
        assert messages[0].state.first
        assert not any(message.HasField("rewind") for message in messages)


@pytest.mark.parametrize("known", [{"cursor": "e/1-0"}, {"cursor": "e/1-0", "whole": True}])
def test_a_watcher_from_another_epoch_is_refused_until_an_operator_adopts(
    target: str, call: Stubs, store_process: StoreServer, namespace: str, known: dict[str, str]
) -> None:
    call("Release", component=C, tag="t1")
    with watcher(target, **known) as stream, pytest.raises(grpc.RpcError) as caught:
        stream.whole()
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.UNAVAILABLE, "STORE_RESET")
    assert (
        "This launcher's versions are from another store (epoch e) than this server's (epoch " in caught.value.details()
    )
    assert "The launcher keeps its versions." in caught.value.details()
    assert "rampd-server adopt" in caught.value.details()

    async def adopt() -> None:
        store = store_process.store(namespace)
        await store.begin_epoch(adopted=True)
        await store.close()

    def first() -> v1.WatchResponse:
        with watcher(target, **known) as stream:
            return stream.whole()[0]

    asyncio.run(adopt())
    eventually(lambda: first().state.first, suppressed=grpc.RpcError)


def test_a_watcher_that_is_ahead_of_the_store_gets_a_rewind_before_the_older_state(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    with watcher(target) as stream:
        epoch, _, entry = stream.whole()[-1].cursor.partition("/")
    milliseconds = int(entry.partition("-")[0])
    with watcher(target, cursor=f"{epoch}/{milliseconds + 3_600_000}-0") as stream:
        messages = stream.whole()
        assert messages[0].rewind.cursor == f"{epoch}/{entry}"
        assert messages[1].state.first
    call("SetOverride", component=C, repo="acme/app", tag="x")
    with watcher(target, cursor=f"{epoch}/{milliseconds}-99") as stream:
        messages = stream.whole()
        assert messages[0].HasField("rewind")
        assert messages[1].state.first


def test_a_server_that_stops_ends_its_streams_in_order(store_process: StoreServer, namespace: str) -> None:
    with short_directory() as directory, contextlib.ExitStack() as running:
        target = running.enter_context(testing.run(directory, store_process.url, namespace=namespace))
        with watcher(target) as stream:
            stream.whole()
            running.close()
            list(stream)
            assert stream.call.code() is grpc.StatusCode.OK


def test_a_watcher_can_go_on_at_another_server_from_its_cursor(
    store_process: StoreServer, namespace: str, target: str, call: Stubs
) -> None:
    call("Release", component=C, tag="t1")
    with watcher(target) as stream:
        cursor = stream.whole()[-1].cursor
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as other,
        stubs(other) as second,
    ):
        with watcher(other, cursor=cursor) as stream:
            assert not any(message.HasField("state") for message in stream.whole())
        with watcher(other, cursor=cursor.partition("/")[0] + "/1-0") as stream:
            assert stream.whole()[0].state.first
        second("SetOverride", component=C, repo="acme/app", tag="x")
        with watcher(target, cursor=cursor) as stream:
            assert stream.changes()[0].component.overrides[0].tag == "x"


def test_a_watcher_that_is_too_slow_for_the_log_gets_a_new_state_and_delays_no_other(
    monkeypatch: pytest.MonkeyPatch, store_process: StoreServer, namespace: str
) -> None:
    monkeypatch.setitem(ChangeLog.__init__.__kwdefaults__, "max_bytes", 1024 * 1024)
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as target,
        stubs(target) as call,
    ):
        call("Release", component=C, tag="t1")
        # The system buffers unread bytes of a stream, and how many depends on the system. So the window is small.
        with watcher(target, window=64 * 1024) as slow, watcher(target) as quick:
            slow.whole()
            quick.whole()
            feed = Feed()
            for n in range(60):
                repos = [v1.OverrideChange(repo=f"acme/{'r' * 200}-{i}", tag=f"x{n}") for i in range(500)]
                revision = call("BatchSetOverrides", component=C, overrides=repos).revision
                [change] = quick.changes()
                assert change.component.revision == revision
            received = 0
            states = 0
            for message in slow:
                received += message.ByteSize()
                if message.HasField("state"):
                    states += message.state.first
                    feed.take(message)
                elif states:
                    feed.take(message)
                if C in feed.components and feed.components[C].snapshot.revision == revision:
                    break
            assert states
            # 60 changes of about 110 KB were made.
            assert received < 60 * 110_000
            assert {choice.tag for _, choice in feed.components[C].overrides.items()} == {"x59"}


def test_many_watchers_that_connect_at_once_share_one_state(target: str, call: Stubs, encoded: list[str]) -> None:
    call("Release", component=C, tag="t1")
    pinned(call, 5000)
    encoded.clear()
    found: list[int] = []

    def come() -> None:
        with watcher(target) as stream:
            feed = Feed()
            for message in stream.whole():
                feed.take(message)
            found.append(len(feed.components[C].overrides))

    threads = [threading.Thread(target=come) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5000] * 50
    assert encoded == ["state"]


def test_a_wrong_list_of_components_is_refused(target: str) -> None:
    with watcher(target, components=["NO", "a", "a"]) as stream:
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert reason_of(caught.value) == "INVALID_FIELD"
