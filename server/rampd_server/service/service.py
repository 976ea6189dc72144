"""The verbs of rampd, without gRPC and Redis: reads a rollout, runs the state machine, commits, answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import structlog

from rampd_server.domain.errors import (
    DeadlineError,
    InvalidRequestError,
    RampdError,
    RefusedError,
    StoreCorruptError,
    StoreResetError,
    StoreUnavailableError,
)
from rampd_server.domain.refusals import component_not_found, contention, revision_mismatch
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.commands import ground_of, lowers_exposure
from rampd_server.domain.rollout.effect import Effect
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.domain.rollout.moves import Context, settle
from rampd_server.domain.rollout.protection import (
    begins,
    new_freeze,
    rises,
    until,
    what_it_replaces,
    what_it_stops,
    what_its_end_starts,
)
from rampd_server.domain.rollout.requirements import require_revision
from rampd_server.domain.rollout.transition import transition
from rampd_server.domain.wording import counted
from rampd_server.metrics.counting import Count
from rampd_server.ports import (
    SELF,
    Author,
    ConflictError,
    FeedEntry,
    Namespace,
    Override,
    ReplayedError,
    RequestRecord,
    Result,
    Store,
    Stored,
    UntimelyError,
)
from rampd_server.process.long_work import in_pieces
from rampd_server.replica.damage import shown
from rampd_server.replica.replica import Replica
from rampd_server.service.line import Line
from rampd_server.service.repeats import has_change, replayed_message, reused

_TIMEOUT_S = 5.0
"""How long a call without a deadline tries again after conflicts with other writers."""
_ABREAST = 8
"""How many changes of a component's overrides are under way at once. None of them is decided on the others."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of every mutation."""

    rollout: Rollout | Absent | None
    """The component after the change; None for a change of the namespace."""
    namespace: Namespace
    result: Result
    message: str
    is_replayed: bool = False
    before: Rollout | Absent | None = None
    """The component before the change; None if the answer is a replay, or if the component could not be read."""
    replicas: int | None = None
    """How many replicas of the store have the change, too; None: the store was not asked."""


class Service:
    """The verbs and the reads. This server's writers of a component write one after the other. Several servers may
    write at once: the store compares, and accepts only one of the writes.

    Writers of overrides have a line of their own, because no verb depends on overrides. Several of them write at once.
    """

    def __init__(self, store: Store, replica: Replica, *, wait_replicas: int = 0) -> None:
        """`wait_replicas` is how many replicas of the store a change waits for."""
        self._store = store
        self._wait_replicas = wait_replicas
        self._replica = replica
        self._lines: WeakValueDictionary[str, Line] = WeakValueDictionary()
        self._override_lines: WeakValueDictionary[str, Line] = WeakValueDictionary()
        self.conflicts = Count()
        """Commits that were tried again because another writer was first."""

    async def execute(
        self,
        component: str,
        command: commands.Command,
        author: Author,
        *,
        expected_revision: int | None = None,
        timeout_s: float | None = None,
        ground: Rollout | None = None,
        decided_ms: int | None = None,
        judge: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        """Runs one verb of the state machine and commits it. With `ground`, it commits only if everything that the
        decision depends on is still as in `ground`. With `decided_ms`, it commits only if the store's clock is within a
        second of that time.

        `judge` checks a new request, for example with Prometheus, and may refuse it. A repeat is answered without
        `judge`.

        Raises the refusals of `transition`; REVISION_MISMATCH; REQUEST_ID_REUSED; CONTENTION if others write first for
        5 s; DeadlineError if `timeout_s`, the caller's own time, is over; NoSnapshotError before the first state;
        StoreUnavailableError, StoreResetError, StoreCorruptError; UntimelyError.
        """

        async def attempt() -> Answer:
            try:
                return await self._execute(
                    component,
                    command,
                    author,
                    expected_revision=expected_revision,
                    ground=ground,
                    decided_ms=decided_ms,
                    is_urgent=is_urgent,
                )
            except StoreCorruptError as damage:
                if not isinstance(command, commands.DeleteComponent) or expected_revision is not None:
                    raise
                return await self._delete_damaged(component, author, damage)

        known = self._replica.get(component)
        is_urgent = known is not None and lowers_exposure(command, known.rollout)
        return await self._guarded(component, author, attempt, timeout_s, judge=judge, is_urgent=is_urgent)

    async def set_overrides(
        self,
        component: str,
        changes: Mapping[str, Override | None],
        author: Author,
        *,
        expected_revision: int | None = None,
        must_exist: bool = False,
        timeout_s: float | None = None,
    ) -> Answer:
        """Sets overrides, and deletes those with None: all of them, or none. Raises as `execute`; with `must_exist`
        also OVERRIDE_NOT_FOUND.
        """

        async def attempt() -> Answer:
            self._refuse_past(changes)
            known = self._replica.last_known(component)
            if isinstance(known, Rollout) and expected_revision is not None and known.has_lost(expected_revision):
                require_revision(known, expected_revision)
            self._expect(author)
            try:
                entry, result = await self._store.commit_overrides(
                    component,
                    changes,
                    author,
                    expected_revision=expected_revision,
                    known=known,
                    must_exist=must_exist,
                )
            except ConflictError:
                self.conflicts.add()
                await self._replica.read_again()
                return await attempt()
            message = _overrides_message(changes, result)
            if author.is_dry_run:
                stored = await self._store.read(component)
                before = stored.rollout
                if entry is not None and before.entry != entry.base_entry:
                    return await attempt()
                after = before if entry is None else self._store.apply(before, entry)
                return Answer(after, stored.namespace, result, message, before=before)
            replicas = None
            if entry is not None:
                message += await self._take_in(author, entry)
                replicas = entry.replicas
            present = self._replica.get(component)
            if present is not None and present.rollout.revision == result.revision:
                return Answer(present.rollout, self._replica.namespace, result, message, replicas=replicas)
            stored = await self._store.read(component)
            if entry is None:
                message += await self._visible(author, component, stored.rollout.entry, stored.rollout.revision)
            return Answer(stored.rollout, stored.namespace, result, message, replicas=replicas)

        line = self._override_lines.setdefault(component, Line(_ABREAST))
        return await self._guarded(component, author, attempt, timeout_s, line=line)

    async def freeze_all(self, expire_ms: int | None, author: Author, *, timeout_s: float | None = None) -> Answer:
        """Freezes the namespace."""

        def freeze(present: Freeze | None, now_ms: int) -> Freeze | None:
            return new_freeze(present, expire_ms, Context(now_ms, author.actor, author.note))

        return await self._change_freeze_all(freeze, author, timeout_s)

    async def unfreeze_all(self, author: Author, *, timeout_s: float | None = None) -> Answer:
        """Ends the namespace's freeze. Queue heads that waited for its end start before this answers."""
        answer = await self._change_freeze_all(lambda _present, _now_ms: None, author, timeout_s)
        if author.is_dry_run:
            return answer
        left = await self.settle_all()
        if not left:
            return answer
        return replace(answer, message=f"{answer.message} {_not_settled(left)}")

    async def settle_all(self, components: Iterable[str] | None = None) -> Mapping[str, str]:
        """Commits the changes that time or the end of a freeze causes, for all or some components. Returns those for
        which it failed, and why.

        A component that fails does not stop the others. A store that does not answer stops all.
        """
        left: dict[str, str] = {}
        author = Author(SELF, "Settle", "the freeze has ended", is_claimed=False)
        if components is None:
            components = [known.rollout.component for known in self._replica.components()]
        async for component in in_pieces(components):
            try:
                now_ms = self._replica.now_ms()
                if self.is_unsettled(component):
                    await self.execute(component, commands.Settle(), author, decided_ms=now_ms)
            except (StoreUnavailableError, StoreResetError) as error:
                left[component] = error.message
                break
            except UntimelyError:
                left[component] = (
                    "The store did not answer for a while, or somebody changed its clock. rampd tries again."
                )
            except RampdError as error:
                left[component] = error.message
            except Exception:  # noqa: BLE001 - one component must not stop the others
                _log.exception("settle_failed", component=component)
                left[component] = "This is a defect of rampd. The server's log has the details."
        return left

    async def expire_freeze_all(self) -> None:
        """Drops the namespace's freeze once its time is over. `settle_all` then starts the queue heads that waited for
        its end.

        The copy only shows when to try. Somebody may have prolonged the freeze since, so the freeze and the time of the
        store decide.
        """
        freeze = self._replica.namespace.freeze
        if freeze is None or freeze.is_in_force(self._replica.now_ms()):
            return

        def expire(present: Freeze | None, now_ms: int) -> Freeze | None:
            return present if present and present.is_in_force(now_ms) else None

        author = Author(SELF, "Unfreeze", "the freeze has ended", is_claimed=False)
        await self._change_freeze_all(expire, author, None)

    async def read(self, component: str) -> tuple[Rollout, Namespace, int]:
        """A component and the namespace as the store has them now, and its time in ms. Raises COMPONENT_NOT_FOUND."""
        try:
            stored = await self._store.read(component)
        except StoreCorruptError:
            self._replica.doubt(component)
            raise
        if isinstance(stored.rollout, Absent):
            raise component_not_found(component=component)
        return stored.rollout, stored.namespace, stored.time_ms

    def is_unsettled(self, component: str) -> bool:
        """Whether time or the end of a freeze has changed a component, and nobody has committed that yet."""
        known = self._replica.get(component)
        if known is None:
            return False
        context = Context(self._replica.now_ms(), SELF, freeze_all=self._replica.namespace.freeze)
        return settle(known.rollout, context) is not known.rollout

    async def _guarded(
        self,
        component: str,
        author: Author,
        attempt: Callable[[], Awaitable[Answer]],
        timeout_s: float | None,
        *,
        line: Line | None = None,
        judge: Callable[[], Awaitable[None]] | None = None,
        is_urgent: bool = False,
    ) -> Answer:
        """Runs a write with the checks that all writes share: a state to write on, repeats, the line, the deadline."""

        async def in_turn() -> Answer:
            # The store may have got another epoch while this write waited.
            self._replica.require_writable()
            return await attempt()

        began_s = time.monotonic()
        await self._replica.require_state()
        # Without `judge`, the script of the commit finds the record.
        if judge is not None and author.request_id:
            record = await self._store.request_record(author.request_id)
            if record is not None:
                return await self._repeat(component, author, record)
        what = component or "the namespace"
        line = self._lines.setdefault(component, Line()) if line is None else line
        try:
            if judge is not None:
                await judge()
            left_s = _TIMEOUT_S if timeout_s is None else timeout_s - (time.monotonic() - began_s)
            async with asyncio.timeout(left_s):
                if author.is_dry_run:
                    # A dry run writes nothing, so no writer has to wait for it.
                    return await in_turn()
                return await line.have_turn(in_turn, what, is_urgent=is_urgent)
        except ReplayedError as replayed:
            return await self._replay(component, author, replayed.record)
        except StoreCorruptError:
            self._replica.doubt(component)
            raise
        except (RefusedError, InvalidRequestError):
            # Another copy of this request may have been under way, and its change may be the reason for the refusal.
            record = await self._store.request_record(author.request_id) if author.request_id else None
            if record is None:
                raise
            return await self._repeat(component, author, record)
        except TimeoutError:
            if timeout_s is not None:
                raise DeadlineError(
                    f"The deadline of this call ran out before {what} was changed, or before the store confirmed it. Send the "
                    "call again with the same request_id and more time."
                ) from None
            raise contention(
                f"Others kept changing {what} for {_TIMEOUT_S:g} s. Send the call again with the same request_id."
            ) from None

    async def _execute(
        self,
        component: str,
        command: commands.Command,
        author: Author,
        *,
        expected_revision: int | None,
        ground: Rollout | None,
        decided_ms: int | None,
        is_urgent: bool,
    ) -> Answer:
        # The copy in memory is nearly always the present state, and a commit compares it with the store. An answer
        # without a commit (a refusal, or no change) must be decided on the store's own state.
        known = self._replica.get(component)
        stored = (
            Stored(known.rollout, self._replica.namespace, self._replica.now_ms())
            if known
            else await self._read_now(component)
        )
        is_certain = known is None
        while True:
            context = Context(stored.time_ms, author.actor, author.note, expected_revision, stored.namespace.freeze)
            try:
                _require_ground(stored.rollout, ground, command)
                effect = transition(stored.rollout, command, context)
                if effect.changed or is_certain:
                    is_exact = expected_revision is not None
                    return await self._commit(
                        stored, effect, author, decided_ms, is_exact=is_exact, is_urgent=is_urgent
                    )
            except ConflictError:
                self.conflicts.add()
            except (RefusedError, InvalidRequestError):
                if is_certain:
                    raise
            stored = await self._read_now(component)
            is_certain = True

    async def _read_now(self, component: str) -> Stored:
        """Returns the component as the store has it. If the store has lost changes that this copy has, the loss is
        settled first.
        """
        # Taken before the read, because the copy changes while the store is read.
        before = self._replica.last_known(component)
        stored = await self._store.read(component)
        if before is None or before.entry == stored.rollout.entry or before.revision < stored.rollout.revision:
            return stored
        await self._replica.read_again()
        return await self._store.read(component)

    async def _delete_damaged(self, component: str, author: Author, damage: StoreCorruptError) -> Answer:
        known = self._replica.get(component)
        lowest = Absent(component, known.rollout.revision, known.rollout.last_number) if known else Absent(component)
        self._expect(author)
        problem = shown(damage.problem)
        entry, gone = await self._store.delete_damaged(component, author, problem=problem, lowest=lowest)
        delay = await self._take_in(author, entry, gone)
        message = (
            f"{component} is deleted. A Release makes the component again, as number {gone.last_number + 1}. "
            f"Its data was damaged: {problem}{delay}"
        )
        before = known.rollout if known else None
        result = Result(gone.revision)
        return Answer(gone, self._replica.namespace, result, message, before=before, replicas=entry.replicas)

    async def _commit(
        self,
        stored: Stored,
        effect: Effect,
        author: Author,
        decided_ms: int | None,
        *,
        is_exact: bool,
        is_urgent: bool,
    ) -> Answer:
        result, message = _result(effect), effect.message
        after, replicas = effect.after, None
        self._replica.require_writable()
        if effect.changed:
            self._expect(author)
            entry, after = await self._store.commit(
                stored.rollout,
                after,
                author,
                result,
                stored.namespace,
                decided_ms=decided_ms,
                is_exact=is_exact,
                is_urgent=is_urgent,
            )
            result, replicas = replace(result, revision=entry.revision), entry.replicas
            message += await self._take_in(author, entry, after)
        else:
            await self._store.remember(author, result)
            message += await self._visible(author, after.component, after.entry, after.revision)
        return Answer(after, stored.namespace, result, message, before=stored.rollout, replicas=replicas)

    def _expect(self, author: Author) -> None:
        if not author.is_dry_run:
            self._replica.expect()

    async def _take_in(self, author: Author, entry: FeedEntry, after: Rollout | Absent | None = None) -> str:
        """A write is visible on its own server before it answers. If it can't be, or if too few replicas of the store have it, the
        sentences that are returned say so. The entry of a dry run is not in the store, so there is nothing to log and nothing
        to take in.
        """
        if author.is_dry_run:
            return ""
        # After the answer, which does not wait for the log.
        asyncio.get_running_loop().call_soon(_log_change, author, entry)
        self._replica.offer(entry, after)
        return await self._visible(author, entry.component, entry.id, entry.revision) + self._at_risk(entry)

    def _at_risk(self, entry: FeedEntry) -> str:
        if entry.replicas is None or entry.replicas >= self._wait_replicas:
            return ""
        have = f"{entry.replicas or 'none'} {'has' if entry.replicas < 2 else 'have'}"
        waited = counted(self._wait_replicas, "replica")
        return f" The change waited for {waited} of the store, and {have} it yet: a failover now may lose it."

    async def _visible(self, author: Author, component: str, entry_id: str, revision: int = 0) -> str:
        """Waits until this server answers with what the store had at a feed entry, at which the component had `revision`. An answer
        without a write needs this too: it may tell of a change that another server made a moment ago. The result is as that of
        `_take_in`.
        """
        if author.is_dry_run or not entry_id or await self._replica.wait_for_change(entry_id, component, revision):
            return ""
        _log.warning("change_not_visible_yet", component=component, entry=entry_id)
        return (
            " The store has the change, but this server does not answer with it yet: it reads its copy again. A Resolve "
            "with min_revision waits for it."
        )

    async def _repeat(self, component: str, author: Author, record: RequestRecord) -> Answer:
        """Answers a request whose id was used before. Raises REQUEST_ID_REUSED if the id was used for another request."""
        if record.digest != author.digest:
            raise reused(author, record) from None
        return await self._replay(component, author, record)

    async def _replay(self, component: str, author: Author, record: RequestRecord) -> Answer:
        message = replayed_message(author, record)
        if not component:
            head = await self._store.head()
            message += await self._visible(author, "", head.entry_id if head else "")
            return Answer(None, head.namespace if head else Namespace(), record.result, message, is_replayed=True)
        stored = await self._read_now(component)
        if not await has_change(self._store, stored.rollout, record):
            why = "the store has lost the change that this request_id made. To make it again, choose a new request_id"
            # The loss may have come after the component was read.
            actual = (await self._read_now(component)).rollout.revision
            raise revision_mismatch(component, why, expected=record.result.revision, actual=actual)
        message += await self._visible(author, component, stored.rollout.entry, stored.rollout.revision)
        return Answer(stored.rollout, stored.namespace, record.result, message, is_replayed=True)

    async def _change_freeze_all(
        self, change: Callable[[Freeze | None, int], Freeze | None], author: Author, timeout_s: float | None
    ) -> Answer:
        """`change` returns the new freeze, from the store's freeze and the store's time. The write compares both with
        the store.
        """

        async def attempt() -> Answer:
            while True:
                head = await self._store.head()
                before, now_ms = (head.namespace, head.time_ms) if head else (Namespace(), 0)
                after = replace(before, freeze=change(before.freeze, now_ms))
                end = until(after.freeze)
                is_frozen = "All components are frozen" if after.freeze else "There is no freeze of all components"
                if after == before:
                    unchanged = Result(0, changed=False)
                    await self._store.remember(author, unchanged)
                    delay = await self._visible(author, "", head.entry_id if head else "")
                    message = f"{is_frozen}{end}, as before; nothing changed.{delay}"
                    return Answer(None, before, unchanged, message)
                # Before the change: what it starts may have started before the answer.
                follows = await self._what_follows(before, after, now_ms, head.entry_id if head else "")
                try:
                    entry = await self._store.commit_namespace(before, after, author, decided_ms=now_ms)
                except (ConflictError, UntimelyError):
                    self.conflicts.add()
                    continue
                replaced = what_it_replaces(before.freeze, Context(now_ms)) if after.freeze else ""
                message = f"{is_frozen} now{end}.{replaced}{follows}{await self._take_in(author, entry)}"
                return Answer(None, after, Result(0), message, replicas=entry.replicas)

        return await self._guarded("", author, attempt, timeout_s)

    async def _what_follows(self, before: Namespace, after: Namespace, now_ms: int, entry_id: str) -> str:
        """Says what a freeze of the namespace stops, or what its end starts. Begins with a space, or is empty. `entry_id`: the
        newest entry of the store. The end of a freeze waits until this server has it. A freeze waits for nothing.
        """
        if entry_id and not after.freeze:
            await self._replica.wait_for_change(entry_id)
        context = Context(now_ms, freeze_all=before.freeze if after.freeze else None)
        rising: list[str] = []
        beginning: list[str] = []
        async for known in in_pieces(self._replica.components()):
            if name := rises(known.rollout, context):
                rising.append(name)
            elif not after.freeze and (name := begins(known.rollout, context)):
                beginning.append(name)
        return what_it_stops(rising) if after.freeze else what_its_end_starts(beginning, rising)

    def _refuse_past(self, changes: Mapping[str, Override | None]) -> None:
        now_ms = self._replica.now_ms()
        is_batch = len(changes) > 1
        past = [
            (f"overrides[{index}].expire_time" if is_batch else "expire_time", "is not in the future")
            for index, override in enumerate(changes.values())
            if override and override.expire_ms is not None and override.expire_ms <= now_ms
        ]
        if past:
            raise InvalidRequestError(past)


def _require_ground(rollout: Rollout | Absent, ground: Rollout | None, command: commands.Command) -> None:
    if ground is None or rollout.state_entry == ground.state_entry:
        return
    if isinstance(rollout, Absent) or ground_of(rollout, command) != ground_of(ground, command):
        raise revision_mismatch(rollout.component, expected=ground.revision, actual=rollout.revision)


def _log_change(author: Author, entry: FeedEntry) -> None:
    """Logs each committed change, also changes that rampd makes by itself. A freeze of the namespace has no component."""
    _log.info(
        "change_committed",
        component=entry.component,
        revision=entry.revision,
        verb=author.action,
        actor=author.actor,
        note=author.note,
    )


def _not_settled(left: Mapping[str, str]) -> str:
    component, error = next(iter(left.items()))
    others = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return f"The queue of {component}{others} could not start yet. rampd tries again each second. The reason: {error}"


def _result(effect: Effect) -> Result:
    return Result(
        revision=effect.after.revision,
        disposition=effect.disposition or "",
        release=effect.release,
        queue_position=effect.queue_position,
        changed=effect.changed,
    )


def _overrides_message(changes: Mapping[str, Override | None], result: Result) -> str:
    if not result.changed:
        return "The overrides already have these values; nothing changed."
    if len(changes) > 1:
        return f"{len(changes)} overrides are set or deleted."
    repo, override = next(iter(changes.items()))
    if override is None:
        return f"{repo} has no override now and follows the percent again."
    return f"{repo} gets {override.tag or override.channel.lower()}."
