"""What the server needs of a store, and the values that pass between them. `storage/` has it in Redis."""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.evidence.admission import Counted, Trial
from rampd_server.domain.evidence.counters import JobCount, ReleaseCounters, TrialCounters
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout

SELF: Final = "rampd"
"""The actor of what the server does by itself."""


@dataclass(frozen=True, slots=True)
class Override:
    """A repo's fixed choice: exactly one of `channel` (`CURRENT`, `NEXT`) and `tag` is not empty."""

    channel: str = ""
    tag: str = ""
    expire_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for a change, and how: what the history and the idempotency record keep of a call."""

    actor: str
    action: str
    note: str = ""
    is_claimed: bool = True
    request_id: str = ""
    """The caller's idempotency key; empty: the store makes one up."""
    digest: str = ""
    """Of method, caller and content, without spaces: what a repeat of `request_id` must be equal in."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """The method by its name, and a short digest of the actor and of each field: what tells in what a repeat differs."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an idempotency record keeps of the first answer."""

    revision: int
    disposition: str = ""
    release: int = 0
    queue_position: int = 0
    changed: bool = True


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What was done under a request id."""

    digest: str
    result: Result
    parts: Mapping[str, str] = field(default_factory=dict)
    """As of `Author.parts`; empty where an earlier rampd made the record."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after a change; None where it is not there."""

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


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One committed change, as every server hears of it. `previous_id` proves that none was missed."""

    id: str
    previous_id: str
    component: str = ""
    """Empty for a change of the namespace."""
    revision: int = 0
    patch: str = ""
    """What changed of the rollout, for `Store.apply`. Where only overrides changed: the update time; empty for overrides
    that were swept, which is no revision.
    """
    overrides_set: Mapping[str, Override] = field(default_factory=dict)
    overrides_deleted: Sequence[str] = ()
    namespace: "Namespace | None" = None
    """The namespace after the change, where it is the namespace that changed."""
    is_deletion: bool = False
    """The component went, and its overrides with it."""
    base_entry: str = ""
    """The last entry of the component before; empty where it had none."""
    problem: str = ""
    """Why it is none that rampd wrote. It has nothing but its id then, and follows on no other."""

    @property
    def is_of_overrides_only(self) -> bool:
        return bool(self.overrides_set or self.overrides_deleted)


def entry_order(entry_id: str) -> tuple[int, int]:
    """What ids of feed entries are ordered by."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


@dataclass(frozen=True, slots=True)
class Namespace:
    """What holds for all components."""

    freeze: Freeze | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """Where the store stands: read at one moment."""

    epoch: str
    entry_id: str
    time_ms: int
    namespace: Namespace
    adopted_ms: int | None = None
    """When an operator made this epoch with `rampd-server adopt`, by the store's clock; None: nobody did, or an earlier rampd."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A component as the store has it at one moment, and what held for all components then."""

    rollout: Rollout | Absent
    namespace: Namespace
    time_ms: int
    entry_id: str = "0-0"
    """Of the newest feed entry then."""


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """What one report has of one component, decided on, to be counted whole and once."""

    component: str
    trial: Trial
    client_id: str
    sequence: int
    digest: str
    """Of the whole report, hexadecimal: what a repeat of the sequence must be equal in."""
    reporter: str
    """Whose credentials it came with."""
    answer: str
    """What to remember for a repeat, of printable ASCII."""
    outcomes: Sequence[Counted] = ()
    mismatches: int = 0
    maturation_ms: int = 0
    by_release: Mapping[int, JobCount] = field(default_factory=dict)
    """What it adds to each release, whatever the trial."""
    current_revision: int = 0
    """At which current became current."""
    current: JobCount = field(default_factory=JobCount)
    """What it adds to current since then."""


class Receipt(StrEnum):
    """What became of a batch. All but COUNTED have counted nothing now."""

    COUNTED = "COUNTED"
    REPEATED = "REPEATED"
    REUSED = "REUSED"
    """The sequence was another batch of this client."""
    TOO_OLD = "TOO_OLD"
    """A later batch of this client is in already."""


class ConflictError(Exception):
    """Raised when another writer was first; the caller reads again and tries again."""


class UntimelyError(Exception):
    """Raised when a change reached the store at another time than it was decided for: the store hung, or its clock was
    set. Nothing was written.
    """


class ReplayedError(Exception):
    """Raised when a request id was done before, with the same digest. `result` is the first one."""

    def __init__(self, record: RequestRecord) -> None:
        super().__init__("done before")
        self.record = record
        self.result = record.result


class Store(Protocol):
    """Every method may raise StoreUnavailableError, StoreResetError and StoreCorruptError of `domain.errors`; a method
    that takes an author also RefusedError (REQUEST_ID_REUSED), and ReplayedError with the first result.
    """

    adopt_command: str
    """What an operator types to adopt this store; empty where that is not known."""

    async def head(self) -> Head | None:
        """Where the store stands; None where the namespace has no epoch (it is new, or was emptied)."""

    async def is_empty(self) -> bool:
        """Whether the namespace has no key at all."""

    async def begin_epoch(self, *, adopted: bool) -> str:
        """Writes `meta` with a new epoch and the schema; without `adopted` only where there is no epoch yet. The epoch."""

    def set_epoch(self, epoch: str) -> None:
        """The epoch that every later write names; a write under another one raises StoreResetError."""

    async def read(self, component: str) -> Stored:
        """A component at one moment; Absent where it is not there. StoreCorruptError also where it is among `components`, and
        nothing is left of it.
        """

    async def components(self, *, after: str = "", limit: int) -> list[str]:
        """Names in order, those after `after`."""

    async def request_record(self, request_id: str) -> RequestRecord | None:
        """What was done under a request id in the last 24 h."""

    async def remember(self, author: Author, result: Result) -> None:
        """Writes the idempotency record of a call that succeeded and changed nothing, so that its repeat, after others
        have changed the rollout, changes nothing either. Does nothing where the caller gave no request id.
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
        """Writes the whole change from `before` to `after` or nothing: its entry, and `after` at the revision that the store
        has given it, which is above the present one and above `before`. Changes of overrides since `before` are no obstacle,
        unless it `is_exact`. Where one that `is_urgent` conflicts, all that are not conflict for the next moment.

        Raises ConflictError where the component is not at `before.state_entry` (`is_exact`: `before.entry`), or `namespace`
        is not the present one; UntimelyError where `decided_ms` is over a second away from now by the store's clock.
        """

    async def delete_damaged(
        self, component: str, author: Author, *, problem: str, lowest: Absent
    ) -> tuple[FeedEntry, Absent]:
        """Deletes a component that can't be read, whatever is left of it; the history has the problem. Its numbers go on from
        the highest that are found in the store, and at least from `lowest`.
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
        """Sets and (None) deletes overrides: all, or none. One revision, one history entry; where all was so already,
        no entry (None) and `Result.changed` is False.

        Raises ConflictError where the store has lost what the caller of this knows (`known`); RefusedError:
        COMPONENT_NOT_FOUND, REVISION_MISMATCH; with `must_exist` OVERRIDE_NOT_FOUND where one to be deleted is not there, or
        has expired by the store's clock.
        """

    async def commit_namespace(
        self, before: Namespace, after: Namespace, author: Author, *, decided_ms: int | None = None
    ) -> FeedEntry:
        """Changes the namespace. Raises ConflictError where it is not at `before`; UntimelyError as `commit`."""

    async def sweep_overrides(self, component: str, *, limit: int = 1000) -> int:
        """Removes overrides that expired a day ago or longer by the store's clock: how many. No revision, no history; the feed tells."""

    def walk_overrides(self, component: str) -> AsyncIterator[Mapping[str, Override]]:
        """All overrides in pieces, blocking nobody; what changes meanwhile may or may not be in."""

    async def list_overrides(
        self, component: str, *, prefix: str, after: str, limit: int
    ) -> list[tuple[str, Override]]:
        """Overrides in order of repo, those after `after`; expired ones included."""

    async def events(self, component: str, *, before: str = "", limit: int) -> list[Event]:
        """The history, newest first, those older than the id `before`. Component "": the namespace's own."""

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        """Entries after an id. It waits for the first for `block_ms`, on a connection of its own; 0: not at all, on one of
        those that everything else goes over. What rampd did not write is among them, with its `problem`.
        """

    async def has_lost(self, entry_id: str) -> bool:
        """Whether the feed reaches back to an entry that once was there, and does not have it."""

    async def missing_entries(self, entries: Mapping[str, str]) -> frozenset[str]:
        """Of components, and an entry of each, those whose history has lost it. An entry that is older than all that is kept
        is none that was lost.
        """

    def apply(self, rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        """The component after an entry; pure. An entry that it has already (by revision) changes nothing.

        Raises StoreCorruptError where an entry between the two is missing: the component must be read again.
        """

    async def close(self) -> None:
        """Gives all connections back."""


class OutcomeStore(Protocol):
    """What was counted of jobs. Every method may raise StoreUnavailableError, StoreResetError and StoreCorruptError; it goes
    by the epoch of the `Store` beside it.
    """

    async def count_outcomes(self, batch: OutcomeBatch) -> tuple[Receipt, str]:
        """Counts a batch, once: what became of it, and the answer to give; where REPEATED, that of the first time.

        The first batch of a later trial ends the one before. Raises ConflictError where a later trial than the batch's
        has begun.
        """

    async def count_many(self, batches: Sequence[OutcomeBatch]) -> list[tuple[Receipt, str] | None]:
        """Counts the batches of several components in one exchange: for each as `count_outcomes`; None where nothing was
        counted, and `count_outcomes` has to do it or say why not.
        """

    async def counters(self, component: str, release: int, trial: int) -> TrialCounters:
        """What a trial has counted; nothing where it is not the one that is counted now. `release`, `trial`: of
        `domain.admission.Trial`.
        """

    async def release_counters(self, component: str) -> ReleaseCounters:
        """What was counted of each release."""

    async def forget_outcomes(
        self, component: str, trial: Trial, *, last_number: int = 0, releases: Collection[int] = ()
    ) -> None:
        """Drops what was counted for trials before this one, which is in force now; and of releases up to `last_number`
        that are none of `releases`. Of a component that is gone (release 0) its clients and all releases too.
        """


@dataclass(frozen=True, slots=True)
class LastServed:
    """Of what a server served last: all but the components."""

    epoch: str
    entry_id: str
    """The newest entry of the feed that it had."""
    confirmed_s: float
    """When the store last confirmed it, since 1970, by this machine's clock."""
    clock_ahead_ms: float
    """How far the store's clock was ahead of this machine's."""
    namespace: Namespace
    is_last: bool
    """Whether the server ended after it in order, so that nothing newer was served."""


@dataclass(frozen=True, slots=True)
class LastState:
    """What a server served last."""

    about: LastServed
    components: Sequence[tuple[Rollout, Mapping[str, Override]]]
    gone: Sequence[Absent] = ()
    """The last components that went."""


class LastStateError(Exception):
    """Raised when there is a last state that is not to be used, with the place and the reason."""


class Memory(Protocol):
    """Where a server keeps what it serves of one store and namespace, for its next start. It blocks."""

    def read(self) -> LastState | None:
        """What was kept; None where nothing was. Raises LastStateError."""

    def encode(self, rollout: Rollout | Absent, overrides: Iterable[tuple[str, Override]] = ()) -> Iterator[bytes]:
        """A component, or what is left of it, in pieces for `write`, each made in about a millisecond."""

    def write(self, about: LastServed, components: list[bytes]) -> None:
        """Keeps it whole in the place of what was kept, where that was not confirmed later. Raises OSError."""

    def clean(self) -> None:
        """Removes what a process that was killed has left of a write. Raises OSError."""


class CheckSource(Protocol):
    """What the controller needs of whoever asks the checks of policies."""

    async def readings(self, rollout: Rollout) -> Sequence[CheckReading]:
        """What is known of the checks of a rollout's policy, for its present next; waits for no answer of a source."""


class CountedSource(Protocol):
    """What the controller needs of whoever takes outcomes in."""

    async def wait(self) -> frozenset[str]:
        """The components for which something was counted since the last wait; waits until there is one."""


@dataclass(frozen=True, slots=True)
class CheckTurn:
    """One server's turn to ask a check, until its lease ends."""

    component: str
    check: str
    id: str
    asked_ms: int
    before: CheckCounts | None
    """What was counted until now; None: the check was never asked."""


class CheckStore(Protocol):
    """Who asks which check when, and what came of it. Every method may raise StoreUnavailableError, StoreResetError and
    StoreCorruptError.
    """

    async def lease(
        self, component: str, check: str, scope: str, *, lease_ms: int, interval_ms: int
    ) -> CheckTurn | int:
        """A turn; or in how many milliseconds to try again, because another server has it, or the check is not due."""

    async def record(self, turn: CheckTurn, counts: CheckCounts, *, checks: Sequence[str]) -> bool:
        """Writes the result of a turn; whether it was still in time: a turn that another server has taken since writes
        nothing. What is there of other checks than `checks`, the policy's, goes.
        """

    async def counts(self, component: str) -> Mapping[str, CheckCounts]:
        """What was counted of each check that was asked, by its name."""
