"""All histories that a store had in a run, as a tree. Pure: built from the record alone.

Each entry of the feed is a node. It names the entry before it, and the entry before of its component. A store whose data are
replaced by an older copy goes on from an earlier node, so that the tree has another branch.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.ports import FeedEntry, Override
from rampd_server.storage.codec.feed_entry import apply, read_entry
from tests.chaos.record import Entry, Life, Record

ROOT = "0-0"
CLOCK_S = 0.25
"""How wrong a server, or the witness, may know the store's clock: on a busy machine, even the quickest answer is late."""
TRIED_S = 0.005
"""How far apart the times are that a rule tries."""


@dataclass(slots=True, eq=False)
class Node:
    """The whole state after one entry."""

    id: str
    parent: "Node | None" = None
    entry: FeedEntry = field(default_factory=lambda: FeedEntry(ROOT, ""))
    author: Mapping[str, str] = field(default_factory=dict)
    life: int = 0
    after_s: float = 0.0
    by_s: float = 0.0
    depth: int = 0
    freeze: Freeze | None = None
    """Of the namespace."""
    last: Mapping[str, "Node"] = field(default_factory=dict)
    """For each component, the node of its last entry."""
    own: Rollout | Absent | None = None
    """The component of the entry, after it."""
    own_overrides: Mapping[str, Override] = field(default_factory=dict)
    problem: str = ""
    """Why the entry makes no sense."""

    @property
    def component(self) -> str:
        return self.entry.component

    @property
    def action(self) -> str:
        return self.author.get("action", "")

    @property
    def request_id(self) -> str:
        return self.author.get("request_id", "")

    def state(self, component: str) -> Rollout | Absent:
        node = self.last.get(component)
        return node.own if node is not None and node.own is not None else Absent(component)

    def overrides(self, component: str) -> Mapping[str, Override]:
        node = self.last.get(component)
        return node.own_overrides if node is not None else {}

    @property
    def before(self) -> Rollout | Absent:
        """The component of the entry, before it."""
        assert self.parent is not None
        return self.parent.state(self.component)

    def descends_from(self, other: "Node") -> bool:
        node: Node | None = self
        while node is not None and node.depth > other.depth:
            node = node.parent
        return node is other


@dataclass(slots=True)
class _Branch:
    """The heads that a store had in one life: first the one that it began with."""

    life: Life
    heads: list[Node]
    ends_s: float = float("inf")
    afters: list[float] = field(default_factory=list)
    bys: list[float] = field(default_factory=list)


class Histories:
    """The tree."""

    def __init__(self, record: Record) -> None:
        self.root = Node(ROOT)
        self.nodes: dict[str, Node] = {ROOT: self.root}
        self.by_request: dict[str, list[Node]] = defaultdict(list)
        self.problems: list[tuple[float, str]] = []
        by_life: dict[int, list[Node]] = defaultdict(list)
        for entry in record.entries:
            by_life[entry.life].append(self._add(entry))
        self._branches: list[_Branch] = []
        for life in record.lives:
            head = self.nodes.get(life.head)
            if head is None:
                self.problems.append((life.by_s, f"the store has an entry {life.head} that nobody saw before"))
                head = self.root
            branch = _Branch(life, [head, *by_life[life.number]])
            branch.afters = [life.after_s, *(node.after_s for node in by_life[life.number])]
            branch.bys = [node.by_s for node in by_life[life.number]]
            if self._branches:
                self._branches[-1].ends_s = life.by_s
            self._branches.append(branch)
        self.clocks = [(clock.at_s, clock.ahead_ms) for clock in record.clocks]

    def _add(self, raw: Entry) -> Node:
        entry = read_entry(raw.id, raw.fields)
        parent = self.nodes.get(entry.previous_id)
        problem = "" if parent else f"the entry before it, {entry.previous_id}, was never seen"
        parent = parent or self.root
        node = Node(raw.id, parent, entry, raw.author, raw.life, raw.after_s, raw.by_s, parent.depth + 1, parent.freeze)
        node.last, node.problem = parent.last, problem
        if entry.namespace is not None:
            node.freeze = entry.namespace.freeze
        elif entry.component:
            self._take(node)
        self.nodes[raw.id] = node
        if node.request_id:
            self.by_request[node.request_id].append(node)
        return node

    def _take(self, node: Node) -> None:
        entry, component = node.entry, node.component
        before = node.before
        node.own = before
        if entry.base_entry != before.entry:
            node.problem = (
                f"it follows {entry.base_entry or 'none'} of its component, whose last entry is {before.entry}"
            )
        try:
            # An entry for a component that is not there has all its fields, and the tombstone its numbers.
            base = (
                before if isinstance(before, Rollout) else Absent(component, entry.revision - 1, entry=entry.base_entry)
            )
            node.own = apply(base, entry, feed_key="feed")
        except Exception as error:
            node.problem = node.problem or f"it can't be applied: {error}"
        overrides = {} if entry.is_deletion else dict(node.overrides(component))
        overrides |= entry.overrides_set
        for repo in entry.overrides_deleted:
            overrides.pop(repo, None)
        node.own_overrides = overrides
        node.last = {**node.last, component: node}

    def heads(self, began_s: float, ended_s: float) -> Iterator[Node]:
        """The nodes that may have been the store's last one at some time from `began_s` to `ended_s`."""
        for branch in self._branches:
            if branch.life.after_s > ended_s or branch.ends_s < began_s:
                continue
            # A head is over when its successor is surely there, and begins when it may be there.
            first = bisect_left(branch.bys, began_s)
            last = bisect_right(branch.afters, ended_s)
            yield from branch.heads[first:last]

    def lives_within(self, began_s: float, ended_s: float) -> list[Life]:
        """The lives that may have begun between two times."""
        lives = (branch.life for branch in self._branches)
        return [life for life in lives if life.after_s <= ended_s and life.by_s >= began_s]

    @property
    def last_head(self) -> Node:
        return self._branches[-1].heads[-1]

    def branch_of(self, life: int) -> Sequence[Node]:
        """The heads of one life, first the one that it began with."""
        return self._branches[life].heads

    def own_nodes(self) -> Iterator[Node]:
        """Every entry, in the order in which the store had them."""
        for branch in self._branches:
            yield from branch.heads[1:]

    def times_of_server(self, began_s: float, ended_s: float) -> Iterator[int]:
        """What a server may take for the store's time, in ms, between two times of the record. Those that are right most often come
        first, so that a rule rarely tries them all.
        """
        first_s, last_s = began_s - CLOCK_S, ended_s + CLOCK_S
        for at_s in (began_s, ended_s, first_s, last_s):
            yield int(self.store_ms(at_s))
        # A clock that is set in between may be set again before the last of these times.
        for set_s, ahead_ms in self.clocks:
            if first_s < set_s < last_s:
                yield int(ended_s * 1000 + ahead_ms)
        # Two things may end within one call, so that an answer is right only between them.
        for step in range(1, ceil((last_s - first_s) / TRIED_S)):
            yield int(self.store_ms(first_s + step * TRIED_S))

    def store_ms(self, at_s: float) -> float:
        """The store's clock at a time of the record."""
        place = bisect_right(self.clocks, at_s, key=lambda clock: clock[0])
        ahead_ms = self.clocks[max(place - 1, 0)][1] if self.clocks else 0.0
        return at_s * 1000 + ahead_ms
