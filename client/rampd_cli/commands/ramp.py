"""`rampd ramp`."""

from datetime import timedelta
from typing import Any

import click

from rampd_cli.arguments import COMPONENT, DURATION, PERCENT
from rampd_cli.changing import COLUMNS, change, change_options, only_if_next
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("ramp", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("percent", type=PERCENT)
@only_if_next
@click.option(
    "--confirm-within",
    type=DURATION,
    default=None,
    metavar="DURATION",
    help="If nobody types `rampd confirm` within this time, next goes back to 0 %.",
)
@change_options
def command(
    session: Session,
    component: str,
    percent: float,
    tag: str,
    confirm_within: timedelta | None,
    **options: Any,
) -> int:
    """Sets the percent of next, up or down: 0 to 100, with at most two decimals.

    From HELD it resumes the rollout.

    \b
      rampd ramp restyler 10
      rampd ramp restyler 25 --confirm-within 15m
    """
    return change(session, "ramp", component, options, percent=percent, tag=tag, confirm_within=confirm_within)
