"""`rampd config list`."""

from typing import Any, Final

from rampd_cli.command import command as make_command
from rampd_cli.listing import listing
from rampd_cli.profiles import SETTINGS, Profile, read_profiles
from rampd_cli.session import Session
from rampd_cli.setting import written

_COLUMNS: Final = ("profile", "default", "setting", "value")


@make_command("list", columns=_COLUMNS)
def command(session: Session) -> None:
    """Lists the profiles and their settings.

    Credentials of a profile go to the server of the profile only. RAMPD_TOKEN, RAMPD_TOKEN_FILE and RAMPD_CERT_FILE win over
    them.

    \b
      rampd config list
    """
    profiles = read_profiles()
    of_profiles = {name: _settings_of(profile) for name, profile in profiles.by_name.items()}
    rows = [
        (name, "yes" if name == profiles.default else "no", setting, written(value))
        for name, settings in of_profiles.items()
        for setting, value in settings.items()
    ]
    session.show(
        listing(
            {"path": str(profiles.path), "default": profiles.default, "profiles": of_profiles},
            rows,
            titles=("Profile", "Setting", "Value"),
            drawn=[(f"{name} (default)" if is_default == "yes" else name, *rest) for name, is_default, *rest in rows],
            nothing="There are no settings. To make a profile: rampd config set server HOST:PORT --profile NAME",
        )
    )


def _settings_of(profile: Profile) -> dict[str, Any]:
    return {name: value for name in SETTINGS if (value := getattr(profile, name))}
