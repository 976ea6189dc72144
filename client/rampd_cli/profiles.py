"""The configuration file of a person: named profiles, each with a server, its credentials and settings."""

import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import click

from rampd._contract.small_file import content_of

_ROOT: Final = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile of the configuration file. Each setting may be missing."""

    name: str = ""
    server: str = ""
    """The address of the server, as `--server` takes it."""
    token_file: str = ""
    """A file with the token that proves who you are. It is read again when it changes."""
    ca_file: str = ""
    """The certificates of the authorities that may have signed the server's certificate. Default: those of the system."""
    cert_file: str = ""
    """The certificate that proves who you are, instead of a token. It needs `key_file`."""
    key_file: str = ""
    """The key of `cert_file`."""
    output: str = ""
    """`table`, `plain`, `json` or `yaml`, as `--output`."""
    utc: bool = False
    """`true`: as `--utc`."""
    actor: str = ""
    """As `--actor`."""


SETTINGS = tuple(each.name for each in fields(Profile) if each.name != "name")


@dataclass(frozen=True, slots=True)
class Profiles:
    """The configuration file."""

    path: Path
    default: str = ""
    """The profile that is used if none is named."""
    by_name: Mapping[str, Profile] = field(default_factory=dict)

    def named(self, name: str) -> Profile:
        """Returns a profile: the default one, or one without settings, if `name` is empty. Raises UsageError."""
        wanted = name or self.default
        if not wanted:
            return Profile()
        if (profile := self.by_name.get(wanted)) is None:
            known = f"It has {', '.join(sorted(self.by_name))}." if self.by_name else "It has no profiles."
            raise click.UsageError(f"{self.path} has no profile {wanted!r}. {known}")
        return profile


def config_path() -> Path:
    """Returns the place of the configuration file: `~/.config/rampd/config.toml`, or below XDG_CONFIG_HOME."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if Path(home).is_absolute() else home_of_person() / ".config") / "rampd" / "config.toml"


def home_of_person() -> Path:
    """Returns the home directory. A user that the system does not know, as in a container, has the root directory."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def read_profiles() -> Profiles:
    """Reads the configuration file. Raises UsageError, with the place of the mistake."""
    path = config_path()
    try:
        text = text_of(path)
    except FileNotFoundError:
        return Profiles(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{path} can't be read: {reason}.") from error
    import tomllib  # noqa: PLC0415 - most people have no such file

    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise click.UsageError(f"{path} is not TOML: {error}.") from None
    return checked_profiles(path, content)


def text_of(path: Path) -> str:
    """Reads a configuration file. Raises UsageError for a file that somebody else could have written, OSError and
    UnicodeDecodeError.
    """
    return content_of(path, lambda found: _require_own(path, found)).decode()


def _require_own(path: Path, found: os.stat_result) -> None:
    """Raises UsageError for a file that somebody else could have written: it says where this person's token is sent."""
    if os.getuid() != _ROOT and found.st_uid not in {_ROOT, os.getuid()}:
        raise click.UsageError(
            f"{path} belongs to another user, who could send your token to another server. Remove it."
        )
    if found.st_mode & stat.S_IWOTH:
        raise click.UsageError(
            f"Every user of this machine can write {path}, and so send your token to another server. Look at it, then type: "
            f"chmod go-w {shlex.quote(str(path))}"
        )


def checked_profiles(path: Path, content: Mapping[str, Any]) -> Profiles:
    """Returns the profiles in the content of a configuration file. Raises UsageError, with the place of the mistake."""
    if unknown := sorted(content.keys() - {"default", "profiles"}):
        raise click.UsageError(f"{path}: {unknown[0]!r} is not a setting. Settings belong into [profiles.NAME].")
    tables = content.get("profiles", {})
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise click.UsageError(f"{path}: `profiles` must have a table for each profile, such as [profiles.production].")
    default = content.get("default", "")
    if not isinstance(default, str):
        raise click.UsageError(f"{path}: `default` must be a text in quotes.")
    if default and default not in tables:
        raise click.UsageError(f"{path}: `default` names {default!r}, and there is no [profiles.{default}].")
    return Profiles(path, default, {name: _profile(path, name, table) for name, table in tables.items()})


def _profile(path: Path, name: str, table: Mapping[str, Any]) -> Profile:
    for setting, value in table.items():
        if setting not in SETTINGS:
            raise click.UsageError(
                f"{path}: [profiles.{name}] has no setting {setting!r}. There are: {', '.join(SETTINGS)}."
            )
        wanted, kind = (bool, "true or false") if setting == "utc" else (str, "a text in quotes")
        if not isinstance(value, wanted):
            raise click.UsageError(f"{path}: {setting} of [profiles.{name}] must be {kind}.")
    return Profile(name=name, **table)
