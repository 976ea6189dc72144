"""`--workers 1` and `--workers 2`. Server and load generator share both cores."""

import contextlib

from tests.bench import cores, running
from tests.bench.load import Load
from tests.bench.report import Row, plain
from tests.bench.resolve import METHOD, REQUEST
from tests.bench.rounds import in_turns, ratios
from tests.bench.scale import Scale

COUNTS = (1, 2)
CONNECTIONS = 16


def run(scale: Scale) -> list[Row]:
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store(on=cores.ALL))
        loads = []
        for number in COUNTS:
            server = stack.enter_context(
                running.rampd(store, "--workers", str(number), "--namespace", f"w{number}", on=cores.ALL)
            )
            running.begin_rollout(server)
            loads.append(Load(server.target, METHOD, REQUEST))
        rates = in_turns(
            scale.rounds,
            *(
                lambda load=load: load.throughput(scale.calls, connections=CONNECTIONS, streams=8, on=cores.ALL)
                for load in loads
            ),
        )
    return [
        *(plain(f"--workers {number}", found, "calls/s") for number, found in zip(COUNTS, rates, strict=True)),
        plain("2 against 1", ratios(rates[1], rates[0]), ""),
    ]
