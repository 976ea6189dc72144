"""Samples of the counters of jobs: one for each step in which something is counted, fine ones and coarse ones."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.evidence.admission import JobOutcome, Trial
from rampd_server.domain.evidence.samples import Interval, Sample, intervals
from rampd_server.domain.rollout import commands
from rampd_server.ports import OutcomeBatch, Receipt
from rampd_server.replica.replica import Replica
from rampd_server.service.outcome_intake import Outcomes, Report
from rampd_server.service.service import Service
from rampd_server.storage.keys import OutcomeKeys
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, do
from tests.stores import StoreServer

FINE, COARSE = 400_000_000, 400_000_000_000
"""Steps of four days and of twelve years, the present one until 2033: none ends during a test."""
MOST = 3
CURRENT, NEXT = JobCount(10, 1), JobCount(4, 3)
BATCH = OutcomeBatch(
    component=COMPONENT,
    trial=Trial(2, 1, 5),
    client_id="worker-1",
    sequence=1,
    digest="abc",
    reporter="ada",
    answer="",
    by_release={1: CURRENT, 2: NEXT},
    current_revision=4,
    current=CURRENT,
)


class Sampled:
    """Counts batches, and reads the samples."""

    def __init__(self, store: RedisStore) -> None:
        self.outcomes = RedisOutcomes(store.link, fine=(FINE, MOST), coarse=(COARSE, MOST))
        self.keys: OutcomeKeys = store.keys.outcomes(COMPONENT)
        self._client = store.client
        self._sequence = 0

    async def count(self, **fields: object) -> None:
        self._sequence += 1
        batch = replace(BATCH, sequence=self._sequence, **fields)
        assert await self.outcomes.count_outcomes(batch) == (Receipt.COUNTED, "")

    async def read(self) -> list[Sample]:
        return list(await self.outcomes.samples(COMPONENT))

    async def intervals(self) -> list[Interval]:
        return intervals(await self.read())

    async def pass_time(self, fine: int = 0, coarse: int = 0) -> None:
        """Makes the samples some steps older, as if the store's clock had gone on."""
        by_key = {self.keys.fine_samples: fine * FINE + coarse * COARSE, self.keys.coarse_samples: coarse * COARSE}
        for key, by_ms in by_key.items():
            texts = await self._client.lrange(key, 0, -1)
            await self._client.delete(key)
            for time, _, counts in (text.partition(" ") for text in texts):
                await self._client.rpush(key, f"{int(time) - by_ms} {counts}")

    async def now_ms(self) -> int:
        seconds, microseconds = await self._client.time()
        return int(seconds * 1000 + microseconds // 1000)


@pytest.fixture
def sampled(store: RedisStore) -> Sampled:
    return Sampled(store)


@pytest.fixture
async def full_store(real_server: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """A store whose server has no memory left from `maxmemory 1` on."""
    store = real_server.store(namespace)
    store.set_epoch(await store.begin_epoch(adopted=False))
    before = await store.client.config_get("maxmemory")
    yield store
    await store.client.config_set("maxmemory", before["maxmemory"])
    await store.close()


def twice(count: JobCount) -> JobCount:
    return count + count


async def test_the_first_batch_of_a_step_adds_a_sample_of_the_counts_before_it(sampled: Sampled) -> None:
    assert await sampled.read() == []
    began_ms = await sampled.now_ms()
    await sampled.count()
    await sampled.count()
    [coarse, first, now] = await sampled.read()
    start_ms = began_ms - began_ms % FINE
    assert coarse == replace(first, time_ms=began_ms - began_ms % COARSE, step_ms=COARSE)
    assert first == Sample(start_ms, FINE, 2, 1, 4, JobCount(), JobCount())
    assert began_ms <= now.time_ms <= await sampled.now_ms()
    assert now == Sample(now.time_ms, 0, 2, 1, 4, twice(CURRENT), twice(NEXT))

    await sampled.pass_time(fine=1)
    await sampled.count()
    [_, first, second, _] = await sampled.read()
    assert first.time_ms == start_ms - FINE
    assert second == Sample(start_ms, FINE, 2, 1, 4, twice(CURRENT), twice(NEXT))
    assert [(each.current, each.next) for each in await sampled.intervals()] == [
        (twice(CURRENT), twice(NEXT)),
        (CURRENT, NEXT),
    ]


async def test_an_interval_is_one_step_long_however_late_the_next_outcome_comes(sampled: Sampled) -> None:
    await sampled.count()
    await sampled.pass_time(fine=50)
    await sampled.count()

    first, second = await sampled.intervals()
    assert (first.end_ms - first.start_ms, second.start_ms - first.start_ms) == (FINE, 50 * FINE)
    assert first.next == second.next == NEXT


async def test_coarse_samples_come_before_fine_ones_and_each_job_is_there_once(sampled: Sampled) -> None:
    """Given more fine samples than are kept, expect what was before them by the coarse ones."""
    await sampled.count()
    await sampled.pass_time(coarse=1)
    for _ in range(MOST + 2):
        await sampled.count()
        await sampled.pass_time(fine=1)
    await sampled.count()

    samples = await sampled.read()
    assert [each.step_ms for each in samples] == [COARSE, COARSE, *[FINE] * MOST, 0]
    times = [each.time_ms for each in samples]
    assert times == sorted(set(times))
    found = await sampled.intervals()
    assert [each.current.jobs // CURRENT.jobs for each in found] == [1, 3, 1, 1, 1]
    assert found[1].end_ms == samples[2].time_ms


async def test_coarse_samples_of_a_time_that_has_fine_ones_are_left_out(sampled: Sampled) -> None:
    await sampled.count()
    await sampled.pass_time(fine=1, coarse=1)
    await sampled.count()

    assert [each.step_ms for each in await sampled.read()] == [COARSE, FINE, FINE, 0]
    assert [each.current for each in await sampled.intervals()] == [CURRENT, CURRENT]


async def test_the_number_of_samples_of_each_kind_is_limited(store: RedisStore, sampled: Sampled) -> None:
    for _ in range(MOST + 2):
        await sampled.count()
        await sampled.pass_time(fine=1, coarse=1)

    for key in (sampled.keys.fine_samples, sampled.keys.coarse_samples):
        assert await store.client.llen(key) == MOST


async def test_samples_go_on_over_a_new_release_a_new_current_and_the_end_of_the_rollout(sampled: Sampled) -> None:
    """Expect of each sample the rollout of the batch that added it."""
    await sampled.count()
    await sampled.pass_time(fine=1)
    await sampled.count(trial=Trial(3, 1, 9), by_release={3: NEXT, 2: JobCount(100, 0)})
    await sampled.pass_time(fine=1)
    await sampled.count(trial=Trial(3, 0, 12), current_revision=12, by_release={3: CURRENT})
    # A server that does not know yet that there is a new current.
    await sampled.count(trial=Trial(3, 0, 12), by_release={1: CURRENT})

    samples = await sampled.read()
    told = [(each.release, each.trial, each.current_revision) for each in samples]
    assert told == [(2, 1, 4), (2, 1, 4), (3, 1, 4), (0, 0, 12), (0, 0, 12)]
    found = await sampled.intervals()
    assert [each.current for each in found] == [CURRENT, CURRENT, CURRENT]
    assert [each.next for each in found] == [NEXT, NEXT, JobCount()]


async def test_outcomes_that_a_server_takes_in_are_sampled_by_the_channel_that_their_release_has(
    store: RedisStore, sampled: Sampled
) -> None:
    await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(2000))
    replica = Replica(store)
    await replica.read_again()
    service, intake = Service(store, replica), Outcomes(sampled.outcomes, replica)

    async def report(sequence: int, release: int, revision: int, *, is_next: bool) -> None:
        outcome = JobOutcome(COMPONENT, release, revision, is_next, "OVERRIDE_CHANNEL", "acme/app", "", True, 0)
        assert await intake.report(Report("worker-1", sequence, "abc123", "ada", [outcome])) == [None]

    await report(1, 1, 3, is_next=False)
    await report(2, 2, 3, is_next=True)
    await sampled.pass_time(fine=1)
    answer = await service.execute(COMPONENT, commands.Finalize(force=True), ADA)
    await report(3, 2, answer.result.revision, is_next=False)

    one = JobCount(1, 1)
    told = [(each.release, each.trial, each.current, each.next) for each in await sampled.intervals()]
    assert told == [(2, 1, one, one), (0, 0, one, JobCount())]


async def test_a_repeat_and_a_batch_without_known_releases_add_nothing(store: RedisStore, sampled: Sampled) -> None:
    await sampled.count(by_release={}, current=JobCount())
    assert await sampled.read() == []
    await sampled.count()
    await sampled.pass_time(fine=1)
    before = await store.client.llen(sampled.keys.fine_samples)

    assert await sampled.outcomes.count_outcomes(replace(BATCH, sequence=2)) == (Receipt.REPEATED, "")
    assert await store.client.llen(sampled.keys.fine_samples) == before == 1


async def test_samples_stay_after_their_trial_and_go_with_their_component(store: RedisStore, sampled: Sampled) -> None:
    await sampled.count()
    await sampled.outcomes.forget_outcomes(COMPONENT, Trial(2, 2, 8), last_number=9, releases=[2])
    assert [each.next for each in await sampled.intervals()] == [NEXT]

    await sampled.outcomes.forget_outcomes(COMPONENT, Trial(0, 0, 9))
    assert await store.client.exists(sampled.keys.fine_samples, sampled.keys.coarse_samples) == 0
    assert await sampled.read() == []


async def test_samples_of_counters_that_an_earlier_rampd_has_dropped_do_not_count(
    store: RedisStore, sampled: Sampled
) -> None:
    await sampled.count()
    await sampled.pass_time(fine=1, coarse=1)
    fields = await store.client.hkeys(sampled.keys.release_outcomes)
    await store.client.hdel(sampled.keys.release_outcomes, *(name for name in fields if name.startswith("total ")))
    assert await sampled.read() == []

    await sampled.count()
    assert [each.step_ms for each in await sampled.read()] == [COARSE, FINE, 0]
    assert [each.current for each in await sampled.intervals()] == [CURRENT]


async def test_samples_of_another_epoch_are_not_read_and_the_next_batch_drops_them(
    store: RedisStore, sampled: Sampled
) -> None:
    await sampled.count()
    await sampled.pass_time(fine=1, coarse=1)
    store.set_epoch(await store.begin_epoch(adopted=True))
    assert await sampled.read() == []

    await sampled.count()
    assert [each.step_ms for each in await sampled.read()] == [COARSE, FINE, 0]
    assert [each.current for each in await sampled.intervals()] == [CURRENT]


async def test_samples_that_a_wrong_clock_has_set_ahead_do_not_count_and_earlier_ones_stay(
    store: RedisStore, sampled: Sampled
) -> None:
    await sampled.count()
    await sampled.pass_time(fine=4, coarse=3)
    await sampled.count()
    await sampled.pass_time(coarse=-2)
    assert [each.step_ms for each in await sampled.read()] == [COARSE, FINE, 0]

    await sampled.count()
    assert [each.step_ms for each in await sampled.read()] == [COARSE, FINE, FINE, 0]
    assert [each.current.jobs for each in await sampled.intervals()] == [2 * CURRENT.jobs, CURRENT.jobs]
    for key in (sampled.keys.fine_samples, sampled.keys.coarse_samples):
        assert await store.client.llen(key) == 2


@pytest.mark.parametrize(("name", "fine", "coarse"), [("fine_samples", -1, 0), ("coarse_samples", COARSE // FINE, -1)])
async def test_a_clock_that_is_set_back_a_little_adds_no_sample_and_drops_none(
    store: RedisStore, sampled: Sampled, name: str, fine: int, coarse: int
) -> None:
    await sampled.count()
    await sampled.pass_time(fine, coarse)
    key = getattr(sampled.keys, name)
    before = await store.client.lrange(key, 0, -1)

    await sampled.count()
    assert await store.client.lrange(key, 0, -1) == before


async def test_a_sample_of_the_present_step_stays_when_later_ones_are_dropped(
    store: RedisStore, sampled: Sampled
) -> None:
    await sampled.count()
    before = await store.client.lrange(sampled.keys.fine_samples, 0, -1)
    await store.client.rpush(sampled.keys.fine_samples, f"{await sampled.now_ms() * 2} 2 1 4 0 0 0 0")

    await sampled.count()
    assert await store.client.lrange(sampled.keys.fine_samples, 0, -1) == before


@pytest.mark.parametrize("name", ["outcomes", "release_outcomes", "fine_samples", "coarse_samples"])
async def test_a_key_of_another_type_is_named(store: RedisStore, sampled: Sampled, name: str) -> None:
    key = getattr(sampled.keys, name)
    await store.client.set(key, "x")

    with pytest.raises(StoreCorruptError) as caught:
        await sampled.read()
    assert caught.value.metadata["key"] == key


@pytest.mark.parametrize("name", ["fine_samples", "coarse_samples"])
@pytest.mark.parametrize("text", ["1795774800000 3 1 many", "nonsense"])
async def test_a_sample_that_rampd_never_wrote_is_named_and_counting_goes_on(
    store: RedisStore, sampled: Sampled, name: str, text: str
) -> None:
    await sampled.count()
    key = getattr(sampled.keys, name)
    await store.client.rpush(key, text)
    await sampled.count()

    with pytest.raises(StoreCorruptError, match=f"'{text}'") as caught:
        await sampled.read()
    assert caught.value.metadata["key"] == key


async def test_a_malformed_counter_of_samples_is_named(store: RedisStore, sampled: Sampled) -> None:
    await sampled.count()
    await store.client.hset(sampled.keys.release_outcomes, "total next jobs", "many")

    for call in (sampled.read(), sampled.count()):
        with pytest.raises(StoreCorruptError, match="total next jobs"):
            await call


async def test_samples_are_read_while_memory_is_full(full_store: RedisStore) -> None:
    sampled = Sampled(full_store)
    await sampled.count()
    await sampled.pass_time(fine=1)
    await full_store.client.config_set("maxmemory", "1")

    with pytest.raises(StoreUnavailableError, match="memory"):
        await sampled.count()
    assert [each.current for each in await sampled.intervals()] == [CURRENT]
    assert await full_store.client.llen(sampled.keys.fine_samples) == 1
