"""The ways to run a gRPC server in Python, each with the bare echo. The choice in docs/adr/0007 is based on this."""

from tests.bench import running
from tests.bench.load import Load, median, percentile
from tests.bench.report import Row, plain
from tests.bench.resolve import METHOD, REQUEST
from tests.bench.rounds import in_turns
from tests.bench.scale import Scale

KINDS = ("asyncio", "uvloop", "blocking")


def run(scale: Scale) -> list[Row]:
    with (
        running.bare("echo_server", "asyncio") as first,
        running.bare("echo_server", "uvloop") as second,
        running.bare("echo_server", "blocking") as third,
    ):
        loads = [Load(echo.target, METHOD, REQUEST) for echo in (first, second, third)]
        rates = in_turns(scale.rounds, *(lambda load=load: load.throughput(scale.calls) for load in loads))
        latencies = in_turns(scale.rounds, *(lambda load=load: load.latencies_us(scale.calls // 4) for load in loads))
    rows = [plain(f"{kind}, 64 at once", found, "calls/s") for kind, found in zip(KINDS, rates, strict=True)]
    for kind, found in zip(KINDS, latencies, strict=True):
        rows.append(plain(f"{kind}, one by one: p50", [median(each) for each in found], "us"))
        rows.append(plain(f"{kind}, one by one: p99", [percentile(each, 0.99) for each in found], "us"))
    return rows
