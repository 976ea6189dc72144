"""`rampd status`."""

from typing import TYPE_CHECKING

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.command import command as make_command
from rampd_cli.failures import Exit
from rampd_cli.session import Session

if TYPE_CHECKING:
    from rampd_cli.shown import Shown

COLUMNS = (
    "component",
    "state",
    "attention",
    "current",
    "next",
    "percent",
    "queue",
    "since",
    "reason",
    "current_jobs",
    "current_failures",
    "next_jobs",
    "next_failures",
)


@make_command("status", columns=COLUMNS)
@click.argument("component", type=COMPONENT, nargs=-1)
@click.option(
    "--watch",
    is_flag=True,
    default=False,
    help="Go on until Ctrl-C: a live view on a terminal, otherwise a line for each change.",
)
def command(session: Session, component: tuple[str, ...], watch: bool) -> int:
    """Shows what is rolled out. What waits for a person comes first.

    With a COMPONENT, it shows everything about it.

    \b
      rampd status
      rampd status restyler --watch
    """
    # An import of these modules also imports gRPC, which `--help` does not need.
    from rampd_cli.status import showing  # noqa: PLC0415

    if watch:
        from rampd_cli.status.watching import watch as go_on  # noqa: PLC0415

        go_on(session, component)
        return Exit.DONE
    shown: Shown = showing.shown(session, component)
    session.show(shown)
    return Exit.DONE
