"""The interfaces that the server needs of a store, and the values that pass through them. `storage/` implements them
with Redis.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from rampd._evidence.counters import TrialCounters
from rampd._evidence.release_counters import JobCount, ReleaseCounters
from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.errors import RampdError, StoreCorruptError
from rampd_server.domain.evidence.admission import Counted, Trial
from rampd_server.domain.evidence.samples import Sample
from rampd_server.domain.repo_sample import RepoSample
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout

SELF: Final = "rampd"
"""The actor of changes that the server makes by itself."""


@dataclass(frozen=True, slots=True)
class Override:
    """A repo's fixed choice: exactly one of `channel` (`CURRENT`, `NEXT`) and `tag` is not empty."""

    channel: str = ""
    tag: str = ""
    expire_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Who set an override, and when. `actor` is empty if the history no longer has the change, or can't be read."""

    time_ms: int
    actor: str = ""
    is_claimed: bool = False
    note: str = ""


class ListedOverride(NamedTuple):
    """An override in a list."""

    repo: str
    override: Override
    origin: Origin | None
    """None if an earlier version of rampd set the override."""


class OverridesPiece(NamedTuple):
    """Some overrides of a component."""

    overrides: Mapping[str, Override]
    entry: str
    """The component's last feed entry when they were read: all changes that they show are of this entry or of earlier ones.
    Empty if no change was committed since rampd stores it.
    """


@dataclass(frozen=True, slots=True)
class Author:
    """The caller of a change and its request, as the history and the idempotency record keep them."""

    actor: str
    action: str
    note: str = ""
    is_claimed: bool = True
    request_id: str = ""
    """The caller's idempotency key. If it is empty, the store makes one."""
    digest: str = ""
    """The digest of method, caller and content, without spaces. A repeat of `request_id` must have the same digest."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """The method's name, and a short digest of the identity, of the actor and of each field. They show whose a request id is,
    and in which fields a repeat differs.
    """
    is_dry_run: bool = False
    """Whether to write nothing. The store compares and refuses as always. Then it answers as if it had written the change, with
    an entry that is not in the feed.
    """


@dataclass(frozen=True, slots=True)
class Result:
    """The fields of the first answer that an idempotency record keeps."""

    revision: int
    disposition: str = ""
    release: int = 0
    queue_position: int = 0
    changed: bool = True


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """The idempotency record of a request id."""

    digest: str
    result: Result
    parts: Mapping[str, str] = field(default_factory=dict)
    """As `Author.parts`; empty if an earlier version of rampd made the record."""
    entry: str = ""
    """The feed entry of the change; empty if nothing changed."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after a change; None if it is absent."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a component's history."""

    id: str
    revision: int
    time_ms: int
    actor: str
    is_claimed: bool
    action: str
    note: str
    request_id: str
    changes: tuple[FieldChange, ...] = ()
    count: int = 0
    component: str = ""
    """Empty for a change of the namespace."""


class AskedEvents(NamedTuple):
    """What is asked of one history: at most `limit` events that are older than the id `before`."""

    component: str
    before: str
    limit: int


class EventsPiece(NamedTuple):
    """A piece of a history that is read together with others."""

    events: Sequence[Event] = ()
    oldest: str = ""
    """The id of the oldest entry that was read, if there may be older ones; otherwise empty."""
    damage: Sequence[StoreCorruptError] = ()
    """Why the history, or an entry of it, can't be read. Everything else is in `events`."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One committed change, as every server receives it. `previous_id` proves that no entry was missed."""

    id: str
    previous_id: str
    component: str = ""
    """Empty for a change of the namespace."""
    revision: int = 0
    patch: str = ""
    """The change of the rollout, for `Store.apply`. If only overrides changed, it is the update time. It is empty if
    overrides were swept, because a sweep makes no revision.
    """
    overrides_set: Mapping[str, Override] = field(default_factory=dict)
    overrides_deleted: Sequence[str] = ()
    namespace: "Namespace | None" = None
    """The namespace after a change of the namespace; None for a change of a component."""
    is_deletion: bool = False
    """Whether the component was deleted, together with its overrides."""
    base_entry: str = ""
    """The previous entry of the same component; empty if there is none."""
    problem: str = ""
    """Why this is not an entry that rampd wrote. Such an entry has only its id, and follows no other entry."""
    replicas: int | None = field(default=None, compare=False)
    """How many replicas of the store had the entry when the store answered the change; None: the store was not asked."""

    @property
    def is_of_overrides_only(self) -> bool:
        return bool(self.overrides_set or self.overrides_deleted)


def entry_order(entry_id: str) -> tuple[int, int]:
    """The sort key of a feed entry's id. No id, as that of a copy that has no state yet, comes before all."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds or 0), int(sequence or 0)


@dataclass(frozen=True, slots=True)
class Namespace:
    """The state that all components share."""

    freeze: Freeze | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The store's epoch, last feed entry, time and namespace, read at one moment."""

    epoch: str
    entry_id: str
    time_ms: int
    namespace: Namespace
    adopted_ms: int | None = None
    """When an operator made this epoch with `rampd-server adopt`, by the store's clock. None if the epoch was not
    adopted, or was adopted by an earlier version of rampd.
    """


@dataclass(frozen=True, slots=True)
class Stored:
    """A component as the store has it at one moment, and the namespace at the same moment."""

    rollout: Rollout | Absent
    namespace: Namespace
    time_ms: int
    entry_id: str = "0-0"
    """The id of the newest feed entry at that moment."""
    has_overrides: bool = True
    """Whether the component may have overrides."""


class Anchor(NamedTuple):
    """A change by which a store is recognized."""

    component: str
    entry: str


class StateMark(NamedTuple):
    """What tells two states of a component apart."""

    entry: str = ""
    """The component's last feed entry. Empty if it is not known; then the state may be any."""
    overrides: str = "0"
    """The number of overrides as the store counts them: a sweep removes expired ones without a change of `entry`."""


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """The outcomes of one report for one component, after admission. The store counts all of them together, once."""

    component: str
    trial: Trial
    client_id: str
    sequence: int
    digest: str
    """The hexadecimal digest of the whole report. A repeat of the sequence must have the same digest."""
    reporter: str
    """The identity that the credentials of the report prove."""
    answer: str
    """The answer to store for a repeat, in printable ASCII."""
    outcomes: Sequence[Counted] = ()
    mismatches: int = 0
    maturation_ms: int = 0
    by_release: Mapping[int, JobCount] = field(default_factory=dict)
    """The jobs that the batch adds to each release, in any trial."""
    current_revision: int = 0
    """The revision at which the current release became current."""
    current: JobCount = field(default_factory=JobCount)
    """The jobs that the batch adds to the current release since that revision."""
    next_repos: Collection[str] = ()
    """The repos whose jobs ran next, each once."""


class Receipt(StrEnum):
    """What the store did with a batch. Only COUNTED means that the store counted something now."""

    COUNTED = "COUNTED"
    REPEATED = "REPEATED"
    REUSED = "REUSED"
    """The client used this sequence before, for another batch."""
    TOO_OLD = "TOO_OLD"
    """The store already has a later batch of this client."""


class ConflictError(Exception):
    """Raised when another writer was first; the caller reads again and tries again."""


class UntimelyError(Exception):
    """Raised when a change reaches the store more than a second before or after the time that it was decided for. The
    store did not answer for a while, or somebody changed its clock. Nothing was written.
    """


class ReplayedError(Exception):
    """Raised when a request id with the same digest was applied before. `result` is the first result."""

    def __init__(self, record: RequestRecord) -> None:
        super().__init__("this request id was already applied")
        self.record = record
        self.result = record.result


class Store(Protocol):
    """Every method may raise StoreUnavailableError, StoreResetError and StoreCorruptError of `domain.errors`; a method
    that takes an author also RefusedError (REQUEST_ID_REUSED), and ReplayedError with the first result. For a dry run of
    an author (`Author.is_dry_run`) no method writes anything.
    """

    adopt_command: str
    """The command with which an operator adopts this store; empty if it is not known."""

    @property
    def failover(self) -> str:
        """The failover that this server has seen lately, such as "the failover from 10.0.0.1:6379 to 10.0.0.2:6379"; empty if there was
        none.
        """

    async def head(self) -> Head | None:
        """The store's epoch, last entry and time; None if the namespace has no epoch because it is new or was emptied."""

    async def is_empty(self) -> bool:
        """Whether the namespace has no key at all."""

    async def begin_epoch(self, *, adopted: bool) -> str:
        """Writes `meta` with a new epoch and the schema, and returns the namespace's epoch. Without `adopted`, it
        writes only if there is no epoch yet.
        """

    def set_epoch(self, epoch: str) -> None:
        """Sets the epoch that every later write names. A write raises StoreResetError if the store has another epoch."""

    async def read(self, component: str) -> Stored:
        """A component at one moment; Absent if there is no such component. Raises StoreCorruptError also if
        `components` has the name but all data of the component is missing.
        """

    def read_many(self, components: Sequence[str]) -> AsyncGenerator[tuple[str, Stored | Exception]]:
        """As `read` for each of the components, in their order, many in one exchange. Each is as it is at one moment of its
        own. For a component that `read` can't read, it gives the error and goes on. StoreUnavailableError and
        StoreResetError end it. It asks ahead, so a caller that may stop early closes it.
        """

    async def marks(self, components: Sequence[str]) -> list[StateMark]:
        """The mark of each component's state, at far less cost than the state."""

    async def components(self, *, after: str = "", limit: int) -> list[str]:
        """Component names after `after`, in order."""

    async def request_record(self, request_id: str) -> RequestRecord | None:
        """The record of a request id that was applied in the last 24 h; None if there is no record."""

    async def remember(self, author: Author, result: Result) -> None:
        """Writes the idempotency record of a call that succeeded and changed nothing. Its repeat then changes nothing
        either, even after others have changed the rollout. Does nothing if the caller gave no request id.
        """

    async def commit(
        self,
        before: Rollout | Absent,
        after: Rollout | Absent,
        author: Author,
        result: Result,
        namespace: Namespace,
        *,
        decided_ms: int | None = None,
        is_exact: bool = False,
        is_urgent: bool = False,
    ) -> tuple[FeedEntry, Rollout | Absent]:
        """Writes the whole change from `before` to `after`, or nothing. Returns its feed entry, and `after` with its
        new revision.

        The new revision is above the present revision and above `before`. Changes of overrides since `before` do not
        conflict, unless the commit `is_exact`. After a conflict of an urgent commit, all other commits conflict for a
        moment, so that the urgent one goes first.

        Raises ConflictError if the component is not at `before.state_entry` (`is_exact`: `before.entry`), or if
        `namespace` is not the present one. Raises UntimelyError if `decided_ms` differs by more than a second from the
        store's clock.
        """

    async def delete_damaged(
        self, component: str, author: Author, *, problem: str, lowest: Absent
    ) -> tuple[FeedEntry, Absent]:
        """Deletes all that is left of a component that can't be read, and writes the problem into its history. Its
        numbers go on from the highest ones found in the store, and at least from `lowest`.
        """

    async def commit_overrides(
        self,
        component: str,
        changes: Mapping[str, Override | None],
        author: Author,
        *,
        expected_revision: int | None = None,
        known: Rollout | Absent | None = None,
        must_exist: bool = False,
    ) -> tuple[FeedEntry | None, Result]:
        """Sets overrides, and deletes those with None: all of them, or none. Makes one revision and one history entry.
        If nothing changes, there is no entry (None), and `Result.changed` is False.

        Raises ConflictError if the store has lost the state that the caller knows (`known`). Raises RefusedError:
        COMPONENT_NOT_FOUND; REVISION_MISMATCH; with `must_exist`, OVERRIDE_NOT_FOUND if an override to delete does not
        exist, or has expired by the store's clock.
        """

    async def commit_namespace(
        self, before: Namespace, after: Namespace, author: Author, *, decided_ms: int | None = None
    ) -> FeedEntry:
        """Changes the namespace. Raises ConflictError if it is not at `before`; UntimelyError as `commit`."""

    async def sweep_overrides(self, component: str, *, limit: int = 1000) -> int:
        """Removes overrides that expired at least a day ago by the store's clock, and returns their number. Writes a
        feed entry, but no revision and no history.
        """

    def walk_overrides(self, component: str) -> AsyncIterator[OverridesPiece]:
        """All overrides in pieces, so that no other caller is blocked. Changes during the walk may or may not be
        included.
        """

    async def list_overrides(self, component: str, *, prefix: str, after: str, limit: int) -> list[ListedOverride]:
        """Overrides after `after` in order of repo, including expired ones, with who set each of them."""

    async def events(self, component: str, *, before: str = "", after: str = "", limit: int) -> list[Event]:
        """Events of the history that are older than the id `before` and newer than the id `after`, newest first.
        Component "" is the namespace itself.
        """

    async def events_of_many(self, asked: Sequence[AskedEvents], *, after: str = "") -> list[EventsPiece]:
        """Events of several histories that are newer than the id `after`, in one exchange. A damaged history does not
        affect the others.
        """

    async def deleted_components(self, *, since_ms: int = 0) -> list[tuple[str, int]]:
        """The components that were deleted last, if they were deleted at `since_ms` or later, each with the time."""

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        """Entries after an id. It waits up to `block_ms` for the first one, on a connection of its own. With 0 it does
        not wait, and uses a connection of the common pool. Entries that rampd did not write are included, with their
        `problem`.
        """

    async def has_lost(self, entry_id: str) -> bool:
        """Whether the feed reaches back far enough to have an entry that existed, but does not have it."""

    async def missing_entries(self, entries: Iterable[tuple[str, str]]) -> frozenset[str]:
        """The components whose history has lost an entry, given as pairs of component and entry. An entry older than the oldest kept entry does not
        count as lost: it was trimmed.
        """

    def apply(self, rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        """The component after an entry; pure. An entry that the component already has (by revision) changes nothing.

        Raises StoreCorruptError if an entry between the two is missing: the component must be read again.
        """

    async def close(self) -> None:
        """Closes all connections."""


class Topology(StrEnum):
    """How the primary of a store is found."""

    SINGLE = "single"
    """It has one address."""
    SENTINEL = "sentinel"
    """Sentinels name it."""
    CLUSTER = "cluster"
    """It is the one that has the namespace's slot."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How a store is set up, and how it is. What the store does not tell is None."""

    is_embedded: bool
    """Whether this server has started the store."""
    topology: Topology
    primary: str
    """Its address, without credentials."""
    ahead_ms: float
    """How far the store's clock is ahead of this machine's."""
    product: str | None = None
    """`redis` or `valkey`."""
    version: str | None = None
    append_only: bool | None = None
    append_fsync: str | None = None
    """`always`, `everysec` or `no`."""
    save_failed: bool | None = None
    """Whether the last attempt to write the data to the disk failed."""
    used_memory_bytes: int | None = None
    max_memory_bytes: int | None = None
    """0: no limit."""
    max_memory_policy: str | None = None
    replicas: int | None = None
    """The number of replicas that are connected."""
    trouble: str = ""
    """Why a part of the store is missing here, as sentences: a shard of a cluster does not answer."""


class StoreProbe(Protocol):
    """Asks a store how it is."""

    async def status(self) -> StoreStatus:
        """Raises StoreUnavailableError if the store does not answer. It is no error if the store tells only its time."""


class OutcomeStore(Protocol):
    """The counts of jobs' outcomes. Every method uses the epoch of the `Store` beside it, and may raise
    StoreUnavailableError, StoreResetError and StoreCorruptError.
    """

    async def count_outcomes(self, batch: OutcomeBatch) -> tuple[Receipt, str]:
        """Counts a batch once. Returns a receipt and the answer to give; for REPEATED it is the answer of the first
        time.

        The first batch of a later trial ends the trial before it. Raises ConflictError if a later trial than the
        batch's has begun.
        """

    async def count_many(self, batches: Sequence[OutcomeBatch]) -> list[tuple[Receipt, str] | None]:
        """Counts the batches of several components in one exchange. Returns for each what `count_outcomes` returns, or
        None if the batch was not counted. For None, call `count_outcomes`, which counts the batch or says why not.
        """

    async def counters(self, component: str, release: int, trial: int) -> TrialCounters:
        """The counters of a trial; empty if the store counts another trial now. `release` and `trial` are those of
        `domain.evidence.admission.Trial`.
        """

    async def release_counters(self, component: str) -> ReleaseCounters:
        """The counters of each release."""

    async def release_counters_of(self, components: Sequence[str]) -> list[ReleaseCounters | RampdError]:
        """As `release_counters` for several components, in one exchange. One whose counters can't be read has StoreCorruptError or
        StoreUnavailableError in its place.
        """

    async def samples(self, component: str) -> Sequence[Sample]:
        """The samples of the counters in the order of their times: coarse ones, then fine ones, then one of this moment. Empty
        if nothing was counted. `domain.evidence.samples.intervals` makes jobs over time of them.
        """

    async def forget_outcomes(
        self, component: str, trial: Trial, *, last_number: int = 0, releases: Collection[int] = ()
    ) -> None:
        """Drops the counts of trials before `trial`, the present one, and of releases up to `last_number` that are not
        in `releases`. For a deleted component (release 0) it also drops the clients, all releases and the samples.
        """


class MarkStore(Protocol):
    """The marks of the components whose outcomes were counted lately, by any server. Every method uses the epoch of the `Store`
    beside it, and may raise StoreUnavailableError, StoreResetError and StoreCorruptError.
    """

    async def mark(self, components: Collection[str]) -> None:
        """Marks components with the store's time. The caller is about to count outcomes of them."""

    async def marked(self, since_ms: int) -> Mapping[str, float]:
        """The components that were marked at `since_ms` or later, by the store's clock, each with the time of its last mark."""


class SeenStore(Protocol):
    """The repos of each component that any server has seen in the last day. Every method uses the epoch of the `Store` beside
    it, and may raise StoreUnavailableError, StoreResetError and StoreCorruptError.
    """

    async def add(self, component: str, repos: Collection[str], depth: int) -> None:
        """Adds repos that were seen just now: at most a thousand. Repos of a lower depth were left out."""

    async def read(self, component: str) -> RepoSample:
        """The repos that were seen in the last day."""


@dataclass(frozen=True, slots=True)
class LastServed:
    """What a server served last, without the components."""

    epoch: str
    entry_id: str
    """The newest feed entry that the server had."""
    confirmed_s: float
    """When the store last confirmed the state, in seconds since 1970, by this machine's clock."""
    clock_ahead_ms: float
    """How far the store's clock was ahead of this machine's."""
    namespace: Namespace
    is_last: bool
    """Whether the server ended in order right after this state, so that it served nothing newer."""
    anchor: Anchor | None = None
    """The newest change that the store had for long; None if that is not known."""


@dataclass(frozen=True, slots=True)
class LastState:
    """What a server served last."""

    about: LastServed
    components: Sequence[tuple[Rollout, Mapping[str, Override]]]
    gone: Sequence[Absent] = ()
    """The components that were deleted last."""


class LastStateError(Exception):
    """Raised when there is a last state that must not be used. The message has the place and the reason."""


class LastStateStore(Protocol):
    """The place where a server keeps the state of one store and namespace for its next start. Its methods block."""

    def read(self) -> LastState | None:
        """The state that was kept; None if there is none. Raises LastStateError."""

    def encode(self, rollout: Rollout | Absent, overrides: Iterable[tuple[str, Override]] = ()) -> Iterator[bytes]:
        """Encodes a component, or the record of a deleted one, in pieces for `write`. Each piece takes about a
        millisecond.
        """

    def write(self, about: LastServed, components: list[bytes]) -> None:
        """Replaces the kept state as a whole, unless the kept one was confirmed later. Raises OSError."""

    def confirm(self, about: LastServed) -> bool:
        """Keeps that the store has confirmed the kept state again. Returns False if another state is kept, or none; then write it.
        Raises OSError.
        """

    def clean(self) -> None:
        """Removes files that a killed process has left of an unfinished write. Raises OSError."""


class CheckSource(Protocol):
    """Gives the controller the readings of the checks."""

    async def readings(self, rollout: Rollout) -> Sequence[CheckReading]:
        """The latest readings of the checks of a rollout's policy, for its present next. Does not wait for a source."""


class CountedSource(Protocol):
    """Tells the controller for which components outcomes were counted."""

    async def wait(self) -> frozenset[str]:
        """The components for which something was counted since the last wait. Waits until there is at least one."""


@dataclass(frozen=True, slots=True)
class CheckTurn:
    """One server's turn to ask a check, until its lease ends."""

    component: str
    check: str
    id: str
    asked_ms: int
    before: CheckCounts | None
    """The counts until now; None if the check was never asked."""


class CheckStore(Protocol):
    """The servers' turns to ask checks, and the results. Every method may raise StoreUnavailableError, StoreResetError
    and StoreCorruptError.
    """

    async def lease(
        self, component: str, check: str, scope: str, *, lease_ms: int, interval_ms: int
    ) -> CheckTurn | int:
        """A turn, or the number of milliseconds after which to try again if another server has the turn or the check is
        not due.
        """

    async def record(self, turn: CheckTurn, counts: CheckCounts, *, checks: Sequence[str]) -> bool:
        """Writes the result of a turn, and returns whether it was in time. If another server has taken the turn since,
        nothing is written. Deletes the counts of checks that are not in `checks`, the checks of the policy.
        """

    async def counts(self, component: str) -> Mapping[str, CheckCounts]:
        """The counts of each check that was asked, by its name."""
