"""A setting of a profile on the command line: checked before it is stored, and written as it is typed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from rampd_cli.arguments import FILE, SERVER, Text, starting
from rampd_cli.failures import WrongUseError
from rampd_cli.profiles import SETTINGS, Profiles, read_profiles
from rampd_cli.session import OUTPUTS, Session
from rampd_cli.shown import Shown

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS: Final = ("profile", "setting", "value")
"""The columns of the answer of a change of a setting."""
_REFUSED: Final = (
    "Do not write a token on the command line or in the configuration file: others can read both. Write it into a file that only "
    "you can read, and type: rampd config set token_file FILE"
)
_FILES: Final = ("token_file", "ca_file", "cert_file", "key_file")
_TRUTHS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_FIRST: Final = "default"
"""The name of the first profile, if the person gives none."""


class SettingName(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """The name of a setting, which a shell can complete. `checked_setting` checks it, and says more than click about a wrong one."""

    name = "setting"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return starting(incomplete, SETTINGS)


class SettingValue(Text):
    """The value of the setting before it on the line, which a shell can complete. `checked_setting` says what to type if it is empty."""

    name = "value"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        setting = ctx.params.get("setting")
        if setting in _FILES:
            return FILE.shell_complete(ctx, param, incomplete)
        if setting == "server":
            return SERVER.shell_complete(ctx, param, incomplete)
        return starting(incomplete, {"output": OUTPUTS, "utc": ("true", "false")}.get(str(setting), ()))


def checked_setting(setting: str, value: str, *, at: str = "") -> str | bool:
    """Returns the value of a setting as the file has it. Raises WrongUseError. `at`: see `Session.at`."""
    if setting == "token" or _is_token(value):
        raise WrongUseError(f"{_REFUSED}{at}")
    if setting not in SETTINGS:
        raise WrongUseError(f"There is no setting {setting!r}. There are: {', '.join(SETTINGS)}.")
    if not value:
        raise WrongUseError(f"{setting} needs a value. To remove it: rampd config unset {setting}{at}")
    if setting == "utc":
        if value.lower() not in _TRUTHS:
            raise WrongUseError(f"utc is true or false; got {value!r}.")
        return _TRUTHS[value.lower()]
    if setting in _FILES:
        # Otherwise it would be another file in another folder. `~` stays, so that the file can be shared by machines.
        try:
            return value if value.startswith("~") else str(Path(value).absolute())
        except FileNotFoundError:
            raise WrongUseError("The working directory was deleted. Give the whole path of the file.") from None
    if wrong := _what_is_wrong(setting, value):
        raise WrongUseError(wrong)
    return value


def written(value: object) -> str:
    """Writes a setting as `rampd config set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def profile_to_change(session: Session) -> str:
    """Returns the name of the profile to change. Raises UsageError and WrongUseError."""
    if session.profile_name:
        return session.profile_name
    profiles = read_profiles()
    if profiles.default:
        return profiles.default
    if profiles.by_name:
        raise WrongUseError(
            f"There is no default profile. Say which one to change: --profile NAME. There are: {', '.join(profiles.by_name)}."
        )
    return _FIRST


def shown_change(profiles: Profiles, name: str, setting: str, text: str) -> Shown:
    """Returns the answer of a change of a setting. `text` says for a person what changed."""
    value = getattr(profiles.by_name[name], setting)

    def draw(console: "Console") -> None:
        from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a person
        from rampd_cli.drawing.paragraph import say  # noqa: PLC0415 - as above

        say(console, one_line(text))

    data: dict[str, Any] = {"profile": name, "setting": setting, "value": value}
    return Shown(data, [(name, setting, written(value))], draw)


def _is_token(value: str) -> bool:
    """Whether a text looks like a token of rampd, or like a JSON web token."""
    from rampd._contract.token import TOKEN  # noqa: PLC0415 - only `rampd config` needs it

    return TOKEN.fullmatch(value) is not None or (value.startswith("eyJ") and value.count(".") == 2)


def _what_is_wrong(setting: str, value: str) -> str:
    if setting == "output":
        return "" if value in OUTPUTS else f"output is one of {', '.join(OUTPUTS)}; got {value!r}."
    if setting == "actor":
        from rampd._contract.grammar import ACTOR  # noqa: PLC0415 - only `rampd config` needs it

        return "" if ACTOR.matches(value) else f"actor must be {ACTOR.expected}; got {ACTOR.told(value)}."
    from rampd import Admin  # noqa: PLC0415 - it is slow to import
    from rampd.errors import InvalidArgumentError  # noqa: PLC0415 - as above

    try:
        Admin(value).close()
    except InvalidArgumentError as error:
        # Other violations are about credentials in the environment, not about this setting.
        return "; ".join(f"server {wrong}" for field, wrong in error.violations if field == "target")
    return ""
