"""Records that a store has lost writes of a component, before any caller is served the older state."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from rampd_server.domain.rollout.loss import after_loss, first_difference
from rampd_server.domain.rollout.model import Absent, LostRevisions, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.ports import SELF, Author, ConflictError, Namespace, Result, Store, entry_order

log = structlog.get_logger()


class Seen(NamedTuple):
    """A change that this server has seen."""

    component: str
    revision: int
    entry: str


class OwnChange(NamedTuple):
    """A change that this server has made. Its answer names a revision that nobody else may have seen."""

    entry: str
    after: Rollout | Absent | None
    """The component after it; None for a change of the namespace, or if the component is not known here."""
    namespace: Namespace | None

    def joined(self, other: "OwnChange") -> "OwnChange":
        """Returns this and another change of the same component as one. Answers may come in another order than the changes were made in,
        and one may be of overrides, which says nothing of the rollout.
        """
        last = max(self, other, key=lambda change: entry_order(change.entry))
        if self.after is None or other.after is None or last.after is None:
            return last
        state = max(self.after, other.after, key=lambda after: entry_order(after.state_entry))
        return last._replace(after=replace(state, revision=last.after.revision, entry=last.entry))


async def settle_loss(
    store: Store, known: Rollout | Absent, seen: Sequence[Seen], *, protects: bool, now_ms: int
) -> int:
    """Commits the consequences of the store's loss of `known`, and logs the loss. Of all servers that knew it, one
    commits. Returns how many revisions this server has recorded as lost; 0 if another one has.

    `seen` are the last changes of the component, oldest first. Raises StoreUnavailableError, StoreResetError,
    StoreCorruptError.
    """
    component = known.component
    before_fork = await _last_in_common(store, seen)
    while True:
        stored = await store.read(component)
        lost = LostRevisions(_first_lost(known, stored.rollout, seen, before_fork), known.revision)
        revisions = f"revision {lost.last}" if lost.first == lost.last else f"revisions {lost.first} to {lost.last}"
        note = f"the store has lost {revisions}, by {store.failover or 'a failover or with an older copy of its data'}"
        context = Context(now_ms, SELF, note, freeze_all=stored.namespace.freeze)
        after = after_loss(stored.rollout, known, lost, context, protects=protects)
        if after is stored.rollout:
            return 0
        author = Author(SELF, "RecordLoss", note, is_claimed=False)
        try:
            entry, _ = await store.commit(stored.rollout, after, author, Result(after.revision), stored.namespace)
        except ConflictError:
            continue
        log.error(
            "writes_lost",
            component=component,
            first_revision=lost.first,
            last_revision=lost.last,
            store_revision=stored.rollout.revision,
            revision=entry.revision,
            what_it_means=f"{note}; rampd makes those of these changes again that protect jobs, all others are lost",
            what_to_do=f"look at {component} with GetRollout, and repeat the changes that are missing; if it is HELD, type Ramp",
        )
        return lost.last - lost.first + 1


async def _last_in_common(store: Store, seen: Sequence[Seen]) -> int | None:
    """The newest revision among `seen` that the store still has; None if it has none of them."""
    first, last = 0, len(seen)
    # A history only loses its end, so a binary search works.
    while first < last:
        middle = (first + last) // 2
        if await store.missing_entries([(seen[middle].component, seen[middle].entry)]):
            last = middle
        else:
            first = middle + 1
    return seen[first - 1].revision if first else None


def _first_lost(
    known: Rollout | Absent, stored: Rollout | Absent, seen: Sequence[Seen], before_fork: int | None
) -> int:
    if before_fork is not None:
        # If somebody has put back a part of a component, its history has revisions that the other part has lost.
        return min(before_fork + 1, known.revision)
    oldest = seen[0].revision if seen else known.revision
    first = min(oldest, known.revision, stored.revision + 1)
    if isinstance(stored, Absent) or isinstance(known, Absent):
        return first
    return min(first, first_difference(known.timeline, stored.timeline, first))
