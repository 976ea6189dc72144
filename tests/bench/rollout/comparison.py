"""Runs every rule on every release. All rules get the same jobs with the same luck."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any, NamedTuple

from tests.bench.rollout.rampd_rule import Rampd
from tests.bench.rollout.rules import ArgoLike, FlaggerLike, Person, Rule
from tests.bench.rollout.simulation import Result, run
from tests.bench.rollout.world import Release, World

CONFIGURATIONS = Path(__file__).parent / "configurations"


def settings(name: str) -> dict[str, Any]:
    return tomllib.loads((CONFIGURATIONS / f"{name}.toml").read_text())


RULES: dict[str, Callable[[], Rule]] = {
    "rampd": lambda: Rampd(**settings("rampd")),
    "Flagger-like": lambda: FlaggerLike(**settings("flagger")),
    "Flagger-like, 95 %": lambda: FlaggerLike(**settings("flagger_tuned")),
    "Argo-like": lambda: ArgoLike(**settings("argo")),
    "a person": lambda: Person(**settings("person")),
}


class Row(NamedTuple):
    """The result of a rule on a release. `rolled_back` and `finalized` are shares of the runs. Minutes are the median of the
    runs that were rolled back or finalized; None if there were none.
    """

    release: str
    rule: str
    harmed: float
    rolled_back: float
    rollback_min: float | None
    finalized: float
    finalize_min: float | None


def world() -> World:
    return World.of(settings("world"))


def compare(world: World, release: Release, runs: int) -> list[Row]:
    """Returns one row for each rule."""
    results: dict[str, list[Result]] = {name: [] for name in RULES}
    for seed in range(runs):
        jobs = list(world.jobs(Random(f"{release.name} {seed}")))
        for name, rule in RULES.items():
            results[name].append(run(release, rule(), jobs, seed))
    return [_row(release, name, of_rule) for name, of_rule in results.items()]


def _row(release: Release, rule: str, results: list[Result]) -> Row:
    back = [result.rollback_s / 60 for result in results if result.rollback_s is not None]
    final = [result.finalize_s / 60 for result in results if result.finalize_s is not None]
    return Row(
        release.name,
        rule,
        mean(result.harmed for result in results),
        len(back) / len(results),
        median(back) if back else None,
        len(final) / len(results),
        median(final) if final else None,
    )
