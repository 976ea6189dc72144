"""What a file changes about the overrides that a component has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rampd_cli.override_files.rows import Row

if TYPE_CHECKING:
    from rampd import v1


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows that change something, and how many do not."""

    rows: Sequence[Row]
    same: int
    """Rows whose repo has this override already, or none, if the row deletes it."""
    expired: int
    """Rows whose time is over."""
    removed: Sequence["v1.Override"]
    """The overrides that the file does not have, or whose time in the file is over, by repo. Empty unless the file is to replace all
    overrides.
    """


def changes(rows: Iterable[Row], overrides: Iterable["v1.Override"], now_s: float, *, replace: bool) -> Changes:
    """Compares rows with the overrides that there are. So what an import set before it was interrupted is not set again."""
    present = {each.repo: each for each in overrides}
    has = {repo: _choice(each) for repo, each in present.items()}
    differing: list[Row] = []
    same = expired = 0
    named = set()
    for row in rows:
        change = row.change
        if change.HasField("expire_time") and change.expire_time.ToNanoseconds() <= now_s * 1e9:
            expired += 1
            continue
        named.add(change.repo)
        if has.get(change.repo) == (None if change.delete else _choice(change)):
            same += 1
        else:
            differing.append(row)
    return Changes(
        differing, same, expired, [present[repo] for repo in sorted(present.keys() - named)] if replace else []
    )


def _choice(each: "v1.Override | v1.OverrideChange") -> tuple[int, str, int | None]:
    """What a repo gets, and until when in milliseconds, as the server keeps it."""
    until_ms = each.expire_time.ToMilliseconds() if each.HasField("expire_time") else None
    return each.channel, each.tag, until_ms
