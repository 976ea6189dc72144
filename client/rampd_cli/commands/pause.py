"""`rampd pause`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("pause", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@change_options
def command(session: Session, component: str, **options: Any) -> int:
    """Stops automation from raising the percent of next. The guards go on.

    \b
      rampd pause restyler --note "wait for the fix of the parser"
    """
    return change(session, "pause", component, options)
