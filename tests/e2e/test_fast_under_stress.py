"""The fast listener of a server as a process: a server that stands still, and callers that send anything at all."""

import asyncio
import contextlib
import os
import random
import signal
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from rampd import v1
from tests.bench.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame
from tests.fast import RESOLVE, WATCH
from tests.nights import IS_NIGHT
from tests.raw_calls import PREFACE, call, head
from tests.servers import ServerProcess, rampd_server, stubs
from tests.soak.samples import Sample, take
from tests.waiting import eventually_async

C = "restyler"
QUESTION = v1.ResolveRequest(component=C, repo="acme/app", job_id="4711").SerializeToString()
CALLS_A_SECOND, BATCHES_A_SECOND = 1000, 100
BEFORE_S, STILL_S, AFTER_S = 1.0, 3.0, 2.0
LIMIT_S = 1.0
"""How much time each call has, less than a server stands still."""
FUZZ_S = 60.0 if IS_NIGHT else 5.0
WARM_UP_S = 1.0
CONNECTIONS = 8
MOST_FRAMES = 30
GROWTH_MIB = 20.0
"""What a server may have kept of anything that was sent: its libraries' own stores of memory. After 160,000 connections it was 4 MiB."""
BACKLOG_MIB = 40.0
"""What it may have kept of the 3,000 calls that were there at once when it went on: it was more than 20 MiB."""


@pytest.fixture
def server(directory: Path) -> Iterator[ServerProcess]:
    with rampd_server(directory, "--insecure-admin", "--fast-listen", "127.0.0.1:0") as running:
        running.event("serving")
        with stubs(running.target) as made:
            made("Release", component=C, tag="t1")
        yield running


@contextlib.asynccontextmanager
async def resolving(server: ServerProcess) -> AsyncIterator["grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(server.fast_target, options=options) as channel:
        resolve: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(RESOLVE)
        yield resolve


async def answered(resolve: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", limit_s: float) -> str:
    """Asks once. Returns the tag, or the name of the status."""
    try:
        return v1.ResolveResponse.FromString(await resolve(QUESTION, timeout=limit_s)).tag
    except grpc.aio.AioRpcError as error:
        return error.code().name


async def require_back(server: ServerProcess, before: Sample, most_mib: float) -> None:
    """Waits until a server has no more files than before, and about as much memory."""
    pid = server.process.pid
    await eventually_async(lambda: take(pid, 0).descriptors <= before.descriptors)
    await eventually_async(lambda: take(pid, 0).anonymous_mib <= before.anonymous_mib + most_mib)


async def asked_for(seconds: float, resolve: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]") -> Counter[str]:
    """Sends calls at their rate, whatever becomes of them, and returns how they ended."""
    calls, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        calls += [asyncio.create_task(answered(resolve, LIMIT_S)) for _ in range(CALLS_A_SECOND // BATCHES_A_SECOND)]
        await asyncio.sleep(1 / BATCHES_A_SECOND)
    return Counter(await asyncio.gather(*calls))


async def test_callers_of_a_server_that_stands_still_are_late_and_then_all_is_as_before(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a thousand calls a second, expect no other end than an answer or the call's own time, and that nothing stays."""
    pid = server.process.pid
    async with resolving(server) as resolve:
        assert set(await asked_for(BEFORE_S, resolve)) <= {"t1", "DEADLINE_EXCEEDED"}
        before = take(pid, 0)
        os.kill(pid, signal.SIGSTOP)
        try:
            still = await asked_for(STILL_S, resolve)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert set(still) == {"DEADLINE_EXCEEDED"}
        assert await answered(resolve, 60) == "t1"
        after = await asked_for(AFTER_S, resolve)
        assert set(after) <= {"t1", "DEADLINE_EXCEEDED"}
        assert after["t1"] > 0
        await require_back(server, before, BACKLOG_MIB)
        growth_mib = take(pid, 0).anonymous_mib - before.anonymous_mib
    with capsys.disabled():
        print(f"\nwhile it stood still: {dict(still)}; then: {dict(after)}; memory: {growth_mib:+.0f} MiB")


class Fuzz:
    """What a caller sends who knows HTTP/2 and gRPC, and follows neither."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._stream = 1

    def connection(self) -> bytes:
        """All that one connection sends."""
        draw = self._random
        self._stream = 1
        start = PREFACE + frame(SETTINGS, 0, 0, b"") if draw.random() < 0.9 else draw.randbytes(draw.randrange(60))
        frames = [self._part() for _ in range(draw.randrange(MOST_FRAMES))]
        sent = bytearray(start + b"".join(frames)) or bytearray(1)
        for _ in range(draw.choice((0, 0, 0, 1, 5))):
            sent[draw.randrange(len(sent))] ^= 1 << draw.randrange(8)
        return bytes(sent[: draw.randrange(len(sent) + 1)] if draw.random() < 0.1 else sent)

    def pause_s(self) -> float:
        """How long a caller then waits until it goes."""
        return self._random.choice((0, 0, 0.005, 0.05))

    def _part(self) -> bytes:
        return self._random.choice((self._call, self._call_with_wrong_body, self._call_with_wrong_head, self._frame))()

    def _next_stream(self) -> int:
        self._stream += 2
        return self._stream

    def _call(self) -> bytes:
        return call(self._next_stream(), self._random.choice((RESOLVE, WATCH, "/none")))

    def _call_with_wrong_body(self) -> bytes:
        draw, stream = self._random, self._next_stream()
        message = draw.choice((QUESTION, draw.randbytes(draw.randrange(300)), b""))
        right = len(message)
        length = draw.choice((right, right, right, 0, right + 1, draw.randrange(1 << 16), draw.randrange(1 << 32)))
        body = struct.pack(">BI", draw.choice((0, 0, 0, 1, draw.randrange(256))), length) + message
        pieces = [body[: (cut := draw.randrange(len(body)))], body[cut:]]
        ends = [0, draw.choice((END_STREAM, END_STREAM, 0))]
        frames = (frame(DATA, flags, stream, piece) for flags, piece in zip(ends, pieces, strict=True))
        return frame(HEADERS, END_HEADERS, stream, head(draw.choice((RESOLVE, WATCH)))) + b"".join(frames)

    def _call_with_wrong_head(self) -> bytes:
        draw = self._random
        block = bytearray(head(more=draw.randbytes(draw.randrange(50))))
        for _ in range(draw.randrange(4)):
            block[draw.randrange(len(block))] = draw.randrange(256)
        return frame(
            HEADERS, draw.choice((END_HEADERS, END_HEADERS | END_STREAM, 0)), self._next_stream(), bytes(block)
        )

    def _frame(self) -> bytes:
        draw = self._random
        stream = draw.choice((0, self._stream, draw.randrange(1 << 31)))
        payload = draw.randbytes(draw.choice((0, 4, 5, 6, 8, draw.randrange(200), draw.randrange(20_000))))
        return frame(draw.randrange(12), draw.randrange(256), stream, payload)


async def fuzz_for(seconds: float, fuzz: Fuzz, server: ServerProcess) -> int:
    """Sends what `fuzz` makes, over some connections at once. Returns over how many in all."""
    host, _, port = server.fast_target.rpartition(":")
    end, number = time.monotonic() + seconds, 0

    async def send() -> None:
        nonlocal number
        while time.monotonic() < end:
            sent, pause_s = fuzz.connection(), fuzz.pause_s()
            reader, writer = await asyncio.open_connection(host, int(port))
            number += 1
            with contextlib.suppress(ConnectionError, TimeoutError):
                writer.write(sent)
                async with asyncio.timeout(pause_s + 0.01):
                    await writer.drain()
                    while await reader.read(1 << 16):
                        pass
            # A reset leaves no connection in TIME_WAIT on this machine.
            writer.transport.abort()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return number


@contextlib.asynccontextmanager
async def asking(resolve: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]") -> AsyncIterator[Counter[str]]:
    """Asks one call after the other until the end of the block, and counts the answers."""
    answers: Counter[str] = Counter()

    async def keep_asking() -> None:
        while True:
            answers[await answered(resolve, 60)] += 1
            await asyncio.sleep(0.01)

    task = asyncio.create_task(keep_asking())
    try:
        yield answers
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_whatever_callers_send_the_others_are_answered_and_nothing_stays(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"again: FUZZ_SEED={seed}")
    fuzz = Fuzz(seed)
    async with resolving(server) as resolve:
        async with asking(resolve) as answers:
            await fuzz_for(WARM_UP_S, fuzz, server)
            await asyncio.sleep(0.5)
            before = take(server.process.pid, 0)
            connections = await fuzz_for(FUZZ_S, fuzz, server)
        assert set(answers) == {"t1"}
        assert server.process.poll() is None
        await require_back(server, before, GROWTH_MIB)
        after = take(server.process.pid, 0)
    assert not [line for line in server.log if line["level"] == "error"]
    assert not [line for line in server.said if "Traceback" in line or "panicked" in line]
    with capsys.disabled():
        print(f"\n{connections:,} connections sent anything, and {answers.total():,} calls beside them were answered")
        print(f"memory before and after: {before.anonymous_mib:.0f} and {after.anonymous_mib:.0f} MiB")
