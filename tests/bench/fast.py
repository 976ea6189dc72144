"""The fast listener beside that of grpcio: one server, the same state, the same core, in turns.

h2load asks as much as it can, in plain text, and over TLS with a token. A client of grpcio makes one call after the other, each with a
deadline and another trace, as a launcher does that asks the server; so do grpc-go, grpc-js and tonic, where they can be built. Then a
thousand watchers wait for a change.
"""

import contextlib
import time
from collections.abc import Iterator

import grpc

from tests.authority import Authority
from tests.bench import cores, fanout, running
from tests.bench.access import ENDLESS
from tests.bench.load import Load, median, percentile
from tests.bench.report import Row, at_least, at_most, plain
from tests.bench.resolve import METHOD, REQUEST, SLICES
from tests.bench.rounds import in_turns, pooled, ratios
from tests.bench.scale import Scale
from tests.clients.building import LANGUAGES, NotBuiltError, built
from tests.clients.client import Client, client
from tests.observing import cpu_us
from tests.servers import ServerProcess, short_directory
from tests.stores import StoreServer

WATCHERS = 1000
TIMES_AS_MANY = 5.0
"""How many times as many calls of h2load the fast listener should answer."""
SHARE_OF_TIME = 0.4
"""How much of the processor time of grpcio it should take with a real client."""
MOST_LAST_MS = 20.0
_FAST = ("--fast-listen", "127.0.0.1:0")
_TARGETS = ("grpcio", "fast")


def run(scale: Scale) -> list[Row]:
    with running.store() as store, running.rampd(store, *_FAST) as server:
        running.begin_rollout(server)
        targets = (server.target, server.fast_target)
        rows = [
            *_asked_as_much_as_possible(scale, "", [Load(target, METHOD, REQUEST) for target in targets]),
            *_one_by_one(scale, [Load(target, METHOD, REQUEST) for target in targets]),
            *_real_client(scale, server, targets),
            *_clients_of_other_languages(scale, server, targets),
            *_watched(scale, targets),
        ]
        with _secure(store) as (secure, token):
            loads = [Load(target, METHOD, REQUEST, token, "https") for target in (secure.target, secure.fast_target)]
            return [*rows, *_asked_as_much_as_possible(scale, ", TLS and a token", loads)]


@contextlib.contextmanager
def _secure(store: StoreServer) -> Iterator[tuple[ServerProcess, str]]:
    """A server with TLS and an access file at both addresses, and a token."""
    with short_directory() as folder:
        certificate, key = Authority().issue("127.0.0.1", "localhost").write(folder, "server")
        access = running.Access.of(folder, launcher=ENDLESS)
        flags = ("--tls-cert", str(certificate), "--tls-key", str(key), *_FAST)
        with running.guarded(store, access, *flags) as server:
            yield server, access.tokens["launcher"]


def _asked_as_much_as_possible(scale: Scale, how: str, loads: list[Load]) -> list[Row]:
    calls = scale.calls // SLICES
    slices = in_turns(scale.rounds * SLICES, *(lambda load=load: load.throughput(calls) for load in loads))
    slow, fast = (pooled(found, SLICES) for found in slices)
    return [
        plain(f"grpcio: Resolve, 64 at once{how}", slow, "calls/s"),
        plain(f"fast: Resolve, 64 at once{how}", fast, "calls/s"),
        at_least("  ratio", ratios(fast, slow), "", TIMES_AS_MANY),
    ]


def _one_by_one(scale: Scale, loads: list[Load]) -> list[Row]:
    found = in_turns(scale.rounds, *(lambda load=load: load.latencies_us(scale.calls // 4) for load in loads))
    rows = []
    for name, rounds in zip(_TARGETS, found, strict=True):
        rows.append(plain(f"{name}: Resolve, one by one: p50", [median(each) for each in rounds], "us"))
        rows.append(plain(f"{name}: Resolve, one by one: p99", [percentile(each, 0.99) for each in rounds], "us"))
    return rows


def _real_client(scale: Scale, server: ServerProcess, targets: tuple[str, str]) -> list[Row]:
    """The processor time of the server for a call, and how long the client waits."""
    with cores.on(cores.LOAD), contextlib.ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(target)) for target in targets]
        asked = [channel.unary_unary(f"/{METHOD}") for channel in channels]
        found = in_turns(scale.rounds, *(lambda ask=ask: _used(server, ask, scale.calls // 4) for ask in asked))
    (slow, slow_waits), (fast, fast_waits) = ([list(each) for each in zip(*rounds, strict=True)] for rounds in found)
    return [
        plain("grpcio: processor time for a call of a client of grpcio", slow, "us"),
        plain("fast: processor time for a call of a client of grpcio", fast, "us"),
        at_most("  ratio", ratios(fast, slow), "", SHARE_OF_TIME),
        plain("grpcio: p50 of that client", slow_waits, "us"),
        plain("fast: p50 of that client", fast_waits, "us"),
    ]


def _used(server: ServerProcess, ask: "grpc.UnaryUnaryMultiCallable[bytes, bytes]", calls: int) -> tuple[float, float]:
    data, waits = REQUEST.SerializeToString(), []
    before = cpu_us(server.process.pid)
    for number in range(calls):
        began = time.perf_counter()
        ask(data, timeout=5, metadata=(("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01"),))
        waits.append(1e6 * (time.perf_counter() - began))
    return (cpu_us(server.process.pid) - before) / calls, median(waits)


def _clients_of_other_languages(scale: Scale, server: ServerProcess, targets: tuple[str, str]) -> list[Row]:
    """The same with each client that can be built here."""
    rows = []
    for language in LANGUAGES:
        try:
            command = built(language)
        except NotBuiltError as error:
            print(f" without {language.library}: {error};", end="", flush=True)
            continue
        with cores.on(cores.LOAD), contextlib.ExitStack() as stack:
            clients = [stack.enter_context(client(command, target)) for target in targets]
            found = in_turns(
                scale.rounds, *(lambda each=each: _used_by(server, each, scale.calls // 4) for each in clients)
            )
        used = [[each[0] for each in rounds] for rounds in found]
        for name, rounds in zip(_TARGETS, found, strict=True):
            times, p50s, p99s = (list(each) for each in zip(*rounds, strict=True))
            rows.append(plain(f"{name}: processor time for a call of {language.library}", times, "us"))
            rows.append(plain(f"{name}: p50 of {language.library}", p50s, "us"))
            rows.append(plain(f"{name}: p99 of {language.library}", p99s, "us"))
        rows.append(at_most("  ratio of processor time", ratios(used[1], used[0]), "", SHARE_OF_TIME))
    return rows


def _used_by(server: ServerProcess, asked: Client, calls: int) -> tuple[float, float, float]:
    """The processor time of the server for a call, and the p50 and the p99 of the client."""
    asked.ask("resolve")
    before = cpu_us(server.process.pid)
    found = asked.ask(f"bench {calls}")
    return (cpu_us(server.process.pid) - before) / calls, found["p50_us"], found["p99_us"]


def _watched(scale: Scale, targets: tuple[str, str]) -> list[Row]:
    with cores.on(cores.LOAD):
        found = in_turns(
            max(2, scale.rounds // 2), *(lambda target=target: fanout.ramp(target, WATCHERS) for target in targets)
        )
    slow, fast = (fanout.p99_ms(rounds) for rounds in found)
    name = f"{WATCHERS:,} watchers, from Ramp's answer to the last one: p99"
    return [plain(f"grpcio: {name}", [slow], "ms"), at_most(f"fast: {name}", [fast], "ms", MOST_LAST_MS)]
