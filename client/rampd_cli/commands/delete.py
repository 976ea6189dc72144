"""`rampd delete`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("delete", columns=COLUMNS, asks="`rampd delete`, for the name of the component")
@click.argument("component", type=COMPONENT)
@change_options
def command(session: Session, component: str, **options: Any) -> int:
    """Deletes a component with its queue, quarantine and overrides. Its history stays. Asks for its name.

    \b
      rampd delete restyler --note "nobody runs it any more"
    """
    asks = f"{component} is deleted with its queue, quarantine and overrides. Its history stays."
    return change(session, "delete_component", component, options, asks=asks, answer=component, confirm=component)
