"""`rampd override import`."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rampd_cli.arguments import COMPONENT, FILE
from rampd_cli.changing import How, options_of_many_changes, require_revision
from rampd_cli.command import command as make_command
from rampd_cli.failures import WrongUseError, mark_partly_done
from rampd_cli.override_files.changes import Changes, changes
from rampd_cli.override_files.rows import FORMATS, MOST_BYTES, Refused, Row, format_of, read_rows
from rampd_cli.session import Session
from rampd_cli.shown import Shown
from rampd_cli.work_bar import progress

if TYPE_CHECKING:
    from rampd import v1

_COLUMNS: Final = ("component", "set", "deleted", "same", "expired", "refused", "revision")
_BATCH: Final = 1000
_TIMEOUT_S: Final = 30.0
"""A thousand overrides take longer than other calls."""
_SHOWN: Final = 20
"""How many refused rows a person reads."""
_MOVES: Final = 10


@dataclass(slots=True)
class _Done:
    """How far an import has come."""

    set: int = 0
    deleted: int = 0
    revision: int = 0
    seen: int = 0
    moved: int = 0
    about: str = ""
    """Before a number that is an estimate."""
    batches: int = 0
    moves: list[str] = field(default_factory=list)
    """Some of the repos that would get another version, a line each."""


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
    "--skip-invalid", is_flag=True, default=False, help="Leave out the rows that are wrong. Default: import nothing."
)
@click.option(
    "--replace", is_flag=True, default=False, help="Also delete every override that the file does not have. Asks first."
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
    interrupted, type it again: it continues where it ended.

    \b
      rampd override import restyler overrides.csv
    """
    how = How.taken_from(options)
    content = _content(file)
    rows, refused = _checked(session, content, form or format_of(file, content))
    _tell(session, file, refused)
    if refused and not skip_invalid:
        rows_for_program = _said(file, refused) if session.output in {"json", "yaml"} else []
        raise WrongUseError(
            "".join(f"{row}\n" for row in rows_for_program)
            + f"{len(refused):,} of {len(rows) + len(refused):,} rows are wrong, and nothing was imported. Correct them, or type the "
            "command again with --skip-invalid."
        )
    admin = session.admin()

    def compared() -> Changes:
        overrides = admin.list_overrides(component, page_size=_BATCH, timeout=_TIMEOUT_S)
        return changes(rows, overrides, time.time(), replace=replace)

    found = compared()
    if found.removed and not how.yes and not how.dry_run:
        session.confirm(
            f"{len(found.removed):,} overrides of {component} are not in {file}, such as that of {found.removed[0].repo}. They are "
            "deleted. Go on?"
        )
        seen, found = found, compared()
        _require_seen(component, seen, found)
    done = _send(session, component, found, file, how)
    if not done.revision:
        done.revision = admin.get_rollout(component).revision
        require_revision(component, done.revision, how)
    session.show(_shown(component, found, refused, done, is_dry_run=how.dry_run))


def _require_seen(component: str, seen: Changes, found: Changes) -> None:
    """Raises AbortedError if an override would be deleted that is not as it was when the person was asked."""
    from rampd.errors import AbortedError  # noqa: PLC0415 - it is slow to import

    asked = {each.repo: each for each in seen.removed}
    if changed := next((each.repo for each in found.removed if asked.get(each.repo) != each), ""):
        raise AbortedError(
            f"The override of {changed} has changed since you were asked. Nothing was imported. Type the command again.",
            reason="REVISION_MISMATCH",
            metadata={"component": component, "repo": changed},
        )


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


def _checked(session: Session, content: bytes, form: str) -> tuple[list[Row], list[Refused]]:
    """Returns the rows of a file. A person sees how far that has come, because many rows take seconds."""
    if not sys.stderr.isatty():
        return read_rows(content, form)
    with progress(session, "Checked lines", content.count(b"\n")) as tell:
        return read_rows(content, form, lambda line: None if line % _BATCH else tell(line))


def _tell(session: Session, file: str, refused: Sequence[Refused]) -> None:
    for line in _said(file, refused):
        session.tell(line)


def _said(file: str, refused: Sequence[Refused]) -> list[str]:
    from rampd._contract.wording import one_line  # noqa: PLC0415 - it is slow to import

    lines = [one_line(f"{file}:{each.line}: {each.text}") for each in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"… and {len(refused) - _SHOWN:,} more rows")
    return lines


def _send(session: Session, component: str, found: Changes, file: str, how: How) -> _Done:
    """Sends the changes in batches. If that ends early, the person reads how far it came."""
    from rampd import v1  # noqa: PLC0415 - it is slow to import
    from rampd.errors import AbortedError, RampdError  # noqa: PLC0415

    rows = [*found.rows, *(Row(0, v1.OverrideChange(repo=each.repo, delete=True)) for each in found.removed)]
    done = _Done()
    with progress(session, f"{'Asked' if how.dry_run else 'Imported'} overrides", len(rows)) as tell:
        for at in range(0, len(rows), _BATCH):
            try:
                _batch(session.admin().batch_set_overrides, component, rows[at : at + _BATCH], how, done)
            except (RampdError, KeyboardInterrupt) as error:
                text = f"At least {at:,} of {len(rows):,} changes are made. {_again(how)}"
                if how.dry_run or (not at and isinstance(error, AbortedError)):
                    text = "Nothing was changed."
                if isinstance(error, KeyboardInterrupt):
                    session.tell(f"\n{text}")
                else:
                    for line in _lines(error, rows[at : at + _BATCH]):
                        error.add_note(f"{file}:{line}")
                    error.add_note(text)
                    if at and not how.dry_run:
                        mark_partly_done(error)
                raise
            tell(min(at + _BATCH, len(rows)))
    return done


def _again(how: How) -> str:
    without = "" if how.expect_revision is None else " without --expect-revision"
    return f"Type the command again{without}: it goes on there."


def _batch(method: Callable[..., Any], component: str, rows: Sequence[Row], how: How, done: _Done) -> None:
    # With the first batch, the component gets another revision than the person expects.
    expected = {} if done.batches else {"expected_revision": how.expect_revision}
    answer: v1.BatchSetOverridesResponse = method(
        component, [row.change for row in rows], note=how.note, dry_run=how.dry_run, timeout=_TIMEOUT_S, **expected
    )
    deleted = sum(row.change.delete for row in rows)
    done.deleted += deleted
    done.set += len(rows) - deleted
    done.revision = answer.revision
    preview = answer.preview
    done.batches += 1
    done.seen = preview.repos_seen
    done.moved += preview.repos_moved
    # A batch does not know the other ones, and one override of a prefix may be hidden by another batch.
    done.about = "about " if preview.estimated or done.batches > 1 else ""
    done.moves += [f"{move.repo}: {move.before or 'none'} -> {move.after or 'none'}" for move in preview.moves]


def _lines(error: Any, rows: Sequence[Row]) -> list[str]:
    """The lines of the rows that the server refuses: it names `overrides[3].repo`."""
    lines = []
    for path, text in getattr(error, "violations", ()):
        place = path.removeprefix("overrides[").partition("]")[0]
        if place.isdecimal() and int(place) < len(rows) and rows[int(place)].line:
            lines.append(f"{rows[int(place)].line}: {text}")
    return lines


def _shown(component: str, found: Changes, refused: Sequence[Refused], done: _Done, *, is_dry_run: bool) -> Shown:
    counts = (done.set, done.deleted, found.same, found.expired, len(refused))

    def draw(console: Any) -> None:
        from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a person

        verb = "Dry run, nothing is changed. It would set" if is_dry_run else "Set"
        delete = "delete" if is_dry_run else "deleted"
        parts = [
            f"{verb} {done.set:,} and {delete} {done.deleted:,} overrides of {component}; {found.same:,} as before"
        ]
        if found.expired:
            parts.append(f"{found.expired:,} already expired")
        if refused:
            parts.append(f"{len(refused):,} rows are wrong and left out")
        console.print(f"{', '.join(parts)}.", soft_wrap=True)
        if is_dry_run and done.seen:
            alone = ", if each thousand rows were set alone" if done.batches > 1 else ""
            console.print(
                f"Of the {done.about}{done.seen:,} repos that rampd saw in the last day, {done.about}{done.moved:,} would get another "
                f"version{alone}{':' if done.moves else '.'}",
                soft_wrap=True,
            )
            for line in done.moves[:_MOVES]:
                console.print(f"  {one_line(line)}", soft_wrap=True)

    return Shown(
        dict(zip(_COLUMNS[1:6], counts, strict=True))
        | {
            "component": component,
            "revision": done.revision,
            "dry_run": is_dry_run,
            "refused_rows": [{"line": each.line, "text": each.text} for each in refused],
        },
        [(component, *map(str, counts), str(done.revision))],
        draw,
    )
