"""`rampd confirm`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options, only_if_next
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("confirm", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@only_if_next
@change_options
def command(session: Session, component: str, tag: str, **options: Any) -> int:
    """Keeps a ramp that was made with --confirm-within. Without it, next goes back to 0 % when the time is over.

    \b
      rampd confirm restyler
    """
    return change(session, "confirm", component, options, tag=tag)
