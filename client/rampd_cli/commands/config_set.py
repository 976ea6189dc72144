"""`rampd config set`."""

from typing import Any

import click

from rampd_cli.command import command as make_command
from rampd_cli.config_file import change_config
from rampd_cli.profiles import SETTINGS
from rampd_cli.session import Session
from rampd_cli.setting import (
    COLUMNS,
    SettingName,
    SettingValue,
    checked_setting,
    profile_to_change,
    shown_change,
    written,
)


@make_command("set", columns=COLUMNS, epilog=f"Settings: {', '.join(SETTINGS)}.")
@click.argument("setting", type=SettingName())
@click.argument("value", type=SettingValue())
def command(session: Session, setting: str, value: str) -> None:
    """Sets a setting of a profile: of --profile, or of the default one. Creates the profile if it does not exist.

    \b
      rampd config set server https://rampd.example.com:50051 --profile production
      rampd config set token_file ~/.config/rampd/token --profile production
    """
    new, name = checked_setting(setting, value, at=session.at), profile_to_change(session)

    def edit(document: Any) -> None:
        import tomlkit  # noqa: PLC0415 - only `rampd config` changes the file

        profiles = document.setdefault("profiles", tomlkit.table(is_super_table=True))
        if not profiles and not document.get("default"):
            document["default"] = name
        profiles.setdefault(name, tomlkit.table())[setting] = new

    changed = change_config(edit)
    session.show(shown_change(changed, name, setting, f"{setting} of the profile {name} is {written(new)} now."))
