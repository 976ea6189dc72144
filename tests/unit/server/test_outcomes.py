"""Reports are decided on the copy in memory, stored, and answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.domain.errors import NoSnapshotError, Reason, RefusedError, StoreUnavailableError
from rampd_server.domain.evidence.admission import IgnoredReason, JobOutcome
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import ConflictError, OutcomeBatch, Receipt
from rampd_server.service.announced import Announced
from rampd_server.service.marking import Marking
from rampd_server.service.outcome_intake import Outcomes, Report, read_answer, write_answer
from tests.rollouts import after, held, rolling_out, steady
from tests.waiting import PATIENCE_S

VERDICTS = st.lists(st.none() | st.sampled_from(IgnoredReason), max_size=300)


@given(VERDICTS)
def test_an_answer_is_read_back_unchanged(verdicts: list[IgnoredReason | None]):
    text = write_answer(verdicts)
    assert read_answer(text) == verdicts
    assert len(text) <= max(1, len(verdicts))
    assert text.isascii()
    assert " " not in text


def test_a_usual_answer_is_short():
    assert write_answer([None] * 1000) == "1000."


async def test_a_signal_names_each_component_once_and_then_waits_again():
    signal = Announced()
    for component in ("a", "b", "a"):
        signal.announce(component)

    assert await signal.wait() == {"a", "b"}
    signal.announce("c")
    assert await signal.wait() == {"c"}


@dataclass
class Known:
    rollout: Rollout


@dataclass
class ScriptedReplica:
    """A copy that has one rollout, and another one once it has caught up."""

    present: Rollout
    later: Rollout | None = None
    catches_up: bool = True
    asked: int = 0
    epoch: str = "e1"

    async def require_state(self) -> None:
        pass

    def require_writable(self) -> None:
        pass

    def get(self, component: str) -> Known | None:
        return Known(self.present) if component == self.present.component else None

    async def require_history(self, components: Sequence[str]) -> None:
        """Nothing is lost."""

    async def catch_up(self, *, timeout_s: float) -> bool:
        self.asked += 1
        self.present = self.later or self.present
        return self.catches_up


@dataclass
class ScriptedStore:
    """Refuses batches of all trials but the one that it knows."""

    trial: int = 1
    batches: list[OutcomeBatch] = field(default_factory=list)
    exchanges: list[int] = field(default_factory=list)
    fails_at: int = 0

    async def count_outcomes(self, batch: OutcomeBatch) -> tuple[Receipt, str]:
        if batch.trial.number != self.trial:
            raise ConflictError
        self.batches.append(batch)
        return Receipt.COUNTED, batch.answer

    async def count_many(self, batches: Sequence[OutcomeBatch]) -> list[tuple[Receipt, str] | None]:
        self.exchanges.append(len(batches))
        if self.fails_at == len(self.exchanges):
            raise StoreUnavailableError("away")
        return [await self.count_outcomes(each) if each.trial.number == self.trial else None for each in batches]


def pinned(rollout: Rollout, **fields: object) -> JobOutcome:
    """Returns an outcome of a repo that was pinned to current, on the newest revision of a rollout."""
    made = JobOutcome(
        "restyler", rollout.current, rollout.revision, False, "OVERRIDE_CHANNEL", "acme/app", "", False, 0
    )
    return made._replace(**fields)


def report(*outcomes: JobOutcome) -> Report:
    return Report("w1", 1, "abc", "anonymous", outcomes)


async def test_a_known_revision_is_decided_without_asking_the_store():
    replica, store = ScriptedReplica(rolling_out()), ScriptedStore()
    outcomes = Outcomes(store, replica)

    assert await outcomes.report(report(pinned(replica.present))) == [None]
    assert replica.asked == 0
    assert await asyncio.wait_for(outcomes.counted.wait(), PATIENCE_S) == {"restyler"}
    assert store.batches[0].answer == "."


async def test_the_server_first_catches_up_for_an_unknown_revision():
    before = rolling_out()
    replica = ScriptedReplica(before, later=after(before, commands.Ramp(2000)))
    newest = pinned(replica.later)
    assert newest.revision > before.revision

    ahead = newest._replace(revision=newest.revision + 1)
    found = await Outcomes(ScriptedStore(), replica).report(report(newest, ahead))
    assert found == [None, IgnoredReason.REVISION_UNKNOWN]
    assert replica.asked == 1


async def test_a_server_that_stays_behind_says_so_and_stores_nothing():
    replica, store = ScriptedReplica(rolling_out(), catches_up=False), ScriptedStore()
    with pytest.raises(NoSnapshotError):
        await Outcomes(store, replica).report(report(pinned(replica.present, revision=99)))
    assert store.batches == []


async def test_a_batch_is_decided_again_if_a_later_trial_has_begun():
    again = after(held(), commands.Ramp(1000))
    replica, store = ScriptedReplica(held(), later=again), ScriptedStore(trial=2)

    assert await Outcomes(store, replica).report(report(pinned(held()))) == [None]
    assert [batch.trial.number for batch in store.batches] == [2]
    assert store.batches[0].outcomes == []


async def test_a_batch_of_a_trial_that_stays_unknown_fails():
    replica = ScriptedReplica(held())
    with pytest.raises(RefusedError) as caught:
        await Outcomes(ScriptedStore(trial=2), replica).report(report(pinned(held())))
    assert caught.value.reason is Reason.CONTENTION


async def test_the_server_catches_up_for_an_unknown_component_and_then_ignores_it():
    replica, store = ScriptedReplica(steady()), ScriptedStore(trial=0)
    outcomes = [pinned(steady()), pinned(steady(), component="nobody"), pinned(steady(), revision=0)]

    found = await Outcomes(store, replica).report(report(*outcomes))
    assert found == [None, IgnoredReason.COMPONENT_NOT_FOUND, IgnoredReason.REVISION_TOO_OLD]
    assert replica.asked == 1
    assert [batch.component for batch in store.batches] == ["restyler"]


@pytest.mark.parametrize("component", ["restyler", "nobody"])
@pytest.mark.parametrize("revision", [1, 99])
async def test_what_the_reporter_does_not_see_is_ignored_at_once_whether_it_is_there_or_not(
    component: str, revision: int
):
    """Given a server that is behind, expect no wait and no error that would tell a component from one that nobody has made."""
    replica, store = ScriptedReplica(steady(), catches_up=False), ScriptedStore()
    told = report(pinned(steady(), component=component, revision=revision))
    assert await Outcomes(store, replica).report(told, lambda _: False) == [IgnoredReason.COMPONENT_NOT_FOUND]
    assert (replica.asked, store.batches) == (0, [])


class ManyReplica(ScriptedReplica):
    """A copy that has every component."""

    async def require_state(self) -> None:
        pass

    def require_writable(self) -> None:
        pass

    def get(self, component: str) -> Known:
        return Known(replace(self.present, component=component))


async def test_many_components_are_stored_in_few_exchanges_and_answered_in_the_order_of_the_report():
    replica, store = ManyReplica(steady()), ScriptedStore(trial=0)
    unknown = pinned(steady(), component="c7", revision=0)
    outcomes = [pinned(steady(), component=f"c{n}") for n in range(400)] + [unknown]

    found = await Outcomes(store, replica).report(report(*outcomes))
    assert found == [None] * 400 + [IgnoredReason.REVISION_TOO_OLD]
    assert sum(store.exchanges) == 400
    assert len(store.exchanges) < 20


async def test_a_repeat_of_a_partly_stored_report_stores_only_the_missing_part():
    replica, store = ManyReplica(steady()), ScriptedStore(trial=0, fails_at=3)
    outcomes = Outcomes(store, replica)
    jobs = report(*(pinned(steady(), component=f"c{n}", revision=n % 2 * steady().revision) for n in range(100)))
    expected = [None if n % 2 else IgnoredReason.REVISION_TOO_OLD for n in range(100)]

    with pytest.raises(StoreUnavailableError):
        await outcomes.report(jobs)
    assert await outcomes.report(jobs) == expected
    assert sorted(batch.component for batch in store.batches) == sorted(f"c{n}" for n in range(100))
    # Another report with the same sequence is not a repeat, and the store decides on it.
    await outcomes.report(replace(jobs, digest="def"))
    assert len(store.batches) == 200


async def test_a_report_that_meets_another_epoch_is_stored_again():
    replica, store = ManyReplica(steady()), ScriptedStore(trial=0, fails_at=2)
    outcomes = Outcomes(store, replica)
    jobs = report(*(pinned(steady(), component=f"c{n}") for n in range(40)))
    with pytest.raises(StoreUnavailableError):
        await outcomes.report(jobs)
    already = len(store.batches)
    replica.epoch = "e2"
    await outcomes.report(jobs)
    assert len(store.batches) == already + 40


@dataclass
class Marks:
    """What was marked, and whether something was counted before."""

    store: ScriptedStore
    made: list[list[str]] = field(default_factory=list)
    counted_before: list[int] = field(default_factory=list)

    async def mark(self, components: Sequence[str]) -> None:
        self.made.append(list(components))
        self.counted_before.append(len(self.store.batches))


async def test_a_component_is_marked_before_its_outcomes_are_counted_and_not_where_nothing_is_counted():
    replica, store = ManyReplica(rolling_out()), ScriptedStore()
    marks = Marks(store)
    outcomes = Outcomes(store, replica, marking=Marking(marks))

    await outcomes.report(report(*(pinned(rolling_out(), component=f"c{n}") for n in range(40))))
    assert [len(each) for each in marks.made] == [32, 8]
    assert marks.counted_before == [0, 32]

    await outcomes.report(report(pinned(rolling_out(), component="ignored", revision=0)))
    assert len(marks.made) == 2


async def test_a_component_is_looked_at_also_if_the_store_may_have_counted_or_another_server_has():
    """Given a store that does not answer, and then a repeat of a batch that is counted already, expect a look after both."""
    replica, store = ScriptedReplica(rolling_out()), ScriptedStore(fails_at=1)
    outcomes = Outcomes(store, replica)
    with pytest.raises(StoreUnavailableError):
        await outcomes.report(report(pinned(rolling_out())))
    assert await asyncio.wait_for(outcomes.counted.wait(), PATIENCE_S) == {"restyler"}

    async def repeated(batches: Sequence[OutcomeBatch]) -> list[tuple[Receipt, str]]:
        return [(Receipt.REPEATED, batch.answer) for batch in batches]

    store.count_many = repeated
    assert await outcomes.report(report(pinned(rolling_out()))) == [None]
    assert await asyncio.wait_for(outcomes.counted.wait(), PATIENCE_S) == {"restyler"}
