"""`rampd override export`."""

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rampd_cli.arguments import COMPONENT, FILE
from rampd_cli.command import command as make_command
from rampd_cli.failures import NotWrittenError, WrongUseError, is_of_stream
from rampd_cli.override_files.rows import CSV, FORMATS, JSON_LINES, format_of_name, is_formula, written
from rampd_cli.session import Session
from rampd_cli.work_bar import progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rampd import v1

_PAGE: Final = 1000
"""How many overrides a server is asked for at once."""
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


@make_command("export")
@click.argument("component", type=COMPONENT)
@click.argument("file", type=FILE, default="-")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=None,
    help="CSV, or a change in JSON on each line. Default: as the file's name ends, otherwise jsonl with -o json, otherwise csv.",
)
def command(session: Session, component: str, file: str, form: str | None) -> None:
    """Writes all overrides of a component to a file or to stdout, ordered by repo. `rampd override import` reads it.

    \b
      rampd override export restyler overrides.csv

    The file has each value unchanged. A spreadsheet takes a repo or a tag that begins with = + - or @ for a formula: import such a
    file as text.
    """
    form = form or format_of_name(file) or _format_of_output(session.output)
    overrides = _read(session, component)
    lines = written(overrides, form)
    if file == "-":
        for line in lines:
            click.echo(line, nl=False)
    else:
        _write(Path(file), lines)
        session.tell(f"{file} has {len(overrides):,} override{'s' * (len(overrides) != 1)} of {component}.")
    if formulas := sum(map(is_formula, overrides)):
        session.tell(f"A spreadsheet would take values in {formulas:,} of these rows for formulas.")


def _read(session: Session, component: str) -> "list[v1.Override]":
    """Returns all overrides of a component. A person sees how far that has come, because many of them take seconds."""
    found: list[v1.Override] = []
    with progress(session, "Read overrides", None) as tell:
        for override in session.admin().list_overrides(component, page_size=_PAGE, timeout=30):
            found.append(override)
            if len(found) % _PAGE == 0:
                tell(len(found))
    return found


def _format_of_output(output: str) -> str:
    """Raises UsageError for YAML, which no import reads."""
    if output == "yaml":
        raise click.UsageError(
            "Overrides are not written as YAML, but as CSV or as lines of JSON: --format csv, or --format jsonl."
        )
    return JSON_LINES if output == "json" else CSV


def _write(path: Path, lines: "Iterable[str]") -> None:
    """Replaces a file by a whole one: nobody sees a part of it. A link stays, a device or a pipe is written to, and the mode of a
    file stays. Raises WrongUseError if the file can't be made there, and NotWrittenError if it takes nothing more.
    """
    try:
        path = path.resolve()
        has = path.stat().st_mode if path.exists() else None
        if has is not None and not stat.S_ISREG(has):
            with path.open("w", encoding="utf-8", newline="") as there:
                there.writelines(lines)
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.writelines(lines)
            # Not for this user alone, but as other programs make files.
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask if has is None else stat.S_IMODE(has))
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = NotWrittenError if is_of_stream(error) or error.errno in _FULL else WrongUseError
        raise kind(f"{path} can't be written: {error.strerror}.") from error
