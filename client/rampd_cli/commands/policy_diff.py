"""`rampd policy diff`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from rampd_cli.arguments import FILE
from rampd_cli.command import command as make_command
from rampd_cli.failures import Exit
from rampd_cli.policies.applying import Planned, planned, wanted_of
from rampd_cli.session import Session
from rampd_cli.shown import Shown

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS: Final = ("component", "field", "before", "after")
_STYLES: Final = {"-": "red", "+": "green"}


@make_command("diff", columns=_COLUMNS)
@click.argument("files", type=FILE, metavar="FILE...", nargs=-1, required=True)
@click.option("--prune", is_flag=True, default=False, help="Also show what `apply --prune` would reset.")
@click.option("--exit-code", is_flag=True, default=False, help="End with 6 if there is a difference.")
def command(session: Session, files: tuple[str, ...], prune: bool, exit_code: bool) -> int:
    """Shows each field that `rampd policy apply` would change, before and after. `-` is stdin.

    It only reads, so the role `viewer` is enough. In a pipe, `after` is empty for a field that goes back to its default, and
    lists are JSON.

    \b
      rampd policy diff policies/*.yaml
    """
    plans = [each for each in planned(session, wanted_of(session, files), prune=prune) if each.differences]
    session.show(differing(plans))
    return Exit.DIFFERENT if plans and exit_code else Exit.DONE


def differing(plans: Sequence[Planned]) -> Shown:
    """Returns the differences of components."""
    found = [(plan.component, each) for plan in plans for each in plan.differences]
    return Shown(
        {
            "differences": [
                {"component": name, "field": each.field, "before": each.before, "after": each.after}
                for name, each in found
            ]
        },
        [(name, each.field, _word(each.before), _word(each.after)) for name, each in found],
        lambda console: _draw(console, plans),
    )


def _draw(console: "Console", plans: Sequence[Planned]) -> None:
    from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a person

    for plan in plans:
        reset = "" if plan.written else ", which no file names"
        console.print(f"{plan.component} at revision {plan.present.revision}{reset}", style="bold")
        for each in plan.differences:
            for line in each.lines():
                console.print(f"  {one_line(line)}", style=_STYLES.get(line[:1], ""), soft_wrap=True)
    if not plans:
        console.print("There is no difference.")


def _word(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
