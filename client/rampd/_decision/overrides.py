"""The overrides of a component: which repos are pinned, and to which channel or tag."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from weakref import WeakValueDictionary

_BELOW = "/*"
"""The end of a prefix: it stands for all repos below."""


class Channel(StrEnum):
    """One of the two versions that a rollout serves."""

    CURRENT = "CURRENT"
    NEXT = "NEXT"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Choice:
    """The choice of an override: a `tag` or a `channel`. It ends at `expire_ms` (since 1970, by the store's clock)."""

    channel: Channel | None = None
    tag: str = ""
    expire_ms: int | None = None

    def __post_init__(self) -> None:
        if (self.channel is None) == (not self.tag):
            raise ValueError("an override is either to a channel or to a tag")


class Overrides:
    """All overrides of a component. One thread writes them, key by key, and any thread reads them.

    Equal choices are one object, so that an override takes only one dict entry and its repo, even with a million of them.
    """

    __slots__ = ("_shared", "by_prefix", "by_repo")

    def __init__(self) -> None:
        self.by_repo: dict[str, Choice] = {}
        """The overrides of single repos, expired ones included. Only for reading."""
        self.by_prefix: dict[str, Choice] = {}
        """The overrides of prefixes of whole path segments: the key is `group/sub` for `group/sub/*`. Only for reading."""
        self._shared: WeakValueDictionary[tuple[Channel | None, str], Choice] = WeakValueDictionary()

    def set(self, repo: str, choice: Choice) -> None:
        """Pins a repo, or with `group/sub/*` all repos below `group/sub`, at any depth. Any other `*` is a plain character."""
        if choice.expire_ms is None:
            choice = self._shared.setdefault((choice.channel, choice.tag), choice)
        else:
            choice = replace(choice, tag=sys.intern(choice.tag))
        if repo.endswith(_BELOW):
            self.by_prefix[repo.removesuffix(_BELOW)] = choice
        else:
            self.by_repo[repo] = choice

    def set_all(self, choices: Iterable[tuple[str, Choice]]) -> None:
        """Works like `set`, for many repos. It is several times as fast if many repos share one choice object."""
        shared: dict[int, Choice] = {}
        kept: list[Choice] = []  # kept alive, so that no other object gets the same id
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
        """Deletes the override of a repo or prefix, written as it was set. Does nothing if there is none."""
        if repo.endswith(_BELOW):
            self.by_prefix.pop(repo.removesuffix(_BELOW), None)
        else:
            self.by_repo.pop(repo, None)

    def get(self, repo: str) -> Choice | None:
        """Returns what is set for a repo or prefix, written as it was set, expired or not. None if nothing is."""
        if repo.endswith(_BELOW):
            return self.by_prefix.get(repo.removesuffix(_BELOW))
        return self.by_repo.get(repo)

    def copy(self) -> "Overrides":
        """Returns the same overrides, which are then changed on their own."""
        copied = Overrides()
        copied.by_repo, copied.by_prefix = self.by_repo.copy(), self.by_prefix.copy()
        copied._shared = self._shared.copy()
        return copied

    def find(self, repo: str, now_ms: Callable[[], int]) -> Choice | None:
        """Returns the choice in force for a repo: its own, otherwise that of its longest prefix with a choice. Calls `now_ms`
        only for a choice with an expiry.
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
        """Yields all overrides, expired ones too. Only for the thread that writes, while it does not write."""
        yield from self.by_repo.items()
        for prefix, choice in self.by_prefix.items():
            yield f"{prefix}{_BELOW}", choice
