"""`rampd config unset`."""

from typing import Any

import click

from rampd_cli.command import command as make_command
from rampd_cli.config_file import change_config
from rampd_cli.failures import WrongUseError
from rampd_cli.profiles import SETTINGS
from rampd_cli.session import Session
from rampd_cli.setting import COLUMNS, profile_to_change, shown_change


@make_command("unset", columns=COLUMNS)
@click.argument("setting", type=click.Choice(SETTINGS))
def command(session: Session, setting: str) -> None:
    """Removes a setting of a profile: of --profile, or of the default one.

    \b
      rampd config unset ca_file --profile production
    """
    name = profile_to_change(session)

    def edit(document: Any) -> None:
        profiles = document.get("profiles", {})
        if name not in profiles:
            raise WrongUseError(f"There is no profile {name!r}. rampd config list shows the profiles.")
        profiles[name].pop(setting, None)

    session.show(shown_change(change_config(edit), name, setting, f"{setting} of the profile {name} is not set now."))
