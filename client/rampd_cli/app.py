"""`rampd` as a whole: its commands, and what happens when one of them fails."""

import os
import re
from collections.abc import Sequence

import click

from rampd_cli.command import Root, output_of
from rampd_cli.failures import Exit, not_written, tell
from rampd_cli.session import OUTPUTS, Session, Settings
from rampd_cli.version import print_version

SECTIONS = {
    "See": {
        "status": "What is rolled out, and what waits for a person.",
        "history": "Who changed what, when and why.",
        "explain": "Which version a repo gets, and why.",
        "plan": "What the policy will do, and how soon it finds a bad release.",
        "wait": "Waits until a release is current, next, held or at a percent.",
        "doctor": "Looks for what is wrong with the connection, the server and the store.",
    },
    "Roll out": {
        "release": "Hands in a tag.",
        "ramp": "Sets the percent of next.",
        "confirm": "Keeps a ramp that was made with --confirm-within.",
        "pause": "Stops automation from raising the percent.",
        "resume": "Lets automation raise the percent again.",
        "finalize": "Makes next current.",
    },
    "Take back": {
        "rollback": "Takes next away from everybody, at once.",
        "revert": "Makes a previous version current again, at once.",
        "abandon": "Drops next.",
        "freeze": "Nothing starts, rises or is finalized until `unfreeze`.",
        "unfreeze": "Ends a freeze.",
        "quarantine": "Tags that must not be rolled out.",
    },
    "Set up": {
        "override": "Gives single repos a fixed version or channel.",
        "policy": "The settings of components, also as files.",
        "queue": "The releases that wait.",
        "delete": "Deletes a component.",
        "config": "The servers and credentials of this machine.",
        "completion": "Completes commands, components, tags and repos with an override in your shell.",
    },
}

_HELP = """Shows and changes which version of a component each job runs.

Rollback is one command: rampd rollback COMPONENT

Exit codes: 0 done, or nothing had to change; 1 refused; 2 the command line or a file is wrong; 3 no server answers, or it has no store;
4 `wait` ended badly; 5 you said no; 124 the time of `wait` is over.
"""

root = Root(
    SECTIONS,
    help=_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": False},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            default=False,
            expose_value=False,
            is_eager=True,
            callback=print_version,
            help="Show the version of rampd.",
        )
    ],
)


def run(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    if "_RAMPD_COMPLETE" in os.environ:
        import rampd_cli.shells  # noqa: F401, PLC0415 - only a shell completes. click finds the classes of shells there
    try:
        return root.main(args=list(arguments) or ["--help"], prog_name="rampd", standalone_mode=False) or Exit.DONE
    except click.ClickException as error:
        return tell(error, _output_of(arguments))
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except OSError as error:
        return tell(not_written(error), _output_of(arguments))


def _output_of(arguments: Sequence[str]) -> str:
    """The output that was asked for, also on a command line that could not be read."""
    asked = [each for each in _values(arguments, "output", "o") if each in OUTPUTS]
    return asked[-1] if asked else output_of(Session(Settings(profile="".join(_values(arguments, "profile")[-1:]))))


def _values(arguments: Sequence[str], option: str, letter: str = "") -> list[str]:
    """Returns what follows an option. Its letter may be the last of several, as in `-fo json`."""
    shape = re.compile(
        f"--{option}(?:=(.*))?|-[a-zA-Z]*?{letter}(.*)" if letter else f"--{option}(?:=(.*))?", re.DOTALL
    )
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    found = ((shape.fullmatch(word), following) for word, following in zip(words, [*words[1:], ""], strict=True))
    return [next(filter(None, shaped.groups()), following) for shaped, following in found if shaped is not None]
