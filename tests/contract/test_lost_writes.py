"""A store that has lost writes: it comes back with an older copy of its data, in the same epoch, and continues from it.

Then a revision does not identify a state, because two histories use the same numbers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from rampd import v1
from rampd._evidence.counters import Split
from rampd_server.automation.controller import Controller
from rampd_server.domain.errors import NoSnapshotError, Reason, RefusedError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Admission, IgnoredReason, JobOutcome
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.commands import Command
from rampd_server.domain.rollout.loss import after_loss
from rampd_server.domain.rollout.model import MAX_LOST, Absent, Freeze, LostRevisions, Rollout, RolloutState
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.progress import Progress
from rampd_server.ports import SELF, Author, ConflictError, FeedEntry, Namespace, Override, Result
from rampd_server.replica.last_state_keeper import LastStateKeeper
from rampd_server.replica.reading import Reading
from rampd_server.replica.replica import Replica
from rampd_server.replica.state import State
from rampd_server.rpc.resolver import ResolverServicer
from rampd_server.service.line import Line
from rampd_server.service.outcome_intake import Outcomes, Report
from rampd_server.service.service import Answer, Service
from rampd_server.storage import limits, scripts
from rampd_server.storage.last_state import LastStateFile
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests import rollouts
from tests.contract.driving import COMPONENT, PatientReplica, commit, decide, do
from tests.contract.going_back import GoBack, copied
from tests.contract.test_freezes import following
from tests.in_background import in_background
from tests.stores import StoreServer
from tests.waiting import PATIENCE_S

ADA, BOB = Author("ada", "Ramp"), Author("bob", "Ramp")


@pytest.fixture
async def store(real_server: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    store = real_server.store(namespace)
    store.set_epoch(await store.begin_epoch(adopted=False))
    yield store
    await store.close()


@pytest.fixture
async def elsewhere(real_server: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """The store as another writer sees it, who does not know the lost changes."""
    store = real_server.store(namespace)
    head = await store.head()
    store.set_epoch(head.epoch if head else await store.begin_epoch(adopted=False))
    yield store
    await store.close()


@pytest.fixture
async def base(store: RedisStore, elsewhere: RedisStore) -> Rollout:
    """A rollout at revision 3, before anything is lost: b is next at 20 %."""
    return await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(2000))


@pytest.fixture
async def go_back(real_server: StoreServer, store: RedisStore, base: Rollout) -> AsyncIterator[GoBack]:
    """Restores all data of the namespace as they were, in one step."""
    async with copied(real_server, store) as put_back:
        yield put_back


@pytest.fixture
async def replica(store: RedisStore, go_back: GoBack) -> Replica:
    """The copy of a server that looks at the store only when a test calls it."""
    # Its clock stands still, so that it is confirmed however long a test takes.
    replica = PatientReplica(store, monotonic=lambda: 1_000.0)
    await replica.read_again()
    return replica


@pytest.fixture
def service(store: RedisStore, replica: Replica) -> Service:
    return Service(store, replica)


@pytest.fixture
def outcomes(counted: RedisOutcomes, replica: Replica) -> Outcomes:
    return Outcomes(counted, replica)


async def run(service: Service, *verbs: Command) -> Answer:
    for verb in verbs:
        answer = await service.execute(COMPONENT, verb, ADA)
    return answer


def present(replica: Replica) -> Rollout:
    known = replica.get(COMPONENT)
    assert known is not None
    return known.rollout


async def stored(store: RedisStore) -> Rollout:
    rollout = (await store.read(COMPONENT)).rollout
    assert isinstance(rollout, Rollout)
    return rollout


async def test_a_verb_is_decided_on_the_stored_state_and_not_on_a_lost_state_of_the_same_revision(
    service: Service, elsewhere: RedisStore, go_back: GoBack
):
    """Given a lost and a new state of one revision, expect that the message of Rollback is about the stored one."""
    await run(service, commands.Finalize(force=True))  # lost: everybody gets b
    await go_back()
    await do(elsewhere, commands.Ramp(9000))  # with the same revision

    answer = await run(service, commands.Rollback())

    assert isinstance(answer.rollout, Rollout)
    assert answer.rollout.current_release.tag == "a"
    assert answer.rollout.state is RolloutState.HELD
    assert "Everybody gets a" in answer.message
    assert await stored(elsewhere) == answer.rollout


async def test_a_revision_that_somebody_has_seen_is_not_used_again(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack
):
    lost = await run(service, commands.Ramp(3000), commands.Ramp(4000))
    await go_back()
    await replica.read_again()

    assert lost.result.revision == 5
    assert present(replica).revision == 6
    assert present(replica).lost == (LostRevisions(4, 5),)
    assert (present(replica).basis_points, present(replica).state) == (2000, RolloutState.ROLLING_OUT)
    assert present(replica) == await stored(store)


async def test_the_history_says_once_what_was_lost(
    service: Service, replica: Replica, store: RedisStore, elsewhere: RedisStore, go_back: GoBack
):
    async with following(elsewhere) as other:
        await run(service, commands.Ramp(3000), commands.Ramp(4000))
        assert await other.wait_for(COMPONENT, 5)
        with capture_logs() as lines:
            await go_back()
            await asyncio.gather(replica.read_again(), other.read_again())
            await replica.read_again()

        assert present(other) == await stored(store)
    told = [event for event in await store.events(COMPONENT, limit=10) if event.actor == SELF]
    assert [(event.action, event.revision) for event in told] == [("RecordLoss", 6)]
    assert told[0].note.startswith("the store has lost revisions 4 to 5")
    assert [(line["first_revision"], line["last_revision"]) for line in lines if line["event"] == "writes_lost"] == [
        (4, 5)
    ]


async def test_a_loss_is_counted_once_with_the_number_of_its_revisions(
    service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack
):
    """Given two servers that know the lost changes, expect that one of them counts, after its copy is as the store is."""
    counted: list[tuple[str, int, int]] = []

    def count_of(each: Replica) -> Callable[[str, int], None]:
        return lambda component, revisions: counted.append((component, revisions, present(each).revision))

    async with following(elsewhere) as other:
        await run(service, commands.Ramp(3000), commands.Ramp(4000))
        assert await other.wait_for(COMPONENT, 5)
        for each in (replica, other):
            each.count_losses(count_of(each))
        await go_back()
        await asyncio.gather(replica.read_again(), other.read_again())
        await replica.read_again()

    assert counted == [(COMPONENT, 2, 6)]


async def test_the_history_names_the_failover_that_lost_the_changes(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(RedisStore, "failover", "the failover from 10.0.0.1:1 to 10.0.0.1:2")
    await run(service, commands.Ramp(3000))
    await go_back()
    await replica.read_again()

    [told] = await store.events(COMPONENT, limit=1)
    assert told.note == "the store has lost revision 4, by the failover from 10.0.0.1:1 to 10.0.0.1:2"


async def test_a_rolled_back_release_does_not_reach_jobs_again(
    service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack
):
    """Given a rollback that is lost, expect that the release stays at 0 % until a person raises it."""
    await run(service, commands.Rollback())
    await go_back()
    await do(elsewhere, commands.Ramp(3000))

    await replica.read_again()

    assert (present(replica).basis_points, present(replica).state) == (0, RolloutState.HELD)
    assert present(replica).held_reason == (
        "the store has lost revision 4, by a failover or with an older copy of its data; before, b was held: rolled back by ada"
    )


@pytest.mark.parametrize(
    ("verbs", "state"),
    [
        ((commands.Pause(),), RolloutState.HELD),
        ((commands.Quarantine("b"),), RolloutState.HELD),
        ((commands.Abandon(),), RolloutState.HELD),
        ((commands.Abandon(), commands.Release("c"), commands.Ramp(100)), RolloutState.HELD),
        ((commands.Ramp(1000),), RolloutState.HELD),
        ((commands.Ramp(9000),), RolloutState.ROLLING_OUT),
        ((commands.Finalize(force=True),), RolloutState.ROLLING_OUT),
        ((commands.Release("c"),), RolloutState.ROLLING_OUT),
    ],
    ids=str,
)
async def test_jobs_get_nothing_more_than_the_lost_state_gave_them(
    service: Service, replica: Replica, go_back: GoBack, verbs: tuple[Command, ...], state: RolloutState
):
    await run(service, *verbs)
    before = present(replica)
    await go_back()
    await replica.read_again()
    after = present(replica)

    assert (after.current_release.tag, after.state) == ("a", state)
    assert after.quarantine.keys() == before.quarantine.keys()
    assert after.last_number == before.last_number
    assert after.revision == before.revision + 1


async def test_a_lost_revert_is_done_again(service: Service, replica: Replica, store: RedisStore, go_back: GoBack):
    await run(service, commands.Finalize(force=True))
    kept = present(replica)
    await run(service, commands.Revert())
    rollout = present(replica)

    after = after_loss(kept, rollout, LostRevisions(5, 5), Context(1, "rampd"), protects=True)

    assert isinstance(after, Rollout)
    assert after.current_release.tag == "a"
    assert after.quarantine.keys() == {"b"}


async def test_an_outcome_of_a_lost_history_is_not_counted(
    service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack
):
    lost = await run(service, commands.Ramp(9000))
    await go_back()
    await do(elsewhere, commands.Ramp(100))
    await replica.read_again()

    outcome = JobOutcome(COMPONENT, 2, lost.result.revision, True, "WEIGHT", "acme/app", "", False, 0)
    assert Admission(present(replica)).admit(outcome) is IgnoredReason.REVISION_UNKNOWN
    assert Admission(present(replica)).admit(outcome._replace(revision=3)) is not IgnoredReason.REVISION_UNKNOWN


def ran_current(revision: int, sequence: int = 1) -> Report:
    """A job of a repo that was pinned to current, and failed."""
    outcome = JobOutcome(COMPONENT, 1, revision, False, "OVERRIDE_CHANNEL", "acme/app", "", True, 0)
    return Report("worker-1", sequence, "abc123", "ada", [outcome])


@pytest.mark.parametrize("is_rewritten", [False, True], ids=["older", "another-of-the-same-number"])
async def test_an_outcome_of_a_lost_history_is_not_counted_even_before_the_server_notices_the_loss(
    service: Service, outcomes: Outcomes, elsewhere: RedisStore, go_back: GoBack, is_rewritten: bool
):
    lost = await run(service, commands.Ramp(9000))
    await go_back()
    if is_rewritten:
        await do(elsewhere, commands.Ramp(100))

    verdicts = await outcomes.report(ran_current(lost.result.revision))

    assert verdicts == [IgnoredReason.REVISION_UNKNOWN]
    counted = RedisOutcomes(elsewhere.link)
    assert (await counted.counters(COMPONENT, 2, 1)).others.failures == Split(0, 0)
    assert not (await counted.release_counters(COMPONENT)).by_release


async def test_an_outcome_of_a_lost_trial_does_not_change_the_counts_of_the_stored_trial(
    service: Service, outcomes: Outcomes, counted: RedisOutcomes, go_back: GoBack
):
    await outcomes.report(ran_current(3))
    before = await counted.counters(COMPONENT, 2, 1)
    lost = await run(service, commands.Rollback(), commands.Ramp(3000))
    assert isinstance(lost.rollout, Rollout)
    assert lost.rollout.trial == 2
    await go_back()

    verdicts = await outcomes.report(ran_current(lost.result.revision, 2))

    assert verdicts == [IgnoredReason.REVISION_UNKNOWN]
    assert before.others.failures == Split(1, 0)
    assert await counted.counters(COMPONENT, 2, 1) == before


async def test_an_outcome_counts_if_the_store_is_only_ahead(
    replica: Replica, outcomes: Outcomes, elsewhere: RedisStore, counted: RedisOutcomes
):
    """Given a change by another server that this server has not read yet, expect that an outcome causes no read."""
    await do(elsewhere, commands.Ramp(9000))

    assert await outcomes.report(ran_current(3)) == [None]

    assert present(replica).revision == 3
    assert (await counted.counters(COMPONENT, 2, 1)).others.failures == Split(1, 0)


@pytest.mark.parametrize("kind", ["history", "rollout"])
async def test_outcomes_of_a_damaged_component_are_decided_on_its_last_good_state(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack, kind: str
):
    """Given a loss that can't be settled, expect that a report is counted, also its outcomes of other components."""
    await service.execute("formatter", commands.Release("x"), ADA)
    lost = await run(service, commands.Ramp(9000))
    await go_back()
    key = getattr(store.keys.component(COMPONENT), kind)
    await store.client.delete(key)
    await store.client.set(key, "x")
    counted = RedisOutcomes(store.link)
    report = ran_current(lost.result.revision)
    other = report.outcomes[0]._replace(component="formatter")

    verdicts = await Outcomes(counted, replica).report(replace(report, outcomes=[*report.outcomes, other]))

    assert verdicts == [None, IgnoredReason.COMPONENT_NOT_FOUND]
    assert list(replica.damaged) == [COMPONENT]
    assert (await counted.counters(COMPONENT, 2, 1)).others.failures == Split(1, 0)

    async def read_again() -> None:
        pytest.fail("everything was read again, although the component is already known as damaged")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replica, "read_again", read_again)
        await Outcomes(counted, replica).report(replace(report, sequence=2))


async def test_a_verb_that_expects_a_lost_revision_is_refused(service: Service, elsewhere: RedisStore, go_back: GoBack):
    lost = await run(service, commands.Ramp(9000))
    await go_back()
    await do(elsewhere, commands.Ramp(100))

    for verb in (commands.Ramp(9500), commands.Rollback()):
        with pytest.raises(RefusedError) as caught:
            await service.execute(COMPONENT, verb, ADA, expected_revision=lost.result.revision)
        assert caught.value.reason is Reason.REVISION_MISMATCH


async def test_a_change_of_overrides_that_expects_a_lost_revision_is_refused(
    service: Service, elsewhere: RedisStore, go_back: GoBack
):
    lost = await run(service, commands.Ramp(9000))
    await go_back()
    await do(elsewhere, commands.Ramp(100))

    with pytest.raises(RefusedError, match="lost") as caught:
        await service.set_overrides(
            COMPONENT, {"acme/app": Override(channel="NEXT")}, ADA, expected_revision=lost.result.revision
        )

    assert caught.value.reason is Reason.REVISION_MISMATCH


async def test_a_resolve_that_asks_for_a_revision_is_not_answered_from_a_lost_one_of_the_same_number(
    service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack
):
    lost = await run(service, commands.Ramp(9000))
    await go_back()
    await do(elsewhere, commands.Ramp(100))
    resolver: Any = ResolverServicer(replica, None, None)  # type: ignore[arg-type]
    request = v1.ResolveRequest(component=COMPONENT, repo="acme/app", min_revision=lost.result.revision)

    with pytest.raises(NoSnapshotError, match="has lost revision 4 of restyler"):
        await resolver.resolve(request, None)

    assert present(replica).basis_points == 100


async def test_a_resolve_that_asks_for_a_revision_is_answered_if_the_store_does_not_answer(
    service: Service, replica: Replica, monkeypatch: pytest.MonkeyPatch
):
    async def fails(_components: object) -> None:
        raise StoreUnavailableError("The link was cut.")

    made = await run(service, commands.Ramp(9000))
    monkeypatch.setattr(replica, "require_history", fails)
    resolver: Any = ResolverServicer(replica, None, None)  # type: ignore[arg-type]

    assert await resolver.resolve(
        v1.ResolveRequest(component=COMPONENT, repo="acme/app", min_revision=made.result.revision), None
    )


async def test_a_server_does_not_wait_for_a_lost_revision(service: Service, replica: Replica, go_back: GoBack):
    lost = await run(service, commands.Ramp(9000))
    await go_back()
    await replica.read_again()

    assert not await replica.wait_for(COMPONENT, lost.result.revision, timeout_s=0.01)
    assert await replica.wait_for(COMPONENT, lost.result.revision + 1, timeout_s=0.01)


async def test_a_decision_based_on_a_lost_state_is_void(
    service: Service, elsewhere: RedisStore, replica: Replica, go_back: GoBack
):
    await run(service, commands.Ramp(9000))
    ground = present(replica)
    await go_back()
    await do(elsewhere, commands.Ramp(100))
    before = await stored(elsewhere)

    with pytest.raises(RefusedError) as caught:
        await service.execute(
            COMPONENT,
            commands.Decide(Progress(), commands.Finalize(force=True)),
            Author(SELF, "Finalize"),
            ground=ground,
        )

    assert caught.value.reason is Reason.REVISION_MISMATCH
    assert (await stored(elsewhere)).current_release.tag == before.current_release.tag == "a"


async def test_a_decision_stays_valid_after_changes_of_overrides(
    service: Service, elsewhere: RedisStore, replica: Replica
):
    ground = present(replica)
    for number in range(5):
        await elsewhere.commit_overrides(COMPONENT, {f"acme/{number}": Override(channel="NEXT")}, BOB)

    decided = commands.Decide(Progress(), commands.Rollback())
    answer = await service.execute(COMPONENT, decided, Author(SELF, "Rollback"), ground=ground)

    assert answer.result.revision == 9
    assert (await stored(elsewhere)).state is RolloutState.HELD


async def test_a_component_that_is_lost_completely_continues_its_numbers(
    service: Service, replica: Replica, go_back: GoBack
):
    made = await service.execute("formatter", commands.Release("x"), ADA)
    await go_back()
    await replica.read_again()
    assert replica.get("formatter") is None

    again = await service.execute("formatter", commands.Release("y"), ADA)

    assert made.result.revision == 1
    assert (again.result.revision, again.result.release) == (3, 2)


async def test_a_lost_freeze_is_set_again(service: Service, replica: Replica, go_back: GoBack):
    await run(service, commands.Freeze())
    await go_back()
    await replica.read_again()

    freeze = present(replica).freeze
    assert isinstance(freeze, Freeze)
    assert freeze.actor == "ada"


async def test_a_server_that_was_only_behind_has_lost_nothing(
    service: Service, replica: Replica, elsewhere: RedisStore
):
    await do(elsewhere, commands.Ramp(3000), commands.Rollback())
    await replica.read_again()

    assert (present(replica).revision, present(replica).lost) == (5, ())
    assert not replica.went_back


async def test_watchers_are_told_that_the_store_has_gone_back(service: Service, replica: Replica, go_back: GoBack):
    await run(service, commands.Ramp(9000))
    await go_back()
    await replica.read_again()

    assert replica.went_back


@contextlib.asynccontextmanager
async def reading_another_epoch(
    replica: Replica, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """The replica reads a store that was adopted, until the block ends."""
    await store.begin_epoch(adopted=True)
    goes_on = asyncio.Event()
    components = store.components

    async def wait_and_list(**options: object) -> list[str]:
        await goes_on.wait()
        return await components(**options)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "components", wait_and_list)
    reading = asyncio.create_task(replica.read_again())
    async with asyncio.timeout(PATIENCE_S):
        while replica._writable.is_set():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)
    yield
    goes_on.set()
    await reading


async def test_nothing_is_written_while_another_epoch_is_read(
    service: Service, replica: Replica, store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    async with reading_another_epoch(replica, store, monkeypatch):
        with pytest.raises(NoSnapshotError, match="new epoch"):
            await run(service, commands.Ramp(9000))

    assert (await run(service, commands.Ramp(9000))).result.changed


async def test_a_server_whose_reading_of_another_epoch_fails_goes_on_if_the_epoch_of_before_is_back(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack, monkeypatch: pytest.MonkeyPatch
):
    """Given an adopt that a failover loses while a server reads what was adopted, expect that the server takes writes again."""

    async def fails(**_: object) -> list[str]:
        raise StoreUnavailableError("The link was cut.")

    await store.begin_epoch(adopted=True)
    with monkeypatch.context() as patch:
        patch.setattr(store, "components", fails)
        with pytest.raises(StoreUnavailableError):
            await replica.read_again()
    await go_back()

    await replica._check_head()

    assert (await run(service, commands.Ramp(9000))).result.changed


async def test_a_write_that_waited_for_its_turn_depends_on_no_state_of_another_epoch(
    service: Service, replica: Replica, store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given overrides that wait for their turn when the store gets another epoch, expect that they are not written."""
    ends, turn = asyncio.Event(), service._override_lines.setdefault(COMPONENT, Line())
    before = asyncio.create_task(turn.have_turn(ends.wait, COMPONENT, is_urgent=False))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(service.set_overrides(COMPONENT, {"acme/app": Override(tag="b")}, ADA))
    await asyncio.sleep(0)
    async with reading_another_epoch(replica, store, monkeypatch):
        ends.set()
        with pytest.raises(NoSnapshotError, match="new epoch"):
            await waiting
        await before
    known = replica.get(COMPONENT)
    assert known is not None
    assert not known.overrides.by_repo


async def test_no_outcome_is_counted_while_another_epoch_is_read(
    replica: Replica, store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given a state that is from another epoch than the store, expect that its trials are not counted in the store."""
    rollout = present(replica)
    outcome = JobOutcome(COMPONENT, 2, rollout.revision, True, "WEIGHT", "acme/app", "", False, 0)
    outcomes = Outcomes(RedisOutcomes(store.link), replica)

    async def wait_for_no_state(**_: object) -> None:
        """As if the reading began after the report."""

    async with reading_another_epoch(replica, store, monkeypatch):
        with pytest.raises(NoSnapshotError, match="new epoch"):
            await outcomes.report(Report("client", 1, "00" * 8, "ada", [outcome]))
        monkeypatch.setattr(replica, "require_state", wait_for_no_state)
        with pytest.raises(NoSnapshotError, match="new epoch"):
            await outcomes.report(Report("client", 1, "00" * 8, "ada", [outcome]))
    assert not await store.client.exists(store.keys.outcomes(COMPONENT).outcomes)


async def test_a_server_settles_a_loss_in_its_own_regular_look_too(
    store: RedisStore, service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack
):
    async with following(elsewhere) as other:
        await run(service, commands.Rollback())
        assert await other.wait_for(COMPONENT, 4)
        await go_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not present(other).lost:  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0.01)

        assert present(other).lost == (LostRevisions(4, 4),)
        assert present(other).state is RolloutState.HELD


@pytest.mark.parametrize(
    ("meanwhile", "is_void"),
    [
        (commands.Release("c"), False),
        (commands.Ramp(3000), False),
        (commands.Abandon(), True),
        (commands.SetPolicy(automation={"maturation_ms": 1000}), True),
    ],
    ids=str,
)
async def test_a_decision_to_roll_back_is_void_only_if_a_fact_that_it_depends_on_has_changed(
    service: Service, elsewhere: RedisStore, replica: Replica, meanwhile: Command, *, is_void: bool
):
    ground = present(replica)
    await do(elsewhere, meanwhile)

    decided = service.execute(
        COMPONENT, commands.Decide(Progress(), commands.Rollback()), Author(SELF, "Rollback"), ground=ground
    )
    if is_void:
        with pytest.raises(RefusedError) as caught:
            await decided
        assert caught.value.reason is Reason.REVISION_MISMATCH
    else:
        assert (await decided).result.changed


@pytest.fixture
def _long_moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The moment for which others wait is not over before a test has looked."""
    monkeypatch.setattr(limits, "YIELD_MS", 600_000)
    scripts.script.cache_clear()
    yield
    scripts.script.cache_clear()


@pytest.mark.usefixtures("_long_moment")
async def test_other_writers_wait_a_moment_for_a_change_that_lowers_exposure_and_came_second(
    service: Service, elsewhere: RedisStore, replica: Replica, store: RedisStore
):
    """Given an urgent change that came second, expect that only another urgent change is committed before its repeat."""
    before = present(replica)
    now = await do(elsewhere, commands.Ramp(3000))
    held = decide(before, commands.Rollback())
    with pytest.raises(ConflictError):
        await store.commit(before, held, ADA, Result(5), Namespace(), is_urgent=True)

    with pytest.raises(ConflictError):
        await elsewhere.commit(now, decide(now, commands.Ramp(3500)), BOB, Result(5), Namespace())
    await store.commit(now, decide(now, commands.Rollback()), ADA, Result(5), Namespace(), is_urgent=True)

    assert (await stored(elsewhere)).state is RolloutState.HELD
    assert not await store.client.hexists(store.keys.component(COMPONENT).rollout, "yield_until")


async def test_other_writers_wait_no_longer_than_a_moment(service: Service, elsewhere: RedisStore, replica: Replica):
    key = elsewhere.keys.component(COMPONENT).rollout
    for until in ("9999999999999", "1", "x"):  # a clock that was set back, a moment that has passed, and damage
        await elsewhere.client.hset(key, "yield_until", until)
        now = await stored(elsewhere)
        await elsewhere.commit(now, decide(now, commands.Ramp(now.basis_points + 1)), BOB, Result(5), Namespace())


async def test_a_server_keeps_its_own_write_that_happens_while_it_reads_everything(
    service: Service, replica: Replica, monkeypatch: pytest.MonkeyPatch
):
    """Given a write between the last reads and the swap, expect that the new state is not behind the changes that listeners already have."""
    goes_back_to, answers = Reading._goes_back_to, []

    async def write_first(reading: Reading, state: State) -> bool:
        if not answers:
            answers.append(await run(service, commands.Ramp(3000)))
        return await goes_back_to(reading, state)

    monkeypatch.setattr(Reading, "_goes_back_to", write_first)
    await replica.read_again()

    assert present(replica).revision == answers[0].result.revision
    assert not replica.went_back


async def test_the_revision_of_a_lost_deletion_is_not_used_again(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack
):
    gone = await run(service, commands.DeleteComponent())
    await go_back()
    await replica.read_again()

    assert present(replica).revision == gone.result.revision + 1
    assert present(replica).lost == (LostRevisions(4, 4),)
    assert [event.action for event in await store.events(COMPONENT, limit=1)] == ["RecordLoss"]


async def test_a_lost_freeze_of_everything_is_set_again(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack
):
    await service.freeze_all(None, Author("ada", "Freeze", "holidays"))
    await go_back()
    await replica.read_again()

    freeze = replica.namespace.freeze
    assert freeze is not None
    assert (freeze.actor, freeze.note) == ("ada", "holidays")
    (event,) = await store.events("", limit=1)
    assert (event.action, event.note) == (
        "RecordLoss",
        "the store has lost the freeze of everything by ada, which is made again",
    )


async def test_a_release_that_was_dropped_before_the_loss_is_held_and_the_reason_says_so(
    service: Service, replica: Replica, go_back: GoBack
):
    await run(service, commands.Abandon())
    await go_back()
    await replica.read_again()

    assert present(replica).held_reason.endswith("; before, b was not rolled out any more")


async def test_a_store_that_goes_back_again_while_a_loss_is_recorded_is_read_again(
    service: Service, replica: Replica, go_back: GoBack, monkeypatch: pytest.MonkeyPatch
):
    """Given a record of a loss that is lost itself before it is read, expect no revision to be given twice."""
    await run(service, commands.Ramp(3000), commands.Rollback())
    await go_back()
    settle_losses, times = Reading._settle_losses, 0

    async def settle_and_go_back(reading: Reading, state: State) -> None:
        nonlocal times
        await settle_losses(reading, state)
        times += 1
        if times == 1:
            await go_back()

    monkeypatch.setattr(Reading, "_settle_losses", settle_and_go_back)
    with pytest.raises(StoreUnavailableError, match="The server reads it again"):
        await replica.read_again()
    assert (present(replica).revision, present(replica).state) == (5, RolloutState.HELD)
    await replica.read_again()

    assert (present(replica).revision, present(replica).state) == (6, RolloutState.HELD)


async def test_a_change_that_arrives_while_the_store_is_read_does_not_count_as_a_loss(
    service: Service, replica: Replica, store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given another change of this server that is applied during a look at the store, expect that not everything is read again."""
    read, changes = store.read, []

    async def read_and_change(component: str) -> Any:
        found = await read(component)
        if not changes:
            changes.append(await service.set_overrides(COMPONENT, {"acme/app": Override(channel="NEXT")}, BOB))
        return found

    async def read_again() -> None:
        raise AssertionError("everything is read again")

    monkeypatch.setattr(store, "read", read_and_change)
    monkeypatch.setattr(replica, "read_again", read_again)
    # A verb that changes nothing answers only after the store was asked.
    assert not (await run(service, commands.Resume())).result.changed
    assert changes


async def test_a_tag_of_an_earlier_lost_revert_does_not_reach_jobs_again(service: Service, replica: Replica):
    """Given two lost Reverts, expect that everybody goes back to the oldest version that is left."""
    await run(service, commands.Finalize(force=True), commands.Release("c", expedite=True))
    kept = present(replica)  # c is current, b and a were current before
    await run(service, commands.Revert(), commands.Revert("a"))
    known = present(replica)

    after = after_loss(kept, known, LostRevisions(6, 7), Context(1, "rampd"), protects=True)

    assert isinstance(after, Rollout)
    assert after.current_release.tag == "a"
    assert after.quarantine.keys() == {"b", "c"}


def test_a_revision_that_was_lost_stays_lost_after_many_losses():
    rollout = rollouts.after(Absent(COMPONENT), commands.Release("a"), commands.Release("b"), commands.Ramp(2000))
    lost = []
    for percent in range(3000, 3020):
        known = rollouts.after(rollout, commands.Ramp(percent))
        lost.append(known.revision)
        found = after_loss(
            rollout, known, LostRevisions(known.revision, known.revision), Context(1, "rampd"), protects=True
        )
        assert isinstance(found, Rollout)
        rollout = found

    assert all(rollout.has_lost(revision) for revision in lost)
    assert not rollout.has_lost(rollout.revision)
    assert len(rollout.lost) == MAX_LOST


@pytest.mark.parametrize(
    ("lost_ms", "kept_ms", "outlasts"),
    [(None, 1, True), (2, 1, True), (1, 2, False), (1, None, False), (None, None, False), (1, 1, False)],
)
def test_the_later_end_of_two_freezes_decides_which_one_outlasts_the_other(
    lost_ms: int | None, kept_ms: int | None, *, outlasts: bool
):
    assert Freeze("ada", "", 0, lost_ms).outlasts(Freeze("bob", "", 0, kept_ms)) is outlasts
    assert Freeze("ada", "", 0, lost_ms).outlasts(None)


async def test_few_of_many_callers_that_meet_a_loss_at_once_read_everything(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack, monkeypatch: pytest.MonkeyPatch
):
    await run(service, commands.Ramp(9000))
    await go_back()
    components, listed = store.components, []

    async def count_and_list(**options: Any) -> list[str]:
        if not options["after"]:
            listed.append(options)
        return await components(**options)

    monkeypatch.setattr(store, "components", count_and_list)
    await asyncio.gather(*(replica.read_again() for _ in range(20)))

    assert 1 <= len(listed) <= 2
    assert present(replica).lost == (LostRevisions(4, 4),)


async def test_an_override_is_not_set_on_another_history(
    service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack
):
    """Given a loss that the server has not seen yet, expect that an override gets a revision that nobody has seen."""
    lost = await run(service, commands.Ramp(3000), commands.Ramp(4000))
    await go_back()
    await do(elsewhere, commands.Ramp(100))

    answer = await service.set_overrides(COMPONENT, {"acme/app": Override(channel="NEXT")}, ADA)

    assert answer.result.revision == lost.result.revision + 2  # the record of the loss has the revision between them
    assert (await stored(elsewhere)).lost == (LostRevisions(4, 5),)


async def test_an_override_that_expects_a_revision_of_another_server_is_not_set_on_another_history(
    service: Service, elsewhere: RedisStore, go_back: GoBack
):
    """Given a caller who expects a revision that this server does not know, expect that the loss is settled first."""
    await run(service, commands.Ramp(3000), commands.Ramp(4000))
    await go_back()
    await do(elsewhere, commands.Ramp(100))

    with pytest.raises(RefusedError) as caught:
        await service.set_overrides(COMPONENT, {"acme/app": Override(channel="NEXT")}, ADA, expected_revision=4)

    assert caught.value.reason is Reason.REVISION_MISMATCH
    assert (await stored(elsewhere)).lost == (LostRevisions(4, 5),)


async def test_a_verb_on_a_component_that_is_back_gets_a_revision_that_nobody_has_seen(
    service: Service, replica: Replica, go_back: GoBack
):
    gone = await run(service, commands.Ramp(3000), commands.DeleteComponent())
    await go_back()

    answer = await run(service, commands.Ramp(100))

    assert answer.result.revision == gone.result.revision + 2


async def test_an_override_of_a_component_that_is_back_gets_a_revision_that_nobody_has_seen(
    service: Service, replica: Replica, go_back: GoBack
):
    gone = await run(service, commands.Ramp(3000), commands.DeleteComponent())
    await go_back()

    answer = await service.set_overrides(COMPONENT, {"acme/app": Override(channel="NEXT")}, ADA)

    assert answer.result.revision == gone.result.revision + 2


async def test_no_number_is_used_again_after_a_deletion_is_lost_with_its_component(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack
):
    for verb in (commands.Release("x"), commands.Release("y"), commands.DeleteComponent()):
        gone = await service.execute("formatter", verb, ADA)
    await go_back()
    await replica.read_again()
    await replica.read_again()

    again = await service.execute("formatter", commands.Release("z"), ADA)

    assert (again.result.revision, again.result.release) == (gone.result.revision + 2, 3)


async def test_nobody_gets_a_quarantined_tag_after_its_component_is_lost_completely(
    service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack
):
    for verb in (commands.Release("x"), commands.Release("y"), commands.Quarantine("y"), commands.Quarantine("x")):
        await service.execute("formatter", verb, ADA)
    await go_back()
    await replica.read_again()

    async with following(elsewhere) as other:
        with pytest.raises(RefusedError) as caught:
            await service.execute("formatter", commands.Release("y"), ADA)
        assert caught.value.reason is Reason.TAG_QUARANTINED
        answer = await service.execute("formatter", commands.Release("y", force=True), ADA)

        assert isinstance(answer.rollout, Rollout)
        assert answer.rollout.quarantine.keys() == {"x"}
        assert await other.wait_for("formatter", answer.result.revision)
        for known in (replica, other):
            copied = known.get("formatter")
            assert copied is not None
            assert copied.rollout == (await elsewhere.read("formatter")).rollout == answer.rollout


async def test_deleting_a_component_deletes_its_quarantine(service: Service, replica: Replica):
    await run(service, commands.Quarantine("b"), commands.DeleteComponent())

    assert (await run(service, commands.Release("b"))).result.changed


async def test_a_lost_deadline_to_confirm_is_restored(service: Service, replica: Replica, go_back: GoBack):
    """Given a Ramp that must be confirmed, expect that a loss does not remove its deadline."""
    lost = await run(service, commands.Ramp(3000, confirm_within_ms=60_000))
    assert isinstance(lost.rollout, Rollout)
    await go_back()
    await replica.read_again()

    assert present(replica).basis_points == 2000
    assert present(replica).confirm_deadline_ms == lost.rollout.confirm_deadline_ms is not None


async def test_a_server_that_has_not_read_the_store_since_its_start_does_not_say_that_a_component_does_not_exist(
    replica: Replica, store: RedisStore, elsewhere: RedisStore, tmp_path: Path
):
    memory = LastStateFile(tmp_path, "here", "default")
    await LastStateKeeper(replica, memory).end()
    await do(elsewhere, commands.Release("a"), component="formatter")

    started = Replica(store)
    LastStateKeeper(started, memory).recall()
    before = started.why_unknown("formatter")
    await started.read_again()

    assert before.reason is Reason.NO_SNAPSHOT
    assert started.get("formatter") is not None
    assert started.why_unknown("other").reason is Reason.COMPONENT_NOT_FOUND


async def test_a_server_that_was_started_again_knows_what_was_deleted(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack, tmp_path: Path
):
    """Given a deletion, a restart and a loss, expect that the component comes back at a revision that nobody has seen."""
    gone = await run(service, commands.Ramp(3000), commands.DeleteComponent())
    memory = LastStateFile(tmp_path, "here", "default")
    await LastStateKeeper(replica, memory).end()
    await go_back()

    started = Replica(store)
    LastStateKeeper(started, memory).recall()
    await started.read_again()

    assert present(started).revision == gone.result.revision + 1
    assert present(started).lost[-1].last == gone.result.revision


async def test_the_log_says_what_a_loss_means_and_what_to_do(service: Service, replica: Replica, go_back: GoBack):
    await run(service, commands.Ramp(3000), commands.Rollback())
    await service.freeze_all(None, ADA)
    await go_back()
    with capture_logs() as lines:
        await replica._check_head()

    told = {line["event"]: line for line in lines if "what_to_do" in line}
    assert list(told) == ["feed_forked", "writes_lost", "freeze_lost"]
    assert "an older copy of its data" in told["feed_forked"]["what_it_means"]
    assert "writes_lost" in told["feed_forked"]["what_to_do"]
    lost = told["writes_lost"]
    assert (lost["component"], lost["first_revision"], lost["last_revision"]) == (COMPONENT, 4, 5)
    assert lost["what_it_means"].startswith("the store has lost revisions 4 to 5, by a failover or with an older copy")
    assert f"look at {COMPONENT} with GetRollout, and repeat the changes that are missing" in lost["what_to_do"]
    assert "UnfreezeAll" in told["freeze_lost"]["what_to_do"]


async def put_back(client: Redis, key: str, value: bytes) -> None:
    await client.restore(key, 0, value, replace=True)


async def test_a_partly_restored_component_is_settled_like_a_loss(
    service: Service, replica: Replica, store: RedisStore, real_server: StoreServer
):
    """Given a component restored without its history, expect the protections of its lost state, under a new revision."""
    await service.execute("formatter", commands.Release("x"), ADA)
    client = Redis.from_url(real_server.url, protocol=2)
    keys = store.keys.component(COMPONENT)
    kept = {key: await client.dump(key) for key in (keys.rollout, keys.releases, keys.timeline, keys.queue)}
    lost = await run(service, commands.Rollback())
    for key, value in kept.items():
        if value:
            await put_back(client, key, value)
    await client.aclose()

    await replica.read_again()

    assert not replica.damaged
    assert present(replica).revision == lost.result.revision + 1
    assert present(replica).state is RolloutState.HELD
    assert present(replica).lost[-1] == LostRevisions(lost.result.revision, lost.result.revision)


@pytest.mark.parametrize("is_known", [True, False], ids=["a loss that is recorded", "a loss that nobody has seen"])
async def test_a_repeat_of_a_request_whose_change_is_lost_is_refused(
    service: Service, replica: Replica, store: RedisStore, real_server: StoreServer, is_known: bool
):
    """Given a restored component and a record that is newer, expect no answer that says the lost change was applied."""
    client = Redis.from_url(real_server.url, protocol=2)
    keys = store.keys.component(COMPONENT)
    kept = {key: await client.dump(key) for key in (keys.rollout, keys.releases, keys.timeline, keys.queue)}
    author = replace(ADA, request_id="build-42", digest="d1g35t")
    lost = await service.execute(COMPONENT, commands.Rollback(), author)
    for key, value in kept.items():
        if value:
            await put_back(client, key, value)
    await client.aclose()
    if is_known:
        await replica.read_again()

    with pytest.raises(RefusedError, match="has lost the change that this request_id made") as caught:
        await service.execute(COMPONENT, commands.Rollback(), author)

    assert caught.value.reason is Reason.REVISION_MISMATCH
    assert caught.value.metadata["expected"] == str(lost.result.revision)
    assert (
        await service.execute(COMPONENT, commands.Release("new"), replace(author, request_id="other"))
    ).result.changed


@pytest.mark.parametrize(
    "repeated",
    [commands.Ramp(5000), commands.Ramp(2000)],
    ids=["a change", "a request that changed nothing"],
)
async def test_a_repeat_is_answered_though_the_store_has_lost_another_change_of_the_same_revision(
    service: Service, replica: Replica, elsewhere: RedisStore, go_back: GoBack, repeated: Command
):
    """Given a server that has not seen the loss and uses the lost revision again, expect that a repeat there and elsewhere is no loss."""
    request = replace(ADA, request_id="build-42", digest="d1g35t")
    await run(service, commands.Ramp(9000))  # lost
    await go_back()
    async with following(elsewhere) as other:
        first = await Service(elsewhere, other).execute(COMPONENT, repeated, request)
        await replica.read_again()

        again = [await each.execute(COMPONENT, repeated, request) for each in (service, Service(elsewhere, other))]

    assert present(replica).has_lost(4)
    assert first.result.revision == (4 if first.result.changed else 3)
    assert [(each.result, each.is_replayed) for each in again] == [(first.result, True)] * 2


async def test_a_repeat_of_a_change_that_is_lost_after_its_record_was_read_is_refused(
    service: Service, store: RedisStore, elsewhere: RedisStore, go_back: GoBack, monkeypatch: pytest.MonkeyPatch
):
    """Given a failover in the middle of a repeat, and another change of the same revision since, expect no answer about the lost one."""
    request = replace(ADA, request_id="build-42", digest="d1g35t")
    await service.execute(COMPONENT, commands.Ramp(9000), request)
    remember = store.remember

    async def fails_over(author: Author, result: Result) -> None:
        try:
            await remember(author, result)
        finally:
            await go_back()
            await do(elsewhere, commands.Ramp(100), commands.Ramp(200))

    monkeypatch.setattr(store, "remember", fails_over)
    with pytest.raises(RefusedError, match="has lost the change that this request_id made"):
        await service.execute(COMPONENT, commands.Ramp(9000), request)


async def test_a_repeat_of_a_change_that_is_lost_while_it_is_looked_for_names_the_revision_after_the_loss(
    service: Service, store: RedisStore, go_back: GoBack, monkeypatch: pytest.MonkeyPatch
):
    request = replace(ADA, request_id="build-42", digest="d1g35t")
    lost = await service.execute(COMPONENT, commands.Ramp(9000), request)
    look = store.missing_entries

    async def fails_over(entries: Sequence[tuple[str, str]]) -> Sequence[str]:
        monkeypatch.setattr(store, "missing_entries", look)
        await go_back()
        return await look(entries)

    monkeypatch.setattr(store, "missing_entries", fails_over)
    with pytest.raises(RefusedError, match="has lost the change that this request_id made") as caught:
        await service.execute(COMPONENT, commands.Ramp(9000), request)

    expected, actual = caught.value.metadata["expected"], caught.value.metadata["actual"]
    assert expected == str(lost.result.revision)
    assert actual == str((await store.read(COMPONENT)).rollout.revision) != expected


async def test_a_change_is_visible_with_its_answer_though_its_server_knows_lost_entries_that_come_later(
    real_server: StoreServer, store: RedisStore, elsewhere: RedisStore, base: Rollout, monkeypatch: pytest.MonkeyPatch
):
    """Given that the store's clock went back, so that what it has lost has later ids than what it writes now, expect that an answer
    waits for what it tells, and not for the next look at the store.
    """
    feed = store.feed

    async def hangs(after: str, *, block_ms: int) -> list[FeedEntry]:
        return await (asyncio.Event().wait() if block_ms else feed(after, block_ms=0))  # type: ignore[return-value]

    monkeypatch.setattr(store, "feed", hangs)
    await do(elsewhere, commands.Release("a"), commands.Release("b"), component="formatter")
    await store.client.hset(store.keys.meta, "head", "4000000000000-0")
    async with following(store) as replica, copied(real_server, store) as put_back:
        service = Service(store, replica)
        await run(service, commands.Ramp(3000), commands.Ramp(4000), commands.Ramp(5000))
        await put_back()

        answer = await service.execute("formatter", commands.Ramp(100), ADA)

        known = replica.get("formatter")
        assert known is not None
        assert known.rollout.revision == answer.result.revision


async def test_a_freeze_of_everything_is_visible_with_its_answer_though_its_server_knows_lost_entries_that_come_later(
    real_server: StoreServer, store: RedisStore, base: Rollout
):
    await store.client.hset(store.keys.meta, "head", "4000000000000-0")
    async with following(store) as replica, copied(real_server, store) as put_back:
        service = Service(store, replica)
        await run(service, commands.Ramp(3000), commands.Ramp(4000), commands.Ramp(5000))
        await put_back()

        await service.freeze_all(None, ADA)

        assert replica.namespace.freeze is not None


async def test_an_answer_without_a_write_is_visible_though_its_server_knows_lost_entries_that_come_later(
    real_server: StoreServer, store: RedisStore, elsewhere: RedisStore, base: Rollout
):
    await do(elsewhere, commands.Release("a"), commands.Release("b"), component="formatter")
    await store.client.hset(store.keys.meta, "head", "4000000000000-0")
    async with following(store) as replica, copied(real_server, store) as put_back:
        await run(Service(store, replica), commands.Ramp(3000), commands.Ramp(4000), commands.Ramp(5000))
        await put_back()
        await do(elsewhere, commands.Ramp(100), component="formatter")

        answer = await Service(store, replica).execute("formatter", commands.Ramp(100), ADA)

        known = replica.get("formatter")
        assert known is not None
        assert not answer.result.changed
        assert known.rollout.basis_points == 100


async def test_a_change_that_the_store_loses_before_its_own_server_has_it_is_a_loss(
    replica: Replica, store: RedisStore, elsewhere: RedisStore, go_back: GoBack
):
    """Given a server whose copy is behind its own Rollback, and a store that loses it, expect that the revision is not used again, and
    that jobs do not get the release again.
    """
    before = await do(elsewhere, commands.Ramp(3000))
    entry, after = await commit(store, before, decide(before, commands.Rollback()), ADA)
    replica.offer(entry, after)
    assert present(replica).revision == 3
    await go_back()

    await look_until(replica, lambda: bool(present(replica).lost))

    assert present(replica).lost == (LostRevisions(4, entry.revision),)
    assert (present(replica).revision, present(replica).state) == (entry.revision + 1, RolloutState.HELD)
    assert present(replica) == await stored(store)


async def test_an_override_that_the_store_loses_before_its_own_server_has_it_is_a_loss(
    replica: Replica, store: RedisStore, elsewhere: RedisStore, go_back: GoBack
):
    await do(elsewhere, commands.Ramp(3000))
    entry, result = await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="t")}, ADA)
    assert entry is not None
    replica.offer(entry)
    await go_back()

    await look_until(replica, lambda: bool(present(replica).lost))

    assert present(replica).lost == (LostRevisions(4, result.revision),)
    assert (present(replica).basis_points, present(replica).state) == (2000, RolloutState.ROLLING_OUT)


@pytest.mark.parametrize("swapped", [False, True], ids=["in order", "in another order"])
async def test_two_changes_that_the_store_loses_before_their_own_server_has_them_are_one_loss(
    replica: Replica, store: RedisStore, elsewhere: RedisStore, go_back: GoBack, swapped: bool
):
    """Given the answers of a Rollback and of an override that came later, expect that the later revision is not used again, and that
    jobs do not get the release again.
    """
    before = await do(elsewhere, commands.Ramp(3000))
    rollback, after = await commit(store, before, decide(before, commands.Rollback()), ADA)
    pinned, result = await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="t")}, ADA)
    assert pinned is not None
    answers: list[tuple[FeedEntry, Rollout | Absent | None]] = [(rollback, after), (pinned, None)]
    for entry, known in reversed(answers) if swapped else answers:
        replica.offer(entry, known)
    await go_back()

    await look_until(replica, lambda: bool(present(replica).lost))

    assert present(replica).lost == (LostRevisions(4, result.revision),)
    assert (present(replica).revision, present(replica).state) == (result.revision + 1, RolloutState.HELD)


async def test_a_freeze_of_everything_that_the_store_loses_before_its_own_server_has_it_is_set_again(
    replica: Replica, store: RedisStore, elsewhere: RedisStore, go_back: GoBack
):
    await do(elsewhere, commands.Ramp(3000))
    frozen = Namespace(Freeze("ada", "", 0))
    replica.offer(await store.commit_namespace(Namespace(), frozen, ADA))
    await go_back()

    await look_until(replica, lambda: replica.namespace == frozen)


async def test_a_change_that_a_second_loss_takes_from_a_server_that_has_not_seen_the_first_is_a_loss(
    service: Service, replica: Replica, store: RedisStore, elsewhere: RedisStore, go_back: GoBack
):
    await run(service, commands.Ramp(3000))  # lost
    await go_back()
    before = await do(elsewhere, commands.Ramp(4000), commands.Ramp(5000))
    entry, after = await commit(store, before, decide(before, commands.Rollback()), ADA)
    replica.offer(entry, after)
    await go_back()

    await look_until(replica, lambda: present(replica).has_lost(entry.revision))

    assert present(replica).has_lost(4)
    assert present(replica).revision > entry.revision
    assert present(replica).state is RolloutState.HELD


@pytest.mark.parametrize("more", [(), (commands.Release("c"),)], ids=["the last one", "another one came later"])
async def test_a_change_of_this_server_that_a_reading_has_brought_is_no_loss(
    store: RedisStore, elsewhere: RedisStore, base: Rollout, more: Sequence[Command]
):
    async with following(store) as replica:
        entry, after = await commit(elsewhere, base, decide(base, commands.Rollback()), ADA)
        await do(elsewhere, *more)
        await replica.read_again()
        replica.offer(entry, after)

        assert await replica.wait_for_change(entry.id, COMPONENT, entry.revision)
        assert present(replica).lost == ()


async def look_until(replica: Replica, is_so: Callable[[], bool]) -> None:
    """Has a copy follow its store until something is so."""
    async with in_background(replica.run()), asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


async def test_a_loss_that_cannot_be_recorded_damages_only_its_own_component(
    service: Service, replica: Replica, store: RedisStore, go_back: GoBack
):
    """Given a component that went back and whose history can't be read, expect that all other components continue, and that this one can be deleted."""
    await service.execute("formatter", commands.Release("x"), ADA)
    await service.execute("formatter", commands.Release("y"), ADA)
    await run(service, commands.Rollback())
    await go_back()
    history = store.keys.component(COMPONENT).history
    await store.client.delete(history)
    await store.client.set(history, "x")

    await replica.read_again()
    assert list(replica.damaged) == [COMPONENT]
    assert present(replica).state is RolloutState.HELD
    assert replica.is_confirmed
    assert (await service.execute("api", commands.Release("z"), ADA)).result.changed

    assert (await run(service, commands.DeleteComponent())).result.changed
    await replica.read_again()
    assert not replica.damaged


async def test_a_release_of_a_deleted_component_does_not_reach_jobs_again(
    service: Service, replica: Replica, go_back: GoBack
):
    """Given a rollback and a deletion that are lost, expect that next stays at 0 % until a person raises it."""
    await run(service, commands.Rollback(quarantine=True), commands.DeleteComponent())
    await go_back()
    await replica.read_again()

    assert (present(replica).basis_points, present(replica).state) == (0, RolloutState.HELD)
    assert present(replica).held_reason.endswith("; before, restyler was deleted")


async def test_a_server_with_a_deadline_to_confirm_in_its_last_state_starts(
    service: Service, replica: Replica, store: RedisStore, tmp_path: Path
):
    """Given a deadline to confirm in the last state, expect that the server starts with it and compares it once the store is read."""
    await run(service, commands.Ramp(3000, confirm_within_ms=60_000))
    memory = LastStateFile(tmp_path, "here", "default")
    await LastStateKeeper(replica, memory).end()

    started = Replica(store)
    controller = Controller(Service(store, started), started, store)
    with capture_logs() as lines:
        LastStateKeeper(started, memory).recall()
    assert [line["event"] for line in lines] == ["last_state_read"]
    assert present(started) == present(replica)
    assert not controller._deadlines
    await started.read_again()

    assert list(controller._deadlines) == [COMPONENT]


async def test_a_server_recalls_its_last_state_though_a_listener_fails(
    service: Service, replica: Replica, store: RedisStore, tmp_path: Path
):
    memory = LastStateFile(tmp_path, "here", "default")
    await LastStateKeeper(replica, memory).end()
    started = Replica(store)

    class Fails:
        def applied(self, *_: object) -> None: ...

        def reloaded(self) -> None:
            raise RuntimeError

    started.subscribe(Fails())
    LastStateKeeper(started, memory).recall()

    assert present(started) == present(replica)


@pytest.mark.parametrize("moment", ["before the overrides", "between two overrides", "after the overrides"])
async def test_overrides_that_the_store_loses_during_the_reading_are_not_served(
    store: RedisStore, elsewhere: RedisStore, go_back: GoBack, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """Given an override that is set after the reading has read the rollout, and lost with the data of that moment, expect that
    the reading does not put it beside the older rollout.
    """
    read_many, walk = store.read_many, store.walk_overrides
    times = 0

    async def with_overrides(components: Sequence[str]) -> AsyncIterator[Any]:
        async for name, found in read_many(components):
            yield name, replace(found, has_overrides=True)

    async def disturbed(component: str) -> AsyncIterator[Any]:
        nonlocal times
        times += 1
        if times > 1:
            async for piece in walk(component):
                yield piece
            return
        await elsewhere.commit_overrides(component, {"acme/app": Override(tag="lost")}, ADA)
        if moment == "before the overrides":
            await go_back()
        async for piece in walk(component):
            if moment == "between two overrides":
                await go_back()
            yield piece
        if moment == "after the overrides":
            await go_back()

    monkeypatch.setattr(store, "read_many", with_overrides)
    monkeypatch.setattr(store, "walk_overrides", disturbed)
    replica = Replica(store)
    with contextlib.suppress(StoreUnavailableError):
        await replica.read_again()
        known = replica.get(COMPONENT)
        assert known is not None
        assert dict(known.overrides.items()) == {}
    await replica.read_again()
    known = replica.get(COMPONENT)
    assert known is not None
    assert dict(known.overrides.items()) == {}


async def test_a_store_that_is_put_back_during_the_reading_is_not_mixed_with_what_it_had_at_the_beginning(
    store: RedisStore, elsewhere: RedisStore, base: Rollout, go_back: GoBack, monkeypatch: pytest.MonkeyPatch
):
    """Given a change that the reading has read as the last one, and that is lost before the overrides are read, expect that the rollout
    of that change is not served without its overrides.
    """
    await elsewhere.commit_overrides(COMPONENT, {"acme/app": Override(tag="lost")}, ADA)
    walk = store.walk_overrides

    async def put_back(component: str) -> AsyncIterator[Any]:
        monkeypatch.setattr(store, "walk_overrides", walk)
        await go_back()
        async for piece in walk(component):
            yield piece

    monkeypatch.setattr(store, "walk_overrides", put_back)
    replica = Replica(store)
    with pytest.raises(StoreUnavailableError, match="put back to an older state"):
        await replica.read_again()
    assert not replica.loaded.is_set()

    await replica.read_again()
    assert present(replica) == base
