"""The server's state in memory: everything that the store has at one feed entry. `apply` takes the next entry in."""

from dataclasses import dataclass, field

from rampd._decision.resolution import ComponentSnapshot, Overrides
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import FeedEntry, Namespace, Store
from rampd_server.replica.damage import Damage
from rampd_server.replica.projection import choice_of, snapshot_of

_GONE = 1000
"""How many deleted components are remembered."""


@dataclass(slots=True)
class Component:
    """What is known of one component."""

    rollout: Rollout
    snapshot: ComponentSnapshot
    overrides: Overrides
    damaged_since_s: float | None = None
    """`Damage.since_s` if this is the last good state of a component that can't be read; otherwise None."""


@dataclass(slots=True)
class State:
    """The whole state: a reading builds it, and the copy replaces its own with it at once."""

    epoch: str = ""
    entry_id: str = ""
    namespace: Namespace = field(default_factory=Namespace)
    components: dict[str, Component] = field(default_factory=dict)
    gone: dict[str, Absent] = field(default_factory=dict)
    """The components whose deletion this server has seen last: an older copy of the data may bring one back."""
    damaged: dict[str, Damage] = field(default_factory=dict)
    """Components that could not be read. A damaged component in `components` has its last good state there."""

    def known(self, component: str) -> Rollout | Absent | None:
        """A component as it is here, or as it was when it was deleted; None if it is not known or could not be read."""
        if component in self.damaged:
            return None
        known = self.components.get(component)
        return known.rollout if known else self.gone.get(component)


def apply(state: State, entry: FeedEntry, store: Store, after: Rollout | Absent | None = None) -> None:
    """Applies a feed entry. `after` is the component after the entry, if the caller knows it."""
    state.entry_id = entry.id
    if entry.namespace is not None:
        state.namespace = entry.namespace
        return
    known = state.components.get(entry.component)
    # A reload reads the components first, and then entries that may be older than these.
    if known is None or entry.revision > known.rollout.revision:
        if after is None:
            before = known.rollout if known else Absent(entry.component, entry.revision - 1, entry=entry.base_entry)
            after = store.apply(before, entry)
        if isinstance(after, Absent):
            state.components.pop(entry.component, None)
            state.gone[entry.component] = after
            while len(state.gone) > _GONE:
                del state.gone[next(iter(state.gone))]
            return
        if known is None:
            known = state.components[entry.component] = Component(after, snapshot_of(after), Overrides())
        elif entry.is_of_overrides_only:
            known.rollout, known.snapshot = after, known.snapshot.at_revision(after.revision)
        else:
            known.rollout, known.snapshot = after, snapshot_of(after)
    elif entry.is_deletion:
        known.overrides = Overrides()
    for repo, override in entry.overrides_set.items():
        known.overrides.set(repo, choice_of(override))
    for repo in entry.overrides_deleted:
        known.overrides.delete(repo)
