"""`python -m tests.bench.rollout` prints the table of docs/automation.md and draws its plot.

It takes minutes. With `--quick` it takes seconds.
"""

import argparse
from pathlib import Path

from tests.bench.rollout.comparison import RULES, Row, compare, world
from tests.bench.rollout.plot import bars
from tests.markdown import table

HEAD = ("release", "rule", "harmed jobs", "rolled back", "after", "became current", "after", "neither")
PLOT = Path("docs/blast-radius.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="make a few runs of each, and no plot")
    parser.add_argument(
        "--jobs-per-minute", type=float, help="simulate a platform with this many jobs, and make no plot"
    )
    arguments = parser.parse_args()
    platform = world()
    if arguments.jobs_per_minute:
        platform = type(platform)(**{**vars(platform), "jobs_per_minute": arguments.jobs_per_minute})
    rows: list[Row] = []
    for release in platform.releases:
        rows += compare(platform, release, 10 if arguments.quick else release.runs)
    print(f"{platform.jobs_per_minute:g} jobs a minute, {platform.repos:,} repos. Harmed: mean; times: median.\n")
    print(table(HEAD, map(cells, rows)))
    if not arguments.quick and not arguments.jobs_per_minute:
        PLOT.write_text(plot(rows, [release.name for release in platform.releases if not release.is_good]))


def cells(row: Row) -> list[str]:
    neither = 1 - row.rolled_back - row.finalized
    return [
        row.release,
        row.rule,
        f"{row.harmed:,.1f}",
        f"{row.rolled_back:.1%}",
        minutes(row.rollback_min),
        f"{row.finalized:.1%}",
        minutes(row.finalize_min),
        f"{max(0.0, neither):.1%}",
    ]


def minutes(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} min"


def plot(rows: list[Row], releases: list[str]) -> str:
    harmed = [[row.harmed for row in rows if row.release == release] for release in releases]
    return bars("Jobs that a bad release harms, mean", releases, list(RULES), harmed)


if __name__ == "__main__":
    main()
