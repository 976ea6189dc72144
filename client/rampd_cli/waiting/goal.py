"""What `rampd wait` can wait for, as it is typed."""

from dataclasses import dataclass
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from rampd_cli.arguments import is_number, starting

NAMES: Final = ("current", "next", "held", "ended", "percent")


@dataclass(frozen=True, slots=True)
class Goal:
    """What to wait for."""

    name: str
    """One of `NAMES`."""
    percent: float = 0.0
    """For `percent`: the share that is enough."""

    def __str__(self) -> str:
        """Writes the goal for a sentence, after the word `is`: `next`, `at 50 %`."""
        return f"at {self.percent:.10g} %" if self.name == "percent" else self.name


class GoalType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """`current`, `next`, `held`, `ended` or `percent=50`."""

    name = "goal"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return starting(incomplete, [*NAMES[:-1], "percent=50"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Goal:
        if isinstance(value, Goal):
            return value
        name, _, share = value.partition("=")
        if name == "percent":
            if is_number(share) and 0 < (percent := float(share)) <= 100:
                return Goal(name, percent)
            self.fail("Write percent=50: a number over 0, at most 100.", param, ctx)
        if value not in NAMES:
            self.fail(f"{value!r} is not current, next, held, ended or percent=50.", param, ctx)
        return Goal(name)
