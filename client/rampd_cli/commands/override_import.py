"""`rampd override import`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from rampd_cli.arguments import COMPONENT, FILE
from rampd_cli.changing import How, after_the_change, before_the_change, options_of_many_changes, require_revision
from rampd_cli.command import command as make_command
from rampd_cli.failures import WrongUseError
from rampd_cli.override_files.changes import Changes
from rampd_cli.override_files.rows import FORMATS, MOST_BYTES, Refused, Row, UnreadableError, format_of, read_rows
from rampd_cli.override_files.sending import BATCH, Done, Wanted, compare, send
from rampd_cli.session import Session
from rampd_cli.shown import Shown, as_dry_run
from rampd_cli.work_bar import progress

_COLUMNS: Final = ("component", "set", "deleted", "same", "expired", "refused", "revision")
_SHOWN: Final = 20
"""How many refused rows a person reads."""
_MOVES: Final = 10


@make_command("import", columns=_COLUMNS, asks="`rampd override import --replace`, if it would delete an override")
@click.argument("component", type=COMPONENT)
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=None,
    help="CSV, or a change in JSON on each line. Default: as the file's name ends, otherwise by its first character.",
)
@click.option(
    "--skip-invalid",
    is_flag=True,
    default=False,
    help="Leave out the rows that are wrong. Default: import nothing. Not with --replace, nor if the header is wrong.",
)
@click.option(
    "--replace",
    is_flag=True,
    default=False,
    help="Also delete every override that the file does not have, or that has expired there. Asks first.",
)
@options_of_many_changes
def command(
    session: Session, component: str, file: str, form: str | None, skip_invalid: bool, replace: bool, **options: Any
) -> None:
    """Sets many overrides from a file, `-` is stdin: CSV with a header, or a change of the API in JSON on each line.

    \b
      repo,channel,tag,expire_time,delete
      acme/app,next,,,
      acme/*,,1.4.2,2026-12-01T09:00:00Z,
      acme/old,,,,true

    Every row is checked before the first is sent. Only rows that change something are sent, a thousand at a time. If the import is
    interrupted, type it again: it continues where it ended. A row that has expired sets nothing.

    Others may change overrides meanwhile. If two imports set one repo, the later one wins, as with `rampd override set`.
    --replace deletes no override that was set or changed after the import began: it ends with REVISION_MISMATCH.

    \b
      rampd override import restyler overrides.csv
    """
    how = How.taken_from(options)
    with before_the_change():
        content = _content(file)
        rows, refused = _checked(session, file, content, form or format_of(file, content))
    _tell(session, file, refused)
    if refused and (replace or not skip_invalid or not rows):
        raise WrongUseError(_refusal(session, file, rows, refused, replace=replace, skip_invalid=skip_invalid))
    wanted = Wanted(component, file, rows, replace, how)
    with before_the_change():
        found = compare(session, wanted)
    if (removed := found.changes.removed) and not how.yes and not how.dry_run:
        session.confirm(_question(component, file, removed))
    done = send(session, wanted, found)
    if not done.revision:
        done.revision = session.admin().get_rollout(component).revision
        require_revision(component, done.revision, how)
    with after_the_change(done.request_id):
        session.show(_shown(component, found.changes, refused, done, is_dry_run=how.dry_run))


def _question(component: str, file: str, removed: Sequence[Any]) -> str:
    from rampd._contract.wording import counted  # noqa: PLC0415 - it is slow to import

    if len(removed) == 1:
        return f"The override of {removed[0].repo} is not in {file}, or has expired there. It is deleted. Go on?"
    return (
        f"{counted(len(removed), 'override')} of {component} are not in {file}, or have expired there, such as that of "
        f"{removed[0].repo}. They are deleted. Go on?"
    )


def _refusal(
    session: Session,
    file: str,
    rows: Sequence[Row],
    refused: Sequence[Refused],
    *,
    replace: bool,
    skip_invalid: bool,
) -> str:
    """Says that nothing was imported, and what to do. A program also gets the rows, because it reads nothing else."""
    from rampd._contract.wording import counted  # noqa: PLC0415 - it is slow to import

    if replace:
        advice = "Correct the file. With --replace no row is left out, because its override would be deleted."
    elif skip_invalid:
        advice = "No row is right. Correct the file."
    else:
        advice = "Correct the file, or type the command again with --skip-invalid."
    said = "".join(f"{line}\n" for line in _said(file, refused)) if session.output in {"json", "yaml"} else ""
    of = counted(len(rows) + len(refused), "row")
    are = "is" if len(refused) == 1 else "are"
    return f"{said}{len(refused):,} of {of} {are} wrong, and nothing was imported. {advice}"


def _content(file: str) -> bytes:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise WrongUseError(f"{file} can't be read: {error.strerror}.") from error
    if len(content) > MOST_BYTES:
        raise WrongUseError(f"{file} is larger than {MOST_BYTES // 1024 // 1024} MiB. Split it.")
    return content


def _checked(session: Session, file: str, content: bytes, form: str) -> tuple[list[Row], list[Refused]]:
    """Returns the rows of a file. A person sees how far that has come, because many rows take seconds. Raises WrongUseError."""
    try:
        if not sys.stderr.isatty():
            return read_rows(content, form)
        with progress(session, "Checked lines", content.count(b"\n")) as tell:
            return read_rows(content, form, lambda line: None if line % BATCH else tell(line))
    except UnreadableError as error:
        raise WrongUseError(f"{file}:{error.line}: {error.text}. Nothing was imported.") from error


def _tell(session: Session, file: str, refused: Sequence[Refused]) -> None:
    for line in _said(file, refused):
        session.tell(line)


def _said(file: str, refused: Sequence[Refused]) -> list[str]:
    from rampd._contract.wording import counted, one_line  # noqa: PLC0415 - it is slow to import

    lines = [one_line(f"{file}:{each.line}: {each.text}") for each in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"… and {counted(len(refused) - _SHOWN, 'more row')}")
    return lines


def _shown(component: str, found: Changes, refused: Sequence[Refused], done: Done, *, is_dry_run: bool) -> Shown:
    counts = (done.set, done.deleted, found.same, found.expired, len(refused))

    def draw(console: Any) -> None:
        from rampd._contract.wording import counted, one_line  # noqa: PLC0415 - only for a person
        from rampd_cli.drawing.paragraph import say  # noqa: PLC0415 - as above

        verb = "Dry run, nothing is changed. It would set" if is_dry_run else "Set"
        delete = "delete" if is_dry_run else "deleted"
        overrides = counted(done.deleted, "override")
        parts = [f"{verb} {done.set:,} and {delete} {overrides} of {component}; {found.same:,} as before"]
        if found.expired:
            parts.append(f"{found.expired:,} already expired")
        if refused:
            parts.append(f"{counted(len(refused), 'row')} {'is' if len(refused) == 1 else 'are'} wrong and left out")
        say(console, f"{', '.join(parts)}.")
        if is_dry_run and done.seen:
            alone = ", if each thousand rows were set alone" if done.batches > 1 else ""
            say(
                console,
                f"Of the {done.about}{counted(done.seen, 'repo')} that rampd saw in the last day, {done.about}{done.moved:,} would get "
                f"another version{alone}{':' if done.moves else '.'}",
            )
            for line in done.moves[:_MOVES]:
                say(console, f"  {one_line(line)}")

    data = dict(zip(_COLUMNS[1:6], counts, strict=True)) | {
        "component": component,
        "revision": str(done.revision),  # as in the JSON of the API
        "refusedRows": [{"line": each.line, "text": each.text} for each in refused],
    }
    return Shown(
        as_dry_run(data) if is_dry_run else data,
        [(component, *map(str, counts), str(done.revision))],
        draw,
    )
