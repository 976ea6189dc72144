"""How long a person waits for `rampd`: whole processes, against an interpreter that does nothing and one that imports click."""

import os
import subprocess
import sys
import time
from functools import partial

from tests.bench import running
from tests.bench.report import Row, at_most, plain
from tests.bench.rounds import in_turns, ratios
from tests.bench.scale import Scale
from tests.bench.size import filled

HELP_MS, STATUS_MS = 150, 250
COMPONENTS = 10
RAMPD = ("-m", "rampd_cli")


def run(scale: Scale) -> list[Row]:
    components = min(COMPONENTS, scale.components)
    with filled(components, COMPONENTS) as store, running.rampd(store) as server:
        shows = ("--server", server.target, "status")
        commands = (("-c", "pass"), ("-c", "import click"), (*RAMPD, "--help"), (*RAMPD, *shows))
        measures = [partial(milliseconds, *words) for words in (*commands, (*RAMPD, "-o", "table", *shows))]
        nothing, click, helps, statuses, tables = in_turns(scale.rounds, *measures)
    return [
        plain("python -c pass", nothing, "ms"),
        plain("python -c 'import click'", click, "ms"),
        at_most("rampd --help", helps, "ms", HELP_MS),
        plain("ratio to python -c pass", ratios(helps, nothing), ""),
        plain("ratio to python -c 'import click'", ratios(helps, click), ""),
        at_most(f"rampd status in a pipe, {components} components", statuses, "ms", STATUS_MS),
        plain("ratio to python -c pass", ratios(statuses, nothing), ""),
        plain("rampd status as a table", tables, "ms"),
    ]


def milliseconds(*words: str) -> float:
    """Returns the time of a whole process."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], stdout=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "100"}, check=True
    )
    return (time.perf_counter() - began) * 1000
