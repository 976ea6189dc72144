"""`rampd override remove`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT, REPO
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("remove", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("repo", type=REPO)
@change_options
def command(session: Session, component: str, repo: str, **options: Any) -> int:
    """Removes the override of a repo or a prefix, written as it was set. The repo follows the percent again.

    \b
      rampd override remove restyler acme/app
    """
    return change(session, "delete_override", component, options, repo=repo)
