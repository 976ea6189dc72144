"""Puts bugs into copies of the server, one at a time, and says how soon the checker finds each of them."""

import contextlib
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.judge import judge
from tests.chaos.record import Record
from tests.chaos.running import Plan, running

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "planted.toml"
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Change:
    """A text that is put in place of another one."""

    file: str
    """From the root of the repository."""
    old: str
    """In the file exactly once."""
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """What is made wrong, and the rules that may notice it."""

    name: str
    changes: tuple[Change, ...]
    rules: tuple[str, ...]
    kinds: frozenset[str]
    writers: int
    """How many clients write to the contended components meanwhile."""
    seconds: float = WITHIN_S
    """How long there are faults. What is judged in calm alone is found after them."""

    @contextlib.contextmanager
    def planted(self) -> Iterator[str]:
        """Yields the root of a copy with the bug."""
        with tempfile.TemporaryDirectory(prefix="rampd-planted-", ignore_cleanup_errors=True) as name:
            root = Path(name)
            for folder in ("client", "server"):
                shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
            for change in self.changes:
                path = root / change.file
                text = path.read_text("utf-8")
                if text.count(change.old) != 1:
                    raise ValueError(
                        f"{change.file} has {change.old!r} {text.count(change.old)} times: correct {LIST.name}"
                    )
                path.write_text(text.replace(change.old, change.new), "utf-8")
            yield name


@dataclass(frozen=True, slots=True)
class Found:
    """How a bug was found."""

    bug: Bug
    after_s: float
    """Seconds after the first call; negative if the bug was not found."""
    what: str = ""


def load() -> list[Bug]:
    """Returns all bugs of the list."""
    rows = tomllib.loads(LIST.read_text("utf-8"))["bug"]
    return [
        Bug(
            row["name"],
            tuple(Change(**change) for change in row["change"]),
            tuple(row["rules"]),
            frozenset(row["kinds"]),
            row.get("writers", 4),
            row.get("seconds", WITHIN_S),
        )
        for row in rows
    ]


def find(bug: Bug, seed: int, folder: Path) -> Found:
    """Lets the checker look for one bug for at most a minute. The record is kept in the folder."""
    found: list[tuple[float, str]] = []

    def is_found(record: Record) -> bool:
        _, violations = judge(record)
        right = [each for each in violations if each.rule in bug.rules]
        if right:
            began_s = min(call.began_s for call in record.calls)
            found.append((time.monotonic() - began_s, f"{right[0].rule}: {right[0].what}"))
        return bool(right)

    with bug.planted() as tree:
        plan = Plan(seed, bug.seconds, kinds=bug.kinds, writers=bug.writers, tree=tree, calm_s=1.0, settled_s=3.0)
        with running(plan, until=is_found) as run:
            run.record.save(folder / f"planted {bug.name}.jsonl".replace(" ", "-"))
            if not found:
                is_found(run.record)
    return Found(bug, *found[0]) if found else Found(bug, -1.0)
