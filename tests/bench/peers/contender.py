"""Who takes part: something that says which version a repo runs, from its own memory."""

import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

CURRENT, NEXT = "20200304", "20200305"
PINNED = "acme/pinned-7"
REPOS = tuple(f"acme/app-{number}" for number in range(10_000))
"""None of them pinned."""


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    ask: Callable[[str], object]
    """What is measured: one answer, as the library's quick start has it, in the form that it comes in."""
    tag: Callable[[Any], str]
    """The version that an answer says."""

    def check(self) -> None:
        """That it gives 10 % of repos next and the pinned one as well. Raises AssertionError."""
        tags = [self.tag(self.ask(repo)) for repo in REPOS]
        assert set(tags) == {CURRENT, NEXT}, f"{self.name}: {set(tags)}"
        # Six standard errors of ten thousand draws are 1.8 points.
        assert 0.082 <= tags.count(NEXT) / len(tags) <= 0.118, f"{self.name}: {tags.count(NEXT)} of {len(tags)}"
        assert self.tag(self.ask(PINNED)) == NEXT, f"{self.name} does not know the pinned repo"

    def microseconds(self, repos: Sequence[str]) -> float:
        """Of one answer, without what the loop and the call of `ask` cost."""
        return (seconds(self.ask, repos) - seconds(nothing, repos)) / len(repos) * 1e6


def seconds(ask: Callable[[str], object], repos: Sequence[str]) -> float:
    def ask_all() -> None:
        for repo in repos:
            ask(repo)

    return timeit.timeit(ask_all, number=1)


def nothing(_repo: str) -> None:
    """The call alone."""


def same(answer: object) -> str:
    """Of an answer that is the version itself."""
    return str(answer)
