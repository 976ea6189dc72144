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
    "all_current_jobs",
    "all_current_failures",
    "recent_jobs",
    "recent_failures",
    "recent_since",
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
    """Shows what is rolled out. On a terminal, what waits for a person comes first. In a pipe and in JSON, components come by name, so
    that two answers can be compared.

    It names the components whose current fails clearly more often than before, or than is usual for the others: surely half as often
    again, and in no case under 1.5 %. It counts what was reported in the last 10 to 20 minutes, or in the last hour if there were few
    jobs.

    On a terminal, FAILED and JOBS compare current with next: `0 % → 9.5 %` says that 0 % of the jobs of current failed, and 9.5 % of
    those of next.

    With a COMPONENT, it shows everything about it. The newest event is the last one, as in `rampd history`. docs/cli.md explains words
    such as trial and E.

    The columns current_jobs and next_jobs count the jobs that are compared in a rollout. all_current_jobs counts all jobs of current
    since it became current, and recent_jobs those since recent_since. attention is empty, or says what waits: damage, confirm,
    problem, approval, quarantine, paused, frozen.

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
