"""Which repos are pinned, and to what."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from weakref import WeakValueDictionary

_BELOW = "/*"
"""At the end of what is pinned: all repos below it."""


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

    __slots__ = ("_shared", "by_prefix", "by_repo")

    def __init__(self) -> None:
        self.by_repo: dict[str, Choice] = {}
        """For reading: those of single repos, expired ones included."""
        self.by_prefix: dict[str, Choice] = {}
        """For reading: those of all repos below a prefix of whole path segments: `group/sub` for `group/sub/*`."""
        self._shared: WeakValueDictionary[tuple[Channel | None, str], Choice] = WeakValueDictionary()

    def set(self, repo: str, choice: Choice) -> None:
        """Pins a repo, or with `group/sub/*` all repos below `group/sub`, at any depth. Any other `*` means itself."""
        if choice.expire_ms is None:
            choice = self._shared.setdefault((choice.channel, choice.tag), choice)
        else:
            choice = replace(choice, tag=sys.intern(choice.tag))
        if repo.endswith(_BELOW):
            self.by_prefix[repo.removesuffix(_BELOW)] = choice
        else:
            self.by_repo[repo] = choice

    def set_all(self, choices: Iterable[tuple[str, Choice]]) -> None:
        """As `set`, for many: several times as quick where the same object comes again as the choice of many repos."""
        shared: dict[int, Choice] = {}
        kept: list[Choice] = []  # so that no other object gets the id of one
        for repo, choice in choices:
            known = shared.get(id(choice))
            if choice.expire_ms is not None or repo.endswith(_BELOW):
                self.set(repo, choice)
            elif known is not None:
                self.by_repo[repo] = known
            else:
                self.set(repo, choice)
                shared[id(choice)] = self.by_repo[repo]
                kept.append(choice)

    def delete(self, repo: str) -> None:
        """Unpins a repo, or a prefix, as it was set; one that is not pinned is left alone."""
        if repo.endswith(_BELOW):
            self.by_prefix.pop(repo.removesuffix(_BELOW), None)
        else:
            self.by_repo.pop(repo, None)

    def find(self, repo: str, now_ms: Callable[[], int]) -> Choice | None:
        """The choice in force for a repo: its own, else that of its longest prefix that has one. `now_ms` is asked only
        where one may have expired.
        """
        choice = self.by_repo.get(repo)
        if choice is not None and (choice.expire_ms is None or now_ms() < choice.expire_ms):
            return choice
        if self.by_prefix:
            prefix = repo
            while "/" in prefix:
                prefix = prefix.rpartition("/")[0]
                choice = self.by_prefix.get(prefix)
                if choice is not None and (choice.expire_ms is None or now_ms() < choice.expire_ms):
                    return choice
        return None

    def __len__(self) -> int:
        return len(self.by_repo) + len(self.by_prefix)

    def items(self) -> Iterator[tuple[str, Choice]]:
        """All overrides, expired ones too. Only for the thread that writes, and while it does not."""
        yield from self.by_repo.items()
        for prefix, choice in self.by_prefix.items():
            yield f"{prefix}{_BELOW}", choice
