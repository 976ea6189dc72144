"""`rampd wait`."""

from datetime import timedelta

import click

from rampd_cli.arguments import COMPONENT, TAG, TIMEOUT
from rampd_cli.command import command as make_command
from rampd_cli.failures import Exit
from rampd_cli.session import Session
from rampd_cli.waiting.goal import Goal, GoalType

COLUMNS = ("time", "component", "release", "tag", "state", "percent", "message")


@make_command("wait", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("release", type=TAG, required=False, default="")
@click.option(
    "--until",
    type=GoalType(),
    default="current",
    metavar="current|next|held|ended|percent=P",
    help="What to wait for. Default: current.",
)
@click.option(
    "--timeout", type=TIMEOUT, default=None, metavar="DURATION", help="How long to wait. Default: without end."
)
@click.option(
    "--keep-waiting",
    is_flag=True,
    default=False,
    help="Also wait while it is held, or paused because something is wrong: somebody may ramp or resume it.",
)
def command(
    session: Session, component: str, release: str, until: Goal, timeout: timedelta | None, keep_waiting: bool
) -> int:
    """Waits until a release is current, next, held, at a percent, or has ended in any way.

    RELEASE is a tag or a number. Without it: next, otherwise the newest of the queue, otherwise current.

    It shows the progress: a live view on a terminal, a line for each change in a pipe. With -o json it writes only the
    release, at the end. It ends if nobody reads the pipe any more.

    Once a server has answered, the wait goes on until --timeout, also while none answers, such as during a restart.

    A release that became current and was replaced by another one has passed current, next and each percent. A release that was
    reverted has not: people went back from it. Nor has one that was abandoned, cancelled, superseded or deleted with its
    component. --until ended is reached in each of these ways, unless the component was deleted. A quarantine matters if it takes
    the release away: a tag in the queue is cancelled, next is held, and current stays current.

    Exit codes: 0 the goal is reached, or was passed; 1 there is no such release, so hand it in first; 4 the goal can't be
    reached any more, or not without a person (held, paused because something is wrong); 124 the time is over; 3 no server
    answered at the start; 130 Ctrl-C.

    \b
      rampd wait restyler 20200409 --timeout 2h
      rampd wait restyler --until percent=50
    """
    # An import of this module also imports the messages, which `--help` does not need.
    from rampd_cli.waiting.run import wait  # noqa: PLC0415

    wait(session, component, release, until, timeout=timeout, keeps_waiting=keep_waiting)
    return Exit.DONE
