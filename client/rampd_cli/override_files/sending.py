"""Sends what a file changes, in batches. Nothing is deleted that somebody else has set or changed meanwhile."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rampd_cli.changing import How, during_the_change
from rampd_cli.failures import mark_partly_done
from rampd_cli.override_files.changes import Changes, changes
from rampd_cli.override_files.rows import Row
from rampd_cli.session import Session
from rampd_cli.work_bar import progress

if TYPE_CHECKING:
    from rampd import v1

BATCH: Final = 1000
_TIMEOUT_S: Final = 30.0
"""A thousand overrides take longer than other calls."""
_TRIES: Final = 10
"""How often to compare again if somebody else changes the component all the time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an import is to do."""

    component: str
    file: str
    rows: Sequence[Row]
    replace: bool
    """Whether the overrides are deleted that the file does not have, or that have expired there."""
    how: How


@dataclass(frozen=True, slots=True)
class Compared:
    """What the file changes about the overrides that were read."""

    changes: Changes
    guard: int | None
    """The revision of the component before they were read: at another one, nothing is sent. None: any revision will do."""


@dataclass(slots=True)
class Done:
    """How far an import has come."""

    set: int = 0
    deleted: int = 0
    revision: int = 0
    request_id: str = ""
    """That of the last request. Empty if there is none, or if it was a dry run."""
    seen: int = 0
    moved: int = 0
    about: str = ""
    """Before a number that is an estimate."""
    batches: int = 0
    moves: list[str] = field(default_factory=list)
    """Some of the repos that would get another version, a line each."""


def compare(session: Session, wanted: Wanted) -> Compared:
    """Reads the overrides, and says what the file changes about them. Raises RampdError."""
    admin = session.admin()
    # Before the overrides, so that every change which they may lack gives the component another revision.
    guard = admin.get_rollout(wanted.component).revision if wanted.replace else None
    overrides = admin.list_overrides(wanted.component, page_size=BATCH, timeout=_TIMEOUT_S)
    return Compared(changes(wanted.rows, overrides, time.time(), replace=wanted.replace), guard)


def send(session: Session, wanted: Wanted, first: Compared) -> Done:
    """Sends the changes. If that ends early, the person reads how far it came. Raises RampdError; REVISION_MISMATCH if an override
    would be deleted that is not as it was in `first`, or if the component is not at the revision that the person expects.
    """
    from rampd.errors import AbortedError, RampdError  # noqa: PLC0415 - it is slow to import

    how, done, left = wanted.how, Done(), _sent(first.changes)
    guard = how.expect_revision if how.dry_run or how.expect_revision is not None else first.guard
    total, tries = len(left), 0
    batch: Sequence[Row] = ()
    try:
        with progress(session, f"{'Asked' if how.dry_run else 'Imported'} overrides", total) as tell:
            while left:
                batch = left[:BATCH]
                try:
                    _batch(session, wanted, batch, done, guard)
                except AbortedError:
                    tries += 1
                    if guard in {None, how.expect_revision} or tries == _TRIES:
                        raise
                    batch, now = (), compare(session, wanted)
                    _require_same(wanted, first.changes, now.changes)
                    left, guard = _sent(now.changes), now.guard
                    continue
                left, tries = left[BATCH:], 0
                guard = done.revision if wanted.replace and not how.dry_run else None
                tell(max(total - len(left), 0))
    except (RampdError, KeyboardInterrupt, SystemExit) as error:
        made = done.set + done.deleted
        is_nothing = how.dry_run or (not made and isinstance(error, AbortedError))
        text = "Nothing was changed." if is_nothing else _how_far(made, total, how)
        for line in _lines(error, batch):
            error.add_note(f"{wanted.file}:{line}")
        error.add_note(text)
        if isinstance(error, RampdError) and made and not how.dry_run:
            mark_partly_done(error)
        raise
    return done


def _how_far(made: int, total: int, how: How) -> str:
    from rampd._contract.wording import counted  # noqa: PLC0415 - only for an import that ends early

    are = "is" if made == 1 else "are"
    without = "" if how.expect_revision is None else " without --expect-revision"
    return f"Of {counted(total, 'change')}, at least {made:,} {are} made. Type the command again{without}: it goes on there."


def _sent(found: Changes) -> Sequence[Row]:
    """The rows to send. Those that delete what the file does not have come last, and have no line."""
    from rampd import v1  # noqa: PLC0415 - it is slow to import

    return [*found.rows, *(Row(0, v1.OverrideChange(repo=each.repo, delete=True)) for each in found.removed)]


def _require_same(wanted: Wanted, first: Changes, now: Changes) -> None:
    """Raises AbortedError if an override would be deleted that was not there at first, or was another one."""
    from rampd.errors import AbortedError  # noqa: PLC0415 - it is slow to import

    before = {each.repo: each for each in first.removed}
    if changed := next((each.repo for each in now.removed if before.get(each.repo) != each), ""):
        raise AbortedError(
            f"Somebody else has set the override of {changed}, which {wanted.file} does not have. It is not deleted. If it may be "
            "deleted, type the command again.",
            reason="REVISION_MISMATCH",
            metadata={"component": wanted.component, "repo": changed},
        )


def _batch(session: Session, wanted: Wanted, rows: Sequence[Row], done: Done, guard: int | None) -> None:
    how = wanted.how.with_request_id()
    method: Any = session.admin().batch_set_overrides
    with during_the_change(how.request_id):
        answer: v1.BatchSetOverridesResponse = method(
            wanted.component,
            [row.change for row in rows],
            expected_revision=guard,
            note=how.note,
            request_id=how.request_id,
            dry_run=how.dry_run,
            timeout=_TIMEOUT_S,
        )
    done.request_id = "" if how.dry_run else how.request_id
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
