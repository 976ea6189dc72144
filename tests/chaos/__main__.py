"""`make chaos`: lets several clients call several servers while things break, and checks every answer against the promises.

Every call, every entry of the store's feed and everything that watchers see is recorded, and the record is judged by the rules of
tests/chaos/rules. It is kept in build/chaos, and `--replay` judges it again. Ends with 1 if a promise was broken.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rampd._contract.wording import counted
from tests.chaos import planting, table
from tests.chaos.cluster import ClusterStore
from tests.chaos.faults import EVERY_KIND
from tests.chaos.judge import judge
from tests.chaos.record import Record, load
from tests.chaos.running import Plan, running
from tests.chaos.sentinels import SentinelStore
from tests.stores import REDIS, VALKEY

FOLDER = Path("build/chaos")
TOPOLOGIES = {"sentinel": SentinelStore, "cluster": ClusterStore}
_SHOWN = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long there are faults (default: 20)")
    parser.add_argument("--seed", type=int, default=None, help="what faults and calls are drawn from (default: any)")
    parser.add_argument(
        "--tree", default="", metavar="FOLDER", help="the root of the code that the servers run (default: this)"
    )
    parser.add_argument("--kinds", default=",".join(EVERY_KIND), metavar="KIND,KIND", help="the faults (default: all)")
    parser.add_argument(
        "--store",
        default="",
        choices=["", REDIS, VALKEY, *TOPOLOGIES],
        help=f"the kind of store (default: {REDIS} or {VALKEY} is drawn); sentinel: three of them, with Sentinels; cluster: six of "
        f"them, as a Redis Cluster",
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="judges the record of an earlier run")
    parser.add_argument("--planted", action="store_true", help="looks for bugs that are put into copies of the server")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="with --planted: bugs that have this text in their name"
    )
    parser.add_argument(
        "--table", action="store_true", help="lets each fault happen alone, and writes docs/reliability.md"
    )
    arguments = parser.parse_args()
    seed = int(time.time()) % 100_000 if arguments.seed is None else arguments.seed
    if arguments.replay:
        return report(load(arguments.replay), [])
    if arguments.table:
        rows = table.measure(arguments.seconds, seed, FOLDER)
        table.write(rows)
        return 1 if any(any(row.broken) for row in rows) else 0
    if arguments.planted:
        return look_for_planted(arguments.only, seed)
    print(f"make chaos SECONDS={arguments.seconds:g} SEED={seed}", flush=True)
    kinds = frozenset(filter(None, arguments.kinds.split(",")))
    plan = Plan(seed, arguments.seconds, kinds, tree=arguments.tree)
    if topology := TOPOLOGIES.get(arguments.store):
        plan = replace(plan, topology=topology)
    else:
        plan = replace(plan, kind=arguments.store)
    with running(plan) as run:
        record = run.record
    path = FOLDER / f"{seed}-{time.strftime('%H-%M-%S')}.jsonl"
    record.save(path)
    print(f"The record is {path}")
    return report(record, run.broken)


def look_for_planted(only: str, seed: int) -> int:
    """Prints how soon each planted bug is found. Returns the exit code."""
    missed = 0
    for bug in planting.load():
        if only not in bug.name:
            continue
        found = planting.find(bug, seed, FOLDER)
        missed += found.after_s < 0
        after = "NOT FOUND" if found.after_s < 0 else f"{found.after_s:7.1f} s"
        print(f"{after:9}  {bug.name}\n           {found.what[:200]}", flush=True)
    return 1 if missed else 0


def report(record: Record, broken: list[str]) -> int:
    """Prints what happened and what was wrong. Returns the exit code."""
    began_s = time.monotonic()
    case, violations = judge(record)
    print(summary(record, time.monotonic() - began_s))
    for rule, number in Counter(violation.rule for violation in violations).items():
        print(f"\n{rule}: {counted(number, 'time')}")
        for violation in [each for each in violations if each.rule == rule][:_SHOWN]:
            print(f"  at {violation.at_s:.3f}: {violation.what}")
    if violations:
        print(f"\nAround the first of them (seed {record.seed}):")
        print("\n".join(f"  {line}" for line in case.slice_of(violations[:1])))
    for line in broken:
        print(f"\nThe run itself: {line}")
    return 1 if violations or broken else 0


def summary(record: Record, seconds: float) -> str:
    answered = sum(1 for call in record.calls if call.response is not None)
    refused = sum(
        1 for call in record.calls if call.response is None and call.code not in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    )
    faults = ", ".join(
        f"{number} {kind}" for kind, number in Counter(fault.kind for fault in record.faults).most_common()
    )
    return (
        f"{counted(len(record.calls), 'call')}: {answered} answered, {refused} refused, the rest not reached. "
        f"{counted(len(record.entries), 'change')}, {counted(len(record.watched), 'message')} to watchers, "
        f"{len(record.lives)} lives of the store. Faults: {faults or 'none'}. Judged in {seconds:.1f} s."
    )


if __name__ == "__main__":
    sys.exit(main())
