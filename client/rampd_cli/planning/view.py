"""What is shown of a plan: its steps, when a bad release is found, and what is assumed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from rampd._decision.bucketing import BUCKETS
from rampd_cli.shown import Shown

if TYPE_CHECKING:
    from rich.console import Console

    from rampd import v1
    from rampd_cli.planning.detection import Chances, Found, Traffic
    from rampd_cli.planning.timeline import Stage

COLUMNS: Final = ("what", "percent", "from_s", "from_jobs", "to_s", "to_jobs", "text")
"""Of a step: when it begins and ends at the earliest. Of a bad release: when half of them are found, and nine of ten."""
RATES: Final = (0.02, 0.05, 0.1, 0.5, 1.0)
"""The failure rates of bad releases."""
_YEAR_S: Final = 365 * 86_400
_LONG_S: Final = 600
_HALF: Final = 0.5
MANY: Final = 0.9


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is shown."""

    component: str
    policy: "v1.Policy"
    stages: "Sequence[Stage]"
    traffic: "Traffic"
    chances: "Sequence[Chances | None]"
    """By failure rate; None where a release with this rate is no worse than the policy allows."""
    rate_is: str
    """Where the failure rate of current comes from."""
    missed: "Chances | None" = None
    """The worst of the releases that the plan mostly lets through."""
    enough_s: float | None = None
    """How long the last step would have to last to find it. None: nobody knows."""
    at: str = ""
    """See `Session.at`."""


def shown(plan: Plan) -> Shown:
    end_s = plan.stages[-1].ends_s
    per_s = plan.traffic.jobs_per_hour / 3600
    return Shown(
        _data(plan, end_s),
        [
            *(
                (
                    "step",
                    f"{stage.basis_points / 100:g}",
                    *_both(stage.begins_s, per_s),
                    *_both(stage.ends_s, per_s),
                    _needs(plan, stage) + _approval(plan, stage),
                )
                for stage in plan.stages
            ),
            ("end", "100", *_both(end_s, per_s), *_both(end_s, per_s), _end(plan)),
            *(
                ("finds", f"{rate * 100:g}", *_place(found, _HALF), *_place(found, MANY), _missed(found))
                for rate, found in zip(RATES, plan.chances, strict=True)
            ),
        ],
        lambda console: _draw(console, plan, end_s),
    )


def _assumptions(plan: Plan) -> Iterator[str]:
    from rampd._contract.wording import counted  # noqa: PLC0415 - it is slow to import

    traffic = plan.traffic
    repos = f"{counted(traffic.repos, 'equal repo')}, each counts once" if traffic.repos else "each of another repo"
    yield f"{traffic.jobs_per_hour:,g} job{'s' * (traffic.jobs_per_hour != 1)} an hour, evenly spread, {repos}."
    yield f"Current fails {_percent(traffic.current_failure_rate * 100)} of its jobs: {plan.rate_is}."
    yield "Each outcome is reported at once, by fewer than five identities. Nobody pauses, freezes or ramps."
    if plan.policy.checks:
        yield "Each check passes during the hold."
    if any(stage.approval for stage in plan.stages):
        yield "A step that waits for approval is approved at once."


def _needs(plan: Plan, stage: "Stage") -> str:
    from rampd._contract.wording import counted, one_line  # noqa: PLC0415 - it is slow to import

    parts = [_duration(stage.hold_s)] if stage.hold_s else []
    if stage.min_jobs:
        jobs_s = stage.min_jobs / (plan.traffic.jobs_per_hour * stage.basis_points / 10_000) * 3600
        parts.append(f"{counted(stage.min_jobs, 'job')} of next ({_duration(jobs_s)})")
    parts += [f"check {one_line(check.name)}" for check in plan.policy.checks]
    return " and ".join(parts) or "nothing"


def _approval(plan: Plan, stage: "Stage") -> str:
    return f", then rampd resume {plan.component}{plan.at}" if stage.approval else ""


def _end(plan: Plan) -> str:
    return "becomes current" if plan.policy.auto_finalize else f"waits for rampd finalize {plan.component}{plan.at}"


def _reaction(plan: Plan) -> Iterator[str]:
    from rampd import v1  # noqa: PLC0415 - it is slow to import

    policy = plan.policy
    words = {
        v1.ON_REGRESSION_PAUSE: "pauses the rollout",
        v1.ON_REGRESSION_NOTIFY: "says so in the history, and goes on",
    }
    yield f"If next fails more often than current, rampd {words.get(policy.on_regression, 'rolls back')}."
    if policy.max_failure_rate:
        does = (
            "rolls back"
            if policy.on_max_failure_rate == v1.ON_REGRESSION_ROLLBACK
            else words.get(policy.on_max_failure_rate, "pauses the rollout")
        )
        yield f"If next fails more often than {_percent(policy.max_failure_rate * 100)}, rampd {does}."


def _advice(plan: Plan) -> Iterator[str]:
    """What would find the worst of the releases that the plan mostly lets through."""
    if (missed := plan.missed) is None:
        return
    yield (
        f"A release that fails {_percent(missed.failure_rate * 100)} of its jobs is not found in "
        f"{missed.runs - len(missed.found)} of {missed.runs} simulated rollouts. {_remedy(plan)}"
    )


def _remedy(plan: Plan) -> str:
    from google.protobuf.duration_pb2 import Duration  # noqa: PLC0415 - it is slow to import

    from rampd_cli.policies.writing import duration_text  # noqa: PLC0415 - few plans need it

    last, traffic = plan.stages[-1], plan.traffic
    step = f"the step at {last.basis_points / 100:g} %"
    if plan.enough_s is None and traffic.repos:
        return f"To hold {step} longer does not help: {traffic.repos:,} repos are too few, because each counts once."
    if plan.enough_s is None:
        return f"To hold {step} longer does not find it in 9 of 10 either: there are too few jobs, or it is too little worse than current."
    hold = duration_text(Duration(seconds=_rounded_up(plan.enough_s / 60) * 60))
    jobs = _rounded_up(plan.enough_s / 3600 * traffic.jobs_per_hour * last.basis_points / BUCKETS)
    return f"To find it in 9 of 10, give {step} `hold: {hold}` or `min_jobs: {jobs}`."


def _rounded_up(value: float) -> int:
    """Rounds up to two digits and zeros."""
    unit = 10 ** max(math.floor(math.log10(value)) - 1, 0) if value > 1 else 1
    return math.ceil(value / unit) * unit


def _both(seconds: float, per_s: float) -> tuple[str, str]:
    return f"{seconds:.0f}", f"{seconds * per_s:.0f}"


def _place(chances: "Chances | None", share: float) -> tuple[str, str]:
    found = chances.by(share) if chances is not None else None
    return ("", "") if found is None else (f"{found.after_s:.0f}", f"{found.jobs:.0f}")


def _missed(chances: "Chances | None") -> str:
    if chances is None:
        return "no worse than current"
    return f"not found in {chances.runs - len(chances.found)} of {chances.runs}"


def _data(plan: Plan, end_s: float) -> dict[str, Any]:
    return {
        "component": plan.component,
        "assumptions": list(_assumptions(plan)),
        "steps": [
            {
                "percent": stage.basis_points / 100,
                "beginsSeconds": stage.begins_s,
                "endsSeconds": stage.ends_s,
                "needs": _needs(plan, stage),
                "approval": stage.approval,
            }
            for stage in plan.stages
        ],
        "end": {"beginsSeconds": end_s, "what": _end(plan)},
        "reactions": list(_reaction(plan)),
        "advice": list(_advice(plan)),
        "releases": [
            {"failureRate": rate}
            | (
                {"noWorse": True}
                if found is None
                else {
                    "runs": found.runs,
                    "found": len(found.found),
                    "half": _of(found.by(_HALF)),
                    "nineOfTen": _of(found.by(MANY)),
                }
            )
            for rate, found in zip(RATES, plan.chances, strict=True)
        ],
    }


def _of(found: "Found | None") -> dict[str, float] | None:
    if found is None:
        return None
    return {"afterSeconds": round(found.after_s), "jobs": round(found.jobs), "jobsOfNext": round(found.next_jobs)}


def _draw(console: "Console", plan: Plan, end_s: float) -> None:
    from rich.table import Table  # noqa: PLC0415 - it is slow to import, and a pipe does not need it

    from rampd_cli.drawing.palette import FAINT, TITLE  # noqa: PLC0415

    steps, finds = (Table(box=None, pad_edge=False, header_style=FAINT, padding=(0, 2, 0, 0)) for _ in range(2))
    steps.add_column("PERCENT", justify="right")
    for title in ("FROM", "NEEDS"):
        steps.add_column(title, overflow="fold")
    for number, stage in enumerate(plan.stages):
        begins = _duration(stage.begins_s) if number else "at once" if plan.policy.auto_start else "rampd resume"
        steps.add_row(f"{stage.basis_points / 100:g} %", begins, _needs(plan, stage) + _approval(plan, stage))
    steps.add_row("100 %", _duration(end_s), _end(plan))
    finds.add_column("FAILS", justify="right")
    for title in (
        "HALF FOUND AFTER\nJOBS (OF NEXT)",
        "HALF AFTER\nTIME",
        "9 OF 10 AFTER\nJOBS (OF NEXT)",
        "9 OF 10\nTIME",
        "NOT FOUND\nROLLOUTS",
    ):
        finds.add_column(title, overflow="fold")
    for rate, found in zip(RATES, plan.chances, strict=True):
        finds.add_row(_percent(rate * 100), *_drawn(found))

    console.print(f"The plan of {plan.component}", style=TITLE)
    console.print(steps)
    console.print()
    console.print("A release that is worse", style=TITLE)
    console.print(finds)
    for sentence in (*_reaction(plan), *_advice(plan)):
        console.print(sentence)
    console.print()
    console.print("What is assumed", style=TITLE)
    for sentence in _assumptions(plan):
        console.print(sentence, style=FAINT)


def _drawn(chances: "Chances | None") -> tuple[str, ...]:
    if chances is None:
        return "no worse than current", "", "", "", ""
    missed = f"{chances.runs - len(chances.found)} of {chances.runs}"
    return *_words(chances.by(_HALF)), *_words(chances.by(MANY)), missed


def _words(found: "Found | None") -> tuple[str, str]:
    if found is None:
        return "-", "-"
    return f"{round(found.jobs):,} ({round(found.next_jobs):,})", _duration(found.after_s)


def _duration(seconds: float) -> str:
    """Writes a time that is estimated: without seconds if it is long."""
    from rampd._standing.clock import duration  # noqa: PLC0415 - it is slow to import

    if seconds >= _YEAR_S:
        return "over a year"
    return duration(timedelta(seconds=round(seconds) if seconds < _LONG_S else round(seconds / 60) * 60))


def _percent(value: float) -> str:
    return f"{value:.3g} %"
