"""The list of mutations in `mutations.toml`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "mutations.toml"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One line that is made wrong, and the test that must notice."""

    protects: str
    """What the line is for, in a sentence."""
    file: str
    """From the root of the repository."""
    old: str
    """In the file exactly once."""
    new: str
    test: str
    """A node id of pytest."""
    hangs: bool = False
    """Whether the test notices because it does not end in time."""

    def is_stale(self, text: str) -> bool:
        """Whether the file has changed since, so that this mutation changes no place, or more than one."""
        return text.count(self.old) != 1

    def apply(self, text: str) -> str:
        return text.replace(self.old, self.new)


def load() -> list[Mutation]:
    """Returns all rows of the list, in their order."""
    return [Mutation(**row) for row in tomllib.loads(LIST.read_text("utf-8"))["mutation"]]
