"""A contender: a library that answers from its own memory which version a repo runs."""

import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

CURRENT, NEXT = "20200304", "20200305"
PINNED = "acme/pinned-7"
REPOS = tuple(f"acme/app-{number}" for number in range(10_000))
"""None of these repos is pinned."""


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    ask: Callable[[str], object]
    """The call that is measured. It gives one answer in the library's own form, as in the library's quick start."""
    tag: Callable[[Any], str]
    """Returns the version in an answer."""

    def check(self) -> None:
        """Checks that 10 % of the repos get next, and that the pinned repo gets next. Raises AssertionError."""
        tags = [self.tag(self.ask(repo)) for repo in REPOS]
        assert set(tags) == {CURRENT, NEXT}, f"{self.name}: {set(tags)}"
        # Six standard errors of ten thousand draws are 1.8 points.
        assert 0.082 <= tags.count(NEXT) / len(tags) <= 0.118, f"{self.name}: {tags.count(NEXT)} of {len(tags)}"
        assert self.tag(self.ask(PINNED)) == NEXT, f"{self.name} does not know the pinned repo"

    def microseconds(self, repos: Sequence[str]) -> float:
        """Returns the time of one answer, without the loop and without the call of `ask`."""
        return (seconds(self.ask, repos) - seconds(nothing, repos)) / len(repos) * 1e6


def seconds(ask: Callable[[str], object], repos: Sequence[str]) -> float:
    def ask_all() -> None:
        for repo in repos:
            ask(repo)

    return timeit.timeit(ask_all, number=1)


def nothing(_repo: str) -> None:
    """Does nothing, to measure the call alone."""


def same(answer: object) -> str:
    """Returns the answer, for libraries whose answer is the version itself."""
    return str(answer)
