"""`rampd abandon`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options, only_if_next
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("abandon", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@only_if_next
@click.option(
    "--quarantine", is_flag=True, default=False, help="Also refuse this tag until somebody lifts the quarantine."
)
@change_options
def command(session: Session, component: str, tag: str, quarantine: bool, **options: Any) -> int:
    """Drops next. The first release of the queue becomes next at 0 %.

    \b
      rampd abandon restyler --quarantine --note "loses comments"
    """
    return change(session, "abandon", component, options, tag=tag, quarantine=quarantine)
