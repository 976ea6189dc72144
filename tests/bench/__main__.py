"""`make bench`, or `python -m tests.bench [--quick] [--only NAME]`: measures, prints tables, and writes build/bench.json."""

import argparse
import importlib
import time
from pathlib import Path

from tests.bench.report import Row, table, write_json
from tests.bench.scale import QUICK, WHOLE

BENCHMARKS = (
    *("resolve", "access", "metrics", "traces", "hostile", "profile", "kinds", "fast", "workers", "commands", "ramp"),
    *("writes", "propagation", "size", "components", "page", "memory", "rest", "many", "feed", "outcomes", "rollback"),
    *("protection", "decision", "floor", "peers", "fanout", "crowd", "client", "reporting", "cli"),
)
MORE = ("other_servers",)
"""What only `--only` runs. `make bench-peers` brings the programs for it."""
RESULT = Path("build/bench.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=(*BENCHMARKS, *MORE),
        metavar="NAME",
        help=f"run only this benchmark; may be repeated: {', '.join((*BENCHMARKS, *MORE))}",
    )
    parser.add_argument("--quick", action="store_true", help="measure little, to see that every benchmark runs")
    given = parser.parse_args()
    results: dict[str, list[Row]] = {}
    for name in given.only or BENCHMARKS:
        began = time.monotonic()
        print(f"{name} ...", end="", flush=True)
        results[name] = importlib.import_module(f"tests.bench.{name}").run(QUICK if given.quick else WHOLE)
        print(f" {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{table(results)}")
    write_json(results, RESULT)


if __name__ == "__main__":
    main()
