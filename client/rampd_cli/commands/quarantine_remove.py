"""`rampd quarantine remove`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT, QUARANTINED
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("remove", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("tag", type=QUARANTINED)
@change_options
def command(session: Session, component: str, tag: str, **options: Any) -> int:
    """Ends the quarantine of a tag.

    \b
      rampd quarantine remove restyler 20200409
    """
    return change(session, "unquarantine", component, options, tag=tag)
