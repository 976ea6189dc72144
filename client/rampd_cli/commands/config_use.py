"""`rampd config use`."""

from typing import Any

import click

from rampd_cli.arguments import PROFILE
from rampd_cli.command import command as make_command
from rampd_cli.config_file import change_config
from rampd_cli.failures import WrongUseError
from rampd_cli.session import Session
from rampd_cli.shown import Shown


@make_command("use", columns=("profile",))
@click.argument("name", type=PROFILE, metavar="PROFILE")
def command(session: Session, name: str) -> None:
    """Makes a profile the one that is used if none is named.

    \b
      rampd config use production
    """

    def edit(document: Any) -> None:
        if name not in document.get("profiles", {}):
            raise WrongUseError(f"There is no profile {name!r}. rampd config list shows the profiles.")
        document["default"] = name

    change_config(edit)
    text = f"The profile {name} is the default now."
    session.show(Shown({"default": name}, [(name,)], lambda console: console.print(text, soft_wrap=True)))
