"""`rampd finalize`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options, only_if_next
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("finalize", columns=COLUMNS, asks="`rampd finalize --force`")
@click.argument("component", type=COMPONENT)
@only_if_next
@click.option("--force", is_flag=True, default=False, help="Finalize a next at 0 %, which nobody has tried. Asks.")
@change_options
def command(session: Session, component: str, tag: str, force: bool, **options: Any) -> int:
    """Makes next current. The first release of the queue becomes next at 0 %.

    \b
      rampd finalize restyler
    """
    asks = f"Next of {component} becomes current for everybody at once, even if nobody has tried it." if force else ""
    return change(session, "finalize", component, options, asks=asks, tag=tag, force=force)
