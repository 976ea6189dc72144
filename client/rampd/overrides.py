"""Which repos are pinned, and to what."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from weakref import WeakValueDictionary


class Channel(StrEnum):
    """One of the two versions that a rollout serves."""

    CURRENT = "CURRENT"
    NEXT = "NEXT"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Choice:
    """What a repo is pinned to: `tag`, or `channel` where there is none. It ends at `expire_ms` (store's clock, 1970)."""

    channel: Channel | None = None
    tag: str = ""
    expire_ms: int | None = None

    def __post_init__(self) -> None:
        if (self.channel is None) == (not self.tag):
            raise ValueError("an override is either to a channel or to a tag")


class Overrides:
    """All overrides of a component, written by one thread, key by key, and read by any.

    A million of them are one dict entry and one repo each: equal choices are one object.
    """

    __slots__ = ("_shared", "by_owner", "by_repo")

    def __init__(self) -> None:
        self.by_repo: dict[str, Choice] = {}
        """For reading: those of single repos, expired ones included."""
        self.by_owner: dict[str, Choice] = {}
        """For reading: those of all repos of an owner, by the owner's name."""
        self._shared: WeakValueDictionary[tuple[Channel | None, str], Choice] = WeakValueDictionary()

    def set(self, repo: str, choice: Choice) -> None:
        """Pins a repo, or with `acme/*` all repos of an owner."""
        if choice.expire_ms is None:
            choice = self._shared.setdefault((choice.channel, choice.tag), choice)
        else:
            choice = replace(choice, tag=sys.intern(choice.tag))
        owner = _owner_of_pattern(repo)
        if owner is None:
            self.by_repo[repo] = choice
        else:
            self.by_owner[owner] = choice

    def set_all(self, choices: Iterable[tuple[str, Choice]]) -> None:
        """As `set`, for many: several times as quick where the same object comes again as the choice of many repos."""
        shared: dict[int, Choice] = {}
        kept: list[Choice] = []  # so that no other object gets the id of one
        for repo, choice in choices:
            known = shared.get(id(choice))
            if choice.expire_ms is not None or repo.endswith("/*"):
                self.set(repo, choice)
            elif known is not None:
                self.by_repo[repo] = known
            else:
                self.set(repo, choice)
                shared[id(choice)] = self.by_repo[repo]
                kept.append(choice)

    def delete(self, repo: str) -> None:
        """Unpins a repo, or an owner's repos; one that is not pinned is left alone."""
        owner = _owner_of_pattern(repo)
        if owner is None:
            self.by_repo.pop(repo, None)
        else:
            self.by_owner.pop(owner, None)

    def find(self, repo: str, now_ms: Callable[[], int]) -> Choice | None:
        """The choice in force for a repo: its own, else its owner's. `now_ms` is asked only where one may have expired."""
        choice = self.by_repo.get(repo)
        if choice is not None and (choice.expire_ms is None or now_ms() < choice.expire_ms):
            return choice
        if self.by_owner:
            owner, slash, _ = repo.partition("/")
            choice = self.by_owner.get(owner) if slash else None
            if choice is not None and (choice.expire_ms is None or now_ms() < choice.expire_ms):
                return choice
        return None

    def __len__(self) -> int:
        return len(self.by_repo) + len(self.by_owner)

    def items(self) -> Iterator[tuple[str, Choice]]:
        """All overrides, expired ones too. Only for the thread that writes, and while it does not."""
        yield from self.by_repo.items()
        for owner, choice in self.by_owner.items():
            yield f"{owner}/*", choice


def _owner_of_pattern(repo: str) -> str | None:
    owner, _, rest = repo.partition("/")
    return owner if rest == "*" else None
