"""`python -m tests.stats` prints the tables about the guards in docs/automation.md, and fails if a promise is not kept.

It takes minutes. `--runs 100` takes seconds, but its figures are less exact.
"""

import argparse
import sys
from collections.abc import Iterator

from rampd._evidence import absolute_guard, assignment_check
from tests.markdown import table
from tests.stats import tables
from tests.stats.scenarios import SCENARIOS
from tests.stats.trial import ALPHA

TOLERANCE = 0.15
"""How far a median may be from its target, as a share of the target."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="the number of trials for each line (default: 2000)")
    runs = parser.parse_args().runs
    broken = [*print_false_alarms(runs), *print_detection(runs)]
    print_the_rest(runs)
    print("\n".join(broken) or "Every promise is kept.")
    return 1 if broken else 0


def print_false_alarms(runs: int) -> Iterator[str]:
    alphas = tables.Rates(ALPHA, absolute_guard.ALPHA, assignment_check.ALPHA)
    rows = []
    for scenario in SCENARIOS:
        rates = tables.false_alarms(scenario, runs)
        absolute = f"{rates.absolute:.2%}" if scenario.max_failure_rate else "(can't tell)"
        rows.append([scenario.name, f"{rates.relative:.2%}", absolute, f"{rates.assignment:.2%}"])
        for guard, rate, alpha in zip(alphas._fields, rates, alphas, strict=True):
            if rate > tables.bound(alpha, runs):
                yield f"{scenario.name}: the {guard} guard raises false alarms in {rate:.2%} of the trials"
    rows.append(["the most that is allowed", *(f"{tables.bound(alpha, runs):.2%}" for alpha in alphas)])
    print(f"False alarms in {runs:,} trials of {tables.JOBS:,} jobs, a look after each job\n")
    print(table(("next is no worse, and", "relative", "absolute", "assignment"), rows), end="\n\n")


def print_detection(runs: int) -> Iterator[str]:
    rows = []
    for target in tables.TARGETS:
        found = tables.detection(target, runs)
        wanted = (target.jobs, target.next_jobs)
        what = (f"{target.weight / 100:g} %", f"{target.current:.0%} to {target.next:.0%}")
        rows.append([*what, *("{:,.0f} / {:,.0f}".format(*medians) for medians in (found, wanted))])
        if found[0] > target.jobs * (1 + TOLERANCE) or found[0] < target.jobs * (1 - TOLERANCE):
            yield f"{what[1]} at {what[0]} is found after {found[0]:,.0f} jobs"
    print("Median jobs until a rollback / of them on next\n")
    print(table(("weight", "failures", "found after", "target"), rows), end="\n\n")


def print_the_rest(runs: int) -> None:
    found = [
        [f"{weight / 100:g} %", f"{tables.doublings_found(weight, runs):.0%}"] for weight in tables.DOUBLING_WEIGHTS
    ]
    print(f"1 % to 2 %, found within {tables.JOBS:,} jobs: no promise\n")
    print(table(("weight", "found"), found), end="\n\n")
    absolute = [
        [f"{rate:.0%}", f"{tables.absolute_detection(rate, runs):.0f}", at] for rate, at in tables.ABSOLUTE_TARGETS
    ]
    print("The absolute guard at 10 %: median jobs of next\n")
    print(table(("next fails", "found after", "target"), absolute), end="\n\n")
    lost = [[f"{units:,}", f"{tables.units_lost(units):.1%}"] for units in (10_000, 100_000, 1_000_000)]
    print("Units that are mistaken for a unit that reported before\n")
    print(table(("units in a trial", "lost"), lost), end="\n\n")
    slow = [
        [
            f"{times:g} times",
            *(f"{tables.slower_alarms(times, wait, runs // 10).assignment:.0%}" for wait in tables.MATURATIONS_MIN),
        ]
        for times in tables.SLOWER
    ]
    print("False alarms of the assignment check where jobs of next take longer than a minute, by maturation\n")
    print(table(("slower", *(f"{wait} min" for wait in tables.MATURATIONS_MIN)), slow), end="\n\n")


if __name__ == "__main__":
    sys.exit(main())
