"""The messages of a call: how many there may be, how large they get, and what is asked of who sends large ones."""

import gzip
from collections.abc import Iterable
from typing import Any

import pytest
from google.rpc import code_pb2

from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.fast.frames import framed
from rampd_server.fast.requests import Requests
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.large import LARGE_BYTES


class Caller:
    """Sends a body in pieces, and counts how often it is asked for a proof."""

    def __init__(self, *pieces: bytes, goes: bool = False) -> None:
        self._events: Iterable[dict[str, Any]] = iter(
            [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
            + ([{"type": "http.disconnect"}] if goes else [{"type": "http.request", "more_body": False}])
        )
        self.read = 0
        self.asked = 0

    async def receive(self) -> dict[str, Any]:
        self.read += 1
        return next(iter(self._events))

    async def prove(self) -> None:
        self.asked += 1

    def requests(self, encoding: bytes = b"") -> Requests:
        return Requests(self.receive, encoding, self.prove)


async def refusal(caller: Caller, encoding: bytes = b"") -> str:
    with pytest.raises(CallError) as caught:
        await caller.requests(encoding).only()
    return f"{caught.value.name}: {caught.value}"


def packed(message: bytes) -> bytes:
    """A message that is compressed."""
    data = gzip.compress(message)
    return b"\x01" + framed(data)[1:]


async def test_the_only_message_is_given_without_its_frame() -> None:
    caller = Caller(framed(b"ab"))
    assert await caller.requests().only() == b"ab"
    assert caller.asked == 0


async def test_a_message_of_nothing_is_a_message() -> None:
    assert await Caller(framed(b"")).requests().only() == b""


async def test_a_stream_gives_each_message() -> None:
    body = framed(b"a") + framed(b"bc")
    assert [each async for each in Caller(body[:8], body[8:]).requests()] == [b"a", b"bc"]


@pytest.mark.parametrize("pieces", [[], [framed(b"a"), framed(b"b")]])
async def test_another_number_of_messages_is_refused(pieces: list[bytes]) -> None:
    assert (await refusal(Caller(*pieces))).startswith("UNIMPLEMENTED: The call has ")


async def test_a_body_that_is_cut_off_is_refused() -> None:
    assert "is cut off" in await refusal(Caller(framed(b"abc")[:6]))


async def test_a_body_without_frames_is_refused() -> None:
    assert (await refusal(Caller(b'{"component": "c"}'))).startswith("INTERNAL: The body of the call is not made of")


async def test_a_caller_who_goes_is_cancelled() -> None:
    assert (await refusal(Caller(framed(b"abc")[:6], goes=True))).startswith("CANCELLED")


async def test_a_compression_that_is_not_there_is_refused_at_once() -> None:
    caller = Caller(framed(b"a"))
    assert "'snappy'" in await refusal(caller, b"snappy")
    assert caller.read == 0


async def test_a_compressed_message_is_expanded() -> None:
    assert await Caller(packed(b"ab" * 100)).requests(b"gzip").only() == b"ab" * 100
    assert await Caller(framed(b"ab")).requests(b"gzip").only() == b"ab"


async def test_a_message_that_is_marked_and_has_no_compression_is_refused() -> None:
    assert "no grpc-encoding says how" in await refusal(Caller(packed(b"ab")))
    assert "no grpc-encoding says how" in await refusal(Caller(packed(b"ab")), b"identity")


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"ab")[:-1], gzip.compress(b"ab") + b"more"],
    ids=["empty", "other", "cut", "longer"],
)
async def test_what_is_not_whole_or_not_compressed_is_refused(data: bytes) -> None:
    assert "is not whole" in await refusal(Caller(b"\x01" + framed(data)[1:]), b"gzip")


async def test_a_message_that_grows_over_the_limit_is_refused() -> None:
    bomb = packed(bytes(MAX_MESSAGE_BYTES + 1))
    assert len(bomb) < LARGE_BYTES
    caller = Caller(bomb)
    assert (await refusal(caller, b"gzip")).startswith("RESOURCE_EXHAUSTED: A message has at most")
    assert await Caller(packed(bytes(MAX_MESSAGE_BYTES))).requests(b"gzip").only() == bytes(MAX_MESSAGE_BYTES)


async def test_a_message_over_the_limit_is_refused_before_it_comes() -> None:
    head = b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")
    caller = Caller(head, bytes(100))
    assert (await refusal(caller)).startswith("RESOURCE_EXHAUSTED")
    assert (caller.read, caller.asked) == (1, 0)


async def test_who_sends_a_large_message_is_asked_for_a_proof_before_it_comes_and_only_once() -> None:
    body = framed(bytes(LARGE_BYTES + 1))
    caller = Caller(body[:5], body[5:100], body[100:])
    requests = caller.requests()
    await requests._read()
    assert caller.asked == 1
    assert await requests.only() == bytes(LARGE_BYTES + 1)
    assert caller.asked == 1
    small = Caller(framed(bytes(LARGE_BYTES)))
    await small.requests().only()
    assert small.asked == 0


async def test_who_sends_what_grows_large_is_asked_for_a_proof() -> None:
    caller = Caller(packed(bytes(LARGE_BYTES + 1)))
    await caller.requests(b"gzip").only()
    assert caller.asked == 1


async def test_a_refused_proof_ends_the_call() -> None:
    class Unproven(Caller):
        async def prove(self) -> None:
            raise CallError.plain(code_pb2.UNAUTHENTICATED, "who?")

    caller = Unproven(framed(bytes(LARGE_BYTES + 1))[:5], bytes(LARGE_BYTES + 1))
    assert await refusal(caller) == "UNAUTHENTICATED: who?"
    assert caller.read == 1
