"""A thousand watchers that connect at once, watchers that do not read, and the size of the message for one override."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path

import grpc

from rampd import v1
from rampd.v1 import resolver_service_pb2_grpc as generated
from tests import filling
from tests.bench import cores, running
from tests.bench.fanout import SETTLE_S, WATCH
from tests.bench.http2 import Http2
from tests.bench.load import median
from tests.bench.report import Row, at_most, plain
from tests.bench.rounds import in_turns, ratios
from tests.bench.scale import Scale
from tests.bench.size import filled
from tests.bench.watchers import Watchers
from tests.servers import ServerProcess

SET, BATCH = "/rampd.v1.RolloutService/SetOverride", "/rampd.v1.RolloutService/BatchSetOverrides"
WATCHERS, NOT_READING, LISTENING = 1000, 100, 10
ALL = v1.WatchRequest().SerializeToString()
MESSAGE_BYTES = 128
GROWTH_KB = 32
"""How much the memory for a watcher that does not read may still grow. By then its one message (at most 256 KiB) and gRPC's
buffers are full.
"""
SLOWER = 1.2
FILLING = 6
_numbers = count()


def run(scale: Scale) -> list[Row]:
    with (
        filled(1, scale.overrides // 100) as store,
        running.rampd(store, "--log-level", "debug") as server,
        cores.on(cores.LOAD),
    ):
        rows = [*all_at_once(server), *not_reading(server, scale)]
    number = scale.overrides // 10
    with filled(1, number) as store, running.rampd(store) as server, cores.on(cores.LOAD):
        return [*rows, one_override(server, number)]


def all_at_once(server: ServerProcess) -> list[Row]:
    size = state_bytes(server)
    before = encodings(server)
    with closing(Watchers(server.target, WATCH, ALL, WATCHERS)) as watchers:
        seconds = watchers.until_each_has(size)
    made = encodings(server) - before
    return [
        plain(f"{WATCHERS:,} watchers at once: the whole state for each", [size / 1024], "KB"),
        plain(f"{WATCHERS:,} watchers at once, until all have it", [seconds], "s"),
        at_most("  how often the state was encoded", [made], "", 1),
    ]


def state_bytes(server: ServerProcess) -> int:
    """Returns the bytes of all messages of a whole state, each with gRPC's five bytes. It uses a selection that no other
    watcher has, so that the state of the others is not encoded yet.
    """
    size = 0
    with grpc.insecure_channel(server.target) as channel:
        for message in generated.ResolverServiceStub(channel).Watch(v1.WatchRequest(components=[filling.LARGE])):
            size += 5 + message.ByteSize()
            if message.state.last:
                break
    return size


def encodings(server: ServerProcess) -> int:
    time.sleep(0.2)  # a thread reads the log, and needs a moment
    return sum(line.get("event") == "whole_state_encoded" for line in server.log)


def not_reading(server: ServerProcess, scale: Scale) -> list[Row]:
    """Measures changes with and without watchers that do not read, in turns. Then makes more changes than the server keeps."""
    changes = max(30, scale.calls // 20)
    with closing(Watchers(server.target, WATCH, ALL, LISTENING)) as watchers:
        watchers.until_each_has(1)
        alone, beside = in_turns(
            scale.rounds,
            lambda: many_changes(watchers, changes // 5),
            lambda: seconds_beside_not_reading(server, watchers, changes // 5),
        )
        many_changes(watchers, changes)
        before = resident_kb(server)
        with watchers_not_reading(server, watchers):
            many_changes(watchers, changes)
            first = resident_kb(server)
            many_changes(watchers, changes)
            second = resident_kb(server)
    return [
        plain(
            f"{LISTENING} watchers, 1,000 overrides changed: from the call to the last watcher",
            milliseconds(alone),
            "ms",
        ),
        plain(f"  the same beside {NOT_READING} that do not read", milliseconds(beside), "ms"),
        at_most("  ratio", ratios(beside, alone), "", SLOWER),
        plain("  memory for each that does not read", [(first - before) / NOT_READING], "KB"),
        at_most(
            "  growth of that memory after as many changes again", [(second - first) / NOT_READING], "KB", GROWTH_KB
        ),
    ]


@contextmanager
def watchers_not_reading(server: ServerProcess, watchers: Watchers) -> Iterator[None]:
    """Keeps watchers connected that ask for everything and never read."""
    with ExitStack() as stack:
        for _ in range(NOT_READING):
            connection = stack.enter_context(closing(Http2(server.target, window=65_535)))
            connection.socket.sendall(connection.request(WATCH, ALL))
        watchers.drain(SETTLE_S)
        yield


def seconds_beside_not_reading(server: ServerProcess, watchers: Watchers, changes: int) -> float:
    with watchers_not_reading(server, watchers):
        # Fills their connections: gRPC buffers less than this for a watcher.
        many_changes(watchers, FILLING)
        return many_changes(watchers, changes)


def milliseconds(seconds: list[float]) -> list[float]:
    return [1000 * each for each in seconds]


def many_changes(watchers: Watchers, changes: int) -> float:
    """Returns the median of the seconds from the call to the last watcher."""
    return median([sum(change_thousand(watchers)) for _ in range(changes)])


def change_thousand(watchers: Watchers) -> tuple[float, float]:
    tag = f"pb/crowd-{next(_numbers)}"
    changes = [v1.OverrideChange(repo=filling.repo(number), tag=tag) for number in range(filling.BATCH)]
    request = v1.BatchSetOverridesRequest(component=filling.LARGE, overrides=changes).SerializeToString()
    return watchers.change(BATCH, request, tag.encode())[:2]


def one_override(server: ServerProcess, number: int) -> Row:
    tag = "pb/secret-branch"
    request = v1.SetOverrideRequest(component=filling.LARGE, repo=filling.repo(1), tag=tag).SerializeToString()
    with closing(Watchers(server.target, WATCH, ALL, 1)) as watchers:
        watchers.until_each_has(state_bytes(server))
        _, _, frame = watchers.change(SET, request, tag.encode())
    return at_most(f"one override among {number:,}: message to each watcher", [len(frame) - 5], "bytes", MESSAGE_BYTES)


def resident_kb(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4
