"""`rampd rollback`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options, only_if_next
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("rollback", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@only_if_next
@click.option(
    "--quarantine", is_flag=True, default=False, help="Also refuse this tag until somebody lifts the quarantine."
)
@change_options
def command(session: Session, component: str, tag: str, quarantine: bool, **options: Any) -> int:
    """Takes next away from everybody, at once. Next stays at 0 %, and the rollout is HELD.

    \b
      rampd rollback restyler --note "errors in the log"
    """
    return change(session, "rollback", component, options, tag=tag, quarantine=quarantine)
