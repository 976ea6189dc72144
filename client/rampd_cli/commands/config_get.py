"""`rampd config get`."""

import click

from rampd_cli.command import command as make_command
from rampd_cli.profiles import SETTINGS
from rampd_cli.session import Session
from rampd_cli.setting import written
from rampd_cli.shown import Shown


@make_command("get", columns=("value",))
@click.argument("setting", type=click.Choice(SETTINGS))
def command(session: Session, setting: str) -> None:
    """Shows one setting of a profile: of --profile, or of the default one. Prints an empty line if it is not set.

    \b
      rampd config get server --profile production
    """
    value = getattr(session.profile, setting)
    text = written(value)
    session.show(Shown({setting: value}, [(text,)], lambda console: console.print(text, soft_wrap=True)))
