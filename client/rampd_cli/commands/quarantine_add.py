"""`rampd quarantine add`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT, TAG
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("add", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("tag", type=TAG)
@change_options
def command(session: Session, component: str, tag: str, **options: Any) -> int:
    """Quarantines a tag. If next has it, next is rolled back. If it waits in the queue, it is taken out.

    \b
      rampd quarantine add restyler 20200409 --note "loses comments"
    """
    return change(session, "quarantine", component, options, tag=tag)
