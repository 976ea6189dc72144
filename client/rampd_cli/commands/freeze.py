"""`rampd freeze`."""

from datetime import datetime, timedelta
from typing import Any

import click

from rampd_cli.arguments import COMPONENT, DURATION, TIME, in_future, one_or_all
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("freeze", columns=COLUMNS)
@click.argument("component", type=COMPONENT, required=False, default="")
@click.option(
    "--all",
    "is_all",
    is_flag=True,
    default=False,
    help="All components, also those that are made later.",
)
@click.option("--for", "duration", type=DURATION, default=None, help="How long, such as 2h. Default: until `unfreeze`.")
@click.option("--until", type=TIME, default=None, help="When it ends, such as 2027-01-04T09:00, or 09:00.")
@change_options
def command(
    session: Session,
    component: str,
    is_all: bool,
    duration: timedelta | None,
    until: datetime | None,
    **options: Any,
) -> int:
    """Freezes a component, or all: nothing starts, rises or is finalized. Going back still works.

    \b
      rampd freeze restyler --for 2h --note "the queue of jobs is full"
      rampd freeze --all --until 2027-01-04T09:00
    """
    if duration is not None and until is not None:
        raise click.UsageError("Give --for or --until, not both.")
    expire_time = in_future(duration) if duration is not None else until
    name = one_or_all(component, is_all=is_all)
    return change(session, "freeze", name, options, all=is_all, expire_time=expire_time)
