"""A connection over which commands go without waiting: each answer goes to its command, whatever happens to the others."""

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Connection

from rampd_server.storage.finding import Leave, Node
from rampd_server.storage.redis_errors import ElsewhereError
from rampd_server.storage.wire import Wire
from tests.waiting import eventually_async

NODE = "10.0.0.1:6379"
READONLY = b"-READONLY You can't write against a read only replica.\r\n"


class FakeTransport(asyncio.Transport):
    """Keeps what is written. As with a real one, its protocol learns later that it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_ended = False
        self.protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        if self.is_ended:
            raise RuntimeError("the handler is closed")
        self.written += data

    def is_closing(self) -> bool:
        return self.is_ended

    def close(self) -> None:
        self.lose(None)

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        if not self.is_ended:
            self.is_ended = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)


class FakeFinder:
    def __init__(self) -> None:
        self.doubts: list[str] = []

    async def address(self) -> Node:
        return Node("10.0.0.1", 6379)

    def doubt(self, why: str) -> None:
        self.doubts.append(why)

    def subscribe(self, leave: Leave) -> None:
        pass


class Wired:
    """A wire over a fake transport, and what a test does as Redis."""

    def __init__(self, *, timeout_s: float = 60.0, is_found: bool = False) -> None:
        self.transport = FakeTransport()
        self.connection: Any = Connection(decode_responses=True, encoding_errors="surrogateescape", protocol=2)
        self.connection._reader = SimpleNamespace(at_eof=lambda: False)
        self.connection._writer = SimpleNamespace(transport=self.transport)
        self.finder = FakeFinder()
        found = {"finder": self.finder, "node": NODE} if is_found else {}
        self.wire = Wire(self.connection, timeout_s=timeout_s, **found)

    async def asked(self, *names: str) -> "list[asyncio.Task[Any]]":
        """Returns commands that were sent and wait."""
        tasks = [asyncio.create_task(self.wire.ask("GET", name)) for name in names]
        await asyncio.sleep(0)
        return tasks

    async def answer(self, data: bytes) -> None:
        self.wire.data_received(data)
        await asyncio.sleep(0)


def text(answer: str) -> bytes:
    return f"+{answer}\r\n".encode()


async def error_of(waiting: "asyncio.Task[Any]") -> BaseException:
    with pytest.raises((exceptions.RedisError, RuntimeError)) as caught:
        await waiting
    return caught.value


async def test_commands_are_sent_at_once_and_get_their_answers_in_order():
    line = Wired()
    tasks = await line.asked("a", "b", "c")

    assert line.transport.written == b"".join(b"*2\r\n$3\r\nGET\r\n$1\r\n%b\r\n" % name for name in (b"a", b"b", b"c"))
    await line.answer(text("1") + b"+2\r\n*2\r\n:3\r\n")
    assert [task.done() for task in tasks] == [True, True, False]
    await line.answer(b"$2\r\n\xc3\xbc\r\n")
    assert [await task for task in tasks] == ["1", "2", [3, "ü"]]


async def test_an_answer_that_is_an_error_fails_only_its_own_command():
    line = Wired()
    first, second, third = await line.asked("a", "b", "c")
    await line.answer(text("1") + b"-NOSCRIPT No matching script.\r\n" + text("3"))

    assert (await first, await third) == ("1", "3")
    assert isinstance(await error_of(second), exceptions.NoScriptError)


async def test_a_caller_that_gives_up_does_not_move_the_answers_of_the_others():
    line = Wired()
    first, second, third = await line.asked("a", "b", "c")
    second.cancel()
    await asyncio.sleep(0)
    await line.answer(text("1") + text("2") + text("3"))

    assert (await first, second.cancelled(), await third) == ("1", True, "3")


async def test_a_command_that_can_not_be_sent_waits_for_no_answer():
    line = Wired()
    with pytest.raises(exceptions.DataError):
        await line.wire.ask("GET", None)
    [task] = await line.asked("a")
    await line.answer(text("1"))

    assert task.done()
    assert await task == "1"


class Kind(StrEnum):
    """A text of a type of its own."""

    NEXT = "next"


@pytest.mark.parametrize("argument", ["ü", b"\xff\x00", 17, 1.5, "", "\udcff", Kind.NEXT, "a" * 100_000])
async def test_each_argument_is_sent_as_redis_py_sends_it(argument: object):
    line = Wired()
    task = asyncio.create_task(line.wire.ask("SET", "key", argument))
    await asyncio.sleep(0)

    assert line.transport.written == b"".join(line.connection.pack_command("SET", "key", argument))
    await line.answer(text("OK"))
    assert await task == "OK"


async def test_all_commands_that_wait_fail_with_a_connection_that_is_lost_each_with_an_error_of_its_own():
    line = Wired()
    tasks = await line.asked("a", "b")
    line.transport.lose(OSError(104, "Connection reset by peer"))
    first, second = [await error_of(task) for task in tasks]

    assert isinstance(first, exceptions.ConnectionError)
    assert "Connection reset by peer" in str(first)
    assert (str(first), first is second) == (str(second), False)
    assert not line.wire.takes_commands
    with pytest.raises(exceptions.ConnectionError):
        await line.wire.ask("GET", "c")


async def test_a_connection_that_ended_before_it_is_taken_over_is_lost():
    line = Wired()
    line.connection._reader, line.connection._writer = SimpleNamespace(at_eof=lambda: True), None

    with pytest.raises(exceptions.ConnectionError, match="closed"):
        Wire(line.connection, timeout_s=1.0)


async def test_a_connection_that_is_closing_is_not_taken_over():
    """Given a TLS connection that was lost a moment ago, which the stream of redis-py does not know yet, expect no wait for ever."""
    line = Wired()
    connection: Any = Connection()
    connection._reader, connection._writer = SimpleNamespace(at_eof=lambda: False), line.wire._writer
    line.transport.is_ended = True

    with pytest.raises(exceptions.ConnectionError, match="closed"):
        Wire(connection, timeout_s=1.0)
    connection._writer = None


async def test_redis_py_does_not_use_a_connection_that_was_taken_over():
    assert not Wired().connection.is_connected


async def test_a_connection_whose_answer_is_late_is_silent_until_the_answer_comes():
    line = Wired(timeout_s=0.02)
    assert not line.wire.is_silent
    first, second = await line.asked("a", "b")
    second.cancel()
    await eventually_async(lambda: line.wire.is_silent)
    await line.answer(text("1"))
    assert line.wire.is_silent  # nobody waits for the second answer, but it has not come either
    await line.answer(text("2"))

    assert not line.wire.is_silent
    assert await first == "1"


async def test_a_connection_is_left_when_a_caller_gives_up_on_an_answer_that_is_late():
    """Expect it also if no other call comes: otherwise the command could reach Redis minutes later."""
    line = Wired(timeout_s=0.02, is_found=True)
    [task] = await line.asked("a")
    await eventually_async(lambda: line.wire.is_silent)
    task.cancel()
    await asyncio.sleep(0)

    assert (line.wire.takes_commands, line.finder.doubts) == (False, ["the primary does not answer in time"])
    await eventually_async(lambda: line.transport.is_ended)


async def test_a_connection_that_is_left_answers_what_waits_and_closes():
    line = Wired()
    first, second = await line.asked("a", "b")
    line.wire.leave()
    assert not line.wire.takes_commands
    await line.answer(text("1"))
    assert not line.transport.is_ended
    await line.answer(text("2"))

    assert (await first, await second) == ("1", "2")
    assert line.transport.is_ended


async def test_a_connection_that_is_left_without_a_command_that_waits_closes_at_once():
    line = Wired()
    line.wire.leave()
    assert line.transport.is_ended


async def test_a_dead_connection_that_is_left_closes_when_nobody_waits_any_more():
    line = Wired(timeout_s=0.02)
    [task] = await line.asked("a")
    line.wire.leave()
    await eventually_async(lambda: line.transport.is_ended)

    assert isinstance(await error_of(task), exceptions.ConnectionError)


async def test_a_connection_that_answers_nonsense_ends_and_all_commands_that_wait_fail():
    line = Wired()
    tasks = await line.asked("a", "b", "c")
    await line.answer(text("1") + b"HTTP/1.1 400\r\n")
    first, *others = await asyncio.gather(*tasks, return_exceptions=True)

    assert line.transport.is_ended
    assert (first, [type(other) for other in others]) == ("1", [exceptions.InvalidResponse] * 2)


async def test_a_connection_that_answers_what_nobody_has_asked_ends():
    line = Wired()
    [task] = await line.asked("a")
    await line.answer(text("1") + text("2"))

    assert await task == "1"
    assert line.transport.is_ended


async def test_a_node_that_says_that_it_is_a_replica_gets_no_more_commands_and_counts_as_lost():
    """Expect that it still answers what it has got: one slot of a cluster that moves does not fail the calls of the others."""
    line = Wired(is_found=True)
    first, second, third = await line.asked("a", "b", "c")
    await line.answer(text("1") + READONLY)
    error = await error_of(second)

    assert isinstance(error, ElsewhereError)
    assert isinstance(error.__cause__, exceptions.ReadOnlyError)
    assert line.finder.doubts == [str(error)]
    assert not line.wire.takes_commands
    assert not line.transport.is_ended
    await line.answer(text("3"))
    assert (await first, await third) == ("1", "3")
    await asyncio.sleep(0)
    # What is left does not cause a look.
    assert (line.transport.is_ended, len(line.finder.doubts)) == (True, 1)


async def test_the_primary_is_in_doubt_also_if_nobody_waits_for_its_refusal_any_more():
    line = Wired(is_found=True)
    [task] = await line.asked("a")
    task.cancel()
    await asyncio.sleep(0)
    await line.answer(READONLY)

    assert len(line.finder.doubts) == 1


async def test_a_store_whose_address_does_not_change_keeps_its_connection_after_a_refusal():
    line = Wired()
    [task] = await line.asked("a")
    await line.answer(READONLY)

    assert isinstance(await error_of(task), exceptions.ReadOnlyError)
    assert line.wire.takes_commands


@pytest.mark.parametrize(
    "answer", [b"-NOAUTH Authentication required.\r\n", b"-LOADING Redis is loading the dataset.\r\n"]
)
async def test_a_connection_that_redis_does_not_serve_is_not_used_again(answer: bytes):
    """As with redis-py. The call is made once more, over a connection that has proven who it is."""
    line = Wired()
    first, second = await line.asked("a", "b")
    await line.answer(answer)
    assert isinstance(await error_of(first), exceptions.ConnectionError)
    assert not line.wire.takes_commands
    await line.answer(text("2"))

    assert (await second, line.transport.is_ended) == ("2", True)


async def test_a_primary_whose_connection_is_lost_is_in_doubt():
    line = Wired(is_found=True)
    line.transport.lose(None)
    await asyncio.sleep(0)

    assert line.finder.doubts == ["Connection closed by server."]


async def test_a_connection_that_is_ended_causes_no_doubt():
    """It is ended because the primary is another one."""
    line = Wired(is_found=True)
    [task] = await line.asked("a")
    line.wire.end()

    assert isinstance(await error_of(task), exceptions.ConnectionError)
    assert line.finder.doubts == []


async def test_callers_go_on_in_the_order_of_their_answers():
    """A server takes in its own changes in the order of the feed."""
    line, order = Wired(), []

    async def ask(name: str) -> None:
        async with asyncio.timeout(60):
            await line.wire.ask("GET", name)
        order.append(name)

    asking: list[Coroutine[Any, Any, None]] = [ask(name) for name in "abcdef"]
    tasks = [asyncio.create_task(each) for each in asking]
    await asyncio.sleep(0)
    line.wire.data_received(text("1") * 2)
    line.wire.data_received(text("1") * 4)
    await asyncio.gather(*tasks)

    assert order == list("abcdef")
