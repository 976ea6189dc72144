"""`rampd queue cancel`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT, QUEUED
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("cancel", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("release", type=QUEUED)
@change_options
def command(session: Session, component: str, release: str, **options: Any) -> int:
    """Takes a release out of the queue. RELEASE is its tag or its number.

    \b
      rampd queue cancel restyler 20200409
    """
    from rampd_cli.waiting.chosen import chosen  # noqa: PLC0415 - it imports the messages, which `--help` does not need

    number = chosen(component, list(session.admin().list_releases(component)), release).number
    return change(session, "cancel_release", component, options, release=number)
