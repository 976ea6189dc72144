"""An answer, and how it is written: as a table for a person, as lines for a pipe, as JSON or YAML for a program."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from rampd_cli.streams import is_utf8
from rampd_cli.yaml_text import yaml_text

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console


_SIZE: Final = re.compile("0*[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer of a command."""

    data: "Message | Mapping[str, Any]"
    """For JSON and YAML: a message of the API, or values that JSON can hold (`as_data` makes them of messages)."""
    rows: Iterable[Sequence[str]]
    """For `plain`: one row a line, the columns of the command in order."""
    draw: "Callable[[Console], None]"
    """For `table`: draws the answer on a terminal."""


def show(shown: Shown, output: str) -> None:
    """Writes an answer to stdout."""
    if output == "json":
        click.echo(_json(shown.data, indent=2))
    elif output == "yaml":
        click.echo(yaml_text(as_data(shown.data)), nl=False)
    elif output == "plain":
        from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that shows something

        for row in shown.rows:
            click.echo("\t".join(map(one_line, row)))
    else:
        shown.draw(terminal())


def show_next(shown: Shown, output: str) -> None:
    """Writes one of many answers that come one after the other: JSON as a line, YAML as a document of its own."""
    if output == "json":
        click.echo(_json(shown.data))
        return
    if output == "yaml":
        click.echo("---")
    show(shown, output)


def _json(value: "Message | Mapping[str, Any]", indent: int | None = None) -> str:
    """Returns JSON with escapes for what would move the cursor of a terminal, or turn the direction of reading. Programs read it as
    UTF-8, so in another encoding it is ASCII.
    """
    from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that shows something

    document = json.dumps(as_data(value), ensure_ascii=not is_utf8(sys.stdout), indent=indent)
    return one_line(document, keep="\n")


def as_data(value: "Message | Mapping[str, Any]") -> Any:
    """Returns a message as the JSON of the API: the same that the port for HTTP answers."""
    if isinstance(value, Mapping):
        return value
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - only with -o json and yaml

    return MessageToDict(value)


def as_dry_run(value: "Message | Mapping[str, Any]") -> Mapping[str, Any]:
    """Returns the answer to a dry run as JSON. It is that of the change, so it also says that nothing was changed."""
    return {**as_data(value), "dryRun": True}


def terminal(*, is_error: bool = False) -> "Console":
    """Returns the terminal, or that of stderr. Text of other people is never read as markup. NO_COLOR, COLUMNS and a pipe are respected."""
    from rich.console import Console  # noqa: PLC0415 - it is slow to import, and a pipe does not need it

    for name in ("COLUMNS", "LINES"):
        # rich takes 0 for a size, and fails on what looks like a number.
        if not _SIZE.fullmatch(os.environ.get(name, "")):
            os.environ.pop(name, None)
    return Console(stderr=is_error, markup=False, highlight=False, emoji=False, soft_wrap=False)


def live_terminal(*, is_error: bool = False) -> "Console | None":
    """Returns the terminal if a view can be drawn there again and again. None for a pipe, and for a terminal that can't go back to
    what is written (`TERM=dumb`): there a view is a line for each change.
    """
    if not (sys.stderr if is_error else sys.stdout).isatty():
        return None
    console = terminal(is_error=is_error)
    return console if console.is_terminal and not console.is_dumb_terminal else None
