"""`rampd unfreeze`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT, one_or_all
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("unfreeze", columns=COLUMNS)
@click.argument("component", type=COMPONENT, required=False, default="")
@click.option("--all", "is_all", is_flag=True, default=False, help="End the freeze of all components.")
@change_options
def command(session: Session, component: str, is_all: bool, **options: Any) -> int:
    """Ends the freeze of a component, or with --all the freeze of all. Neither ends the other.

    \b
      rampd unfreeze restyler
    """
    return change(session, "unfreeze", one_or_all(component, is_all=is_all), options, all=is_all)
