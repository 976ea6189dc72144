"""`rampd resume`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("resume", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@change_options
def command(session: Session, component: str, **options: Any) -> int:
    """Lets automation raise the percent of next again.

    It ends a pause, approves a step that waits for a person, and gives a rollout that was ramped by hand back to the plan.

    \b
      rampd resume restyler
    """
    return change(session, "resume", component, options)
