"""`make chaos`"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.chaos.running import Plan, running

FOLDER = Path("build/chaos")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with running(Plan(arguments.seed, arguments.seconds)) as run:
        record = run.record
    record.save(FOLDER / f"{arguments.seed}.jsonl")
    print(Counter((call.method, call.code, call.reason) for call in record.calls))
    print(len(record.entries), len(record.watched), [f.kind for f in record.faults], record.lives)
    print(run.broken, [e.problem for e in record.ends])
    return 0


if __name__ == "__main__":
    sys.exit(main())
