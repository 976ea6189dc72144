"""`rampd config`."""

from rampd_cli.command import Group

command = Group(
    "config",
    {
        "list": "The profiles and their settings.",
        "get": "One setting of a profile.",
        "set": "Sets a setting of a profile, and makes the profile if there is none.",
        "unset": "Removes a setting of a profile.",
        "use": "Makes a profile the one that is used if none is named.",
        "path": "Where the configuration file is.",
    },
    help="The servers and credentials of this machine, as named profiles in ~/.config/rampd/config.toml.",
)
