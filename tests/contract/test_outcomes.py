"""Outcomes are counted once, for any sender and any number of repeats, in the trial in force."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from rampd._evidence.counters import Split, Tally, TrialCounters
from rampd._evidence.release_counters import INTERVALS, Interval, JobCount, ReleaseCounters
from rampd._evidence.reporter_cap import counted_failures
from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Counted, Trial
from rampd_server.ports import ConflictError, OutcomeBatch, Receipt
from rampd_server.storage.codec.counters import bit_of
from rampd_server.storage.limits import MAX_REPORTERS, UNIT_BITS
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore
from tests.contract.conftest import server_of
from tests.contract.driving import COMPONENT, contents
from tests.stores import ALL, CLUSTER, REDIS, VALKEY, StoreServer

server = server_of(*ALL, CLUSTER)

TRIAL = Trial(2, 1, 5)
DIGEST = "abc123"
HOUR_MS = 3_600_000
LONG_INTERVAL_MS = 10**11


@pytest.fixture
def _long_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """No interval ends during a test."""
    monkeypatch.setattr("rampd_server.storage.outcomes.INTERVAL_MS", LONG_INTERVAL_MS)


def ran(
    unit: str, *, is_next: bool = False, is_failed: bool = False, weight: int | None = 1000, duration_ms: int = 0
) -> Counted:
    return Counted(weight, is_next, is_failed, unit, duration_ms)


def batch(sequence: int, *outcomes: Counted, **fields: object) -> OutcomeBatch:
    made = OutcomeBatch(COMPONENT, TRIAL, "worker-1", sequence, DIGEST, "ada", f"{len(outcomes)}.", outcomes)
    return replace(made, **fields)


async def count(counted: RedisOutcomes, *batches: OutcomeBatch) -> TrialCounters:
    for each in batches:
        assert await counted.count_outcomes(each) == (Receipt.COUNTED, each.answer)
    return await counted.counters(COMPONENT, TRIAL.release, TRIAL.number)


async def test_a_batch_is_counted_by_weight_and_channel(counted: RedisOutcomes):
    found = await count(
        counted,
        batch(
            1,
            ran("a"),
            ran("b", is_failed=True),
            ran("c", is_next=True, is_failed=True),
            ran("d", is_next=True, weight=2500),
            ran("", is_next=True, is_failed=True, weight=None),
            mismatches=3,
        ),
    )

    assert found == TrialCounters(
        by_weight={
            1000: Tally(
                jobs=Split(2, 1),
                failures=Split(1, 1),
                first_outcomes=Split(2, 1),
                failed_first_outcomes=Split(1, 1),
                first_failures=Split(1, 1),
            ),
            2500: Tally(jobs=Split(0, 1), first_outcomes=Split(0, 1)),
        },
        reporters=1,
        next_failures_by_reporter={"ada": {1000: 1}},
        others=Tally(jobs=Split(0, 1), failures=Split(0, 1)),
        mismatches=3,
    )


async def test_guards_see_only_the_first_outcome_and_the_first_failure_of_a_unit(counted: RedisOutcomes):
    found = await count(
        counted,
        batch(1, ran("a"), ran("a", is_failed=True), ran("a", is_failed=True)),
        batch(2, ran("a", is_next=True, is_failed=True, weight=2000), ran("b", is_failed=True)),
    )

    total = found.total
    assert total.jobs == Split(4, 1)
    assert total.failures == Split(3, 1)
    assert total.first_outcomes == Split(2, 0)
    assert total.failed_first_outcomes == Split(1, 0)
    assert total.first_failures == Split(2, 0)


async def test_a_repeated_batch_is_not_counted_and_gets_the_same_answer(counted: RedisOutcomes):
    before = await count(counted, batch(1, ran("a", is_failed=True), answer="1.a"))

    assert await counted.count_outcomes(batch(1, ran("b"), answer="2.")) == (Receipt.REPEATED, "1.a")
    assert await counted.counters(COMPONENT, 2, 1) == before


async def test_a_sequence_belongs_to_one_batch_and_increases(counted: RedisOutcomes):
    huge = 2**63 - 2
    before = await count(counted, batch(9, ran("a")), batch(10, ran("d")), batch(huge, ran("b")))

    assert (await counted.count_outcomes(batch(huge, ran("c"), digest="def")))[0] is Receipt.REUSED
    assert (await counted.count_outcomes(batch(huge - 1, ran("c"))))[0] is Receipt.TOO_OLD
    assert (await counted.count_outcomes(batch(9, ran("c"))))[0] is Receipt.TOO_OLD
    assert await counted.counters(COMPONENT, 2, 1) == before
    assert (await counted.count_outcomes(batch(huge + 1, ran("c"))))[0] is Receipt.COUNTED


async def test_each_client_and_component_has_its_own_sequences(counted: RedisOutcomes):
    found = await count(counted, batch(1, ran("a")), batch(1, ran("b"), client_id="worker-2"))
    await counted.count_outcomes(batch(1, ran("a"), component="hlint"))

    assert found.total.jobs == Split(2, 0)
    assert (await counted.counters("hlint", 2, 1)).total.jobs == Split(1, 0)


async def test_a_batch_that_two_servers_send_at_once_counts_once(
    server: StoreServer, store: RedisStore, counted: RedisOutcomes
):
    others = [server.store(store.keys.prefix[7:-2]) for _ in range(4)]
    epoch = (await store.head()).epoch
    for other in others:
        other.set_epoch(epoch)
    receipts = await asyncio.gather(
        *(
            RedisOutcomes(each.link).count_outcomes(batch(sequence, ran(f"r{sequence}")))
            for sequence in range(1, 2)
            for each in others
        )
    )
    for sequence in range(2, 30):
        await asyncio.gather(
            *(RedisOutcomes(each.link).count_outcomes(batch(sequence, ran(f"r{sequence}"))) for each in others)
        )
    for other in others:
        await other.close()

    assert sorted(receipt for receipt, _ in receipts) == [Receipt.COUNTED, *[Receipt.REPEATED] * 3]
    found = await counted.counters(COMPONENT, 2, 1)
    assert found.total == Tally(jobs=Split(29, 0), first_outcomes=Split(29, 0))


async def test_the_order_of_clients_batches_makes_no_difference(server: StoreServer, counted: RedisOutcomes):
    batches = [
        batch(1, *(ran(f"{client}/{unit}", is_next=unit % 3 == 0, is_failed=unit % 2 == 0) for unit in range(20)))
        for client in range(3)
    ]
    named = [replace(each, client_id=f"c{number}") for number, each in enumerate(batches)]
    found = set()
    for number, order in enumerate(itertools.permutations(named)):
        component = f"component-{number}"
        for each in order:
            await counted.count_outcomes(replace(each, component=component))
        found.add(repr((await counted.counters(component, 2, 1)).total))

    assert len(found) == 1


async def test_a_later_trial_begins_at_zero_and_an_earlier_one_is_not_counted(counted: RedisOutcomes):
    await count(counted, batch(1, ran("a", is_failed=True)))
    later = Trial(2, 2, 9)
    await counted.count_outcomes(batch(2, ran("a", is_failed=True), trial=later))

    assert await counted.counters(COMPONENT, 2, 1) == TrialCounters()
    assert (await counted.counters(COMPONENT, 2, 2)).total.first_failures == Split(1, 0)
    with pytest.raises(ConflictError):
        await counted.count_outcomes(batch(3, ran("b"), trial=TRIAL._replace(revision=8)))
    # A server that is ahead in revisions of the same trial is fine.
    await counted.count_outcomes(batch(3, ran("b"), trial=later._replace(revision=20)))
    await counted.count_outcomes(batch(4, ran("c"), trial=later._replace(revision=9)))
    assert (await counted.counters(COMPONENT, 2, 2)).total.jobs == Split(3, 0)


async def test_a_repo_that_ran_next_is_counted_once_in_all_trials_of_the_release(counted: RedisOutcomes):
    first = batch(1, ran("a", is_next=True), next_repos=("acme/a", "acme/b"))
    assert (await count(counted, first, batch(2, ran("b"), next_repos=("acme/b", "acme/c")))).next_repos == 3

    await counted.count_outcomes(batch(3, ran("a"), trial=Trial(2, 2, 9), next_repos=("acme/c", "acme/d")))
    assert (await counted.counters(COMPONENT, 2, 2)).next_repos == 4

    await counted.count_outcomes(batch(4, ran("a"), trial=Trial(3, 1, 11), next_repos=("acme/a",)))
    assert (await counted.counters(COMPONENT, 3, 1)).next_repos == 1


async def test_repos_of_the_release_before_are_not_counted_for_a_release_that_began_without_any(counted: RedisOutcomes):
    """They are there still, as where an earlier rampd, which knows no repos, has begun the release."""
    later = Trial(3, 1, 11)
    await count(counted, batch(1, ran("a"), next_repos=("acme/a", "acme/b")))
    await counted.count_outcomes(batch(2, ran("a"), trial=later))

    assert (await counted.counters(COMPONENT, 3, 1)).next_repos == 0
    await counted.count_outcomes(batch(3, ran("a"), trial=later, next_repos=("acme/c",)))
    assert (await counted.counters(COMPONENT, 3, 1)).next_repos == 1


async def test_repos_of_a_release_that_is_no_longer_next_are_dropped(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    key = store.keys.outcomes(COMPONENT).next_repos
    await count(counted, batch(1, ran("a"), next_repos=("acme/a",)))
    await counted.forget_outcomes(COMPONENT, Trial(2, 2, 8))
    assert await client.exists(key)
    await counted.forget_outcomes(COMPONENT, Trial(1, 0, 9))
    assert not await client.exists(key)


async def test_repos_of_next_that_are_damaged_are_named_by_a_batch_and_do_not_keep_the_guards_from_the_counters(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    await count(counted, batch(1, ran("a"), next_repos=("acme/a",)))
    key = store.keys.outcomes(COMPONENT).next_repos
    await client.set(key, "nonsense")

    with pytest.raises(StoreCorruptError, match="is a string, and rampd keeps a HyperLogLog there") as caught:
        await counted.count_outcomes(batch(2, ran("b"), next_repos=("acme/a",)))
    assert caught.value.metadata["key"] == key
    found = await counted.counters(COMPONENT, 2, 1)
    assert (found.total.jobs, found.next_repos) == (Split(1, 0), 0)
    await client.delete(key)


@pytest.mark.parametrize("server", [VALKEY, REDIS], indirect=True)
async def test_a_batch_whose_repos_can_not_be_added_is_not_half_counted(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    """Given a HyperLogLog that still tells its number, but takes no more repos, expect that nothing is counted until it is gone."""
    key = store.keys.outcomes(COMPONENT).next_repos
    repos = tuple(f"acme/r{number}" for number in range(50))
    await count(counted, batch(1, ran("a"), next_repos=repos))
    assert (await counted.counters(COMPONENT, 2, 1)).next_repos == 50
    await client.eval("redis.call('SET', KEYS[1], string.sub(redis.call('GET', KEYS[1]), 1, 40))", 1, key)
    assert await client.pfcount(key) == 50

    later = batch(2, ran("b"), next_repos=tuple(f"acme/s{number}" for number in range(50)))
    with pytest.raises(StoreCorruptError) as caught:
        await counted.count_outcomes(later)
    assert caught.value.metadata["key"] == key
    assert (await counted.counters(COMPONENT, 2, 1)).total.jobs == Split(1, 0)
    await client.delete(key)
    assert (await count(counted, later)).total.jobs == Split(2, 0)


async def test_answers_are_remembered_after_the_end_of_the_trial(counted: RedisOutcomes):
    await count(counted, batch(1, ran("a"), answer="."))

    repeat = batch(1, ran("a"), trial=Trial(2, 2, 9), answer="a")
    assert await counted.count_outcomes(repeat) == (Receipt.REPEATED, ".")


async def test_forgetting_drops_ended_trials_and_keeps_the_present_one(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    await count(counted, batch(1, ran("a", is_failed=True), ran("b", is_next=True), maturation_ms=0))
    await counted.forget_outcomes(COMPONENT, TRIAL)
    assert (await counted.counters(COMPONENT, 2, 1)).total.jobs == Split(1, 1)

    await counted.forget_outcomes(COMPONENT, Trial(2, 0, 4))
    assert (await counted.counters(COMPONENT, 2, 1)).total.jobs == Split(1, 1)

    await counted.forget_outcomes(COMPONENT, Trial(2, 0, 8))
    keys = store.keys.outcomes(COMPONENT)
    assert await counted.counters(COMPONENT, 2, 1) == TrialCounters()
    assert await names(client, f"{keys.outcomes.rpartition(':')[0]}:*")
    assert not await client.exists(keys.first_outcomes, keys.first_failures)
    assert await client.exists(keys.clients)


async def test_a_deleted_component_leaves_a_tombstone_and_no_clients(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    await count(counted, batch(1, ran("a", is_failed=True), ran("b", duration_ms=0), maturation_ms=HOUR_MS))
    await counted.forget_outcomes(COMPONENT, Trial(0, 0, 6))

    keys = store.keys.outcomes(COMPONENT)
    assert await names(client, f"{keys.outcomes.removesuffix('outcomes')}*") == [keys.outcomes]
    assert set(await client.hgetall(keys.outcomes)) == {"epoch", "release", "trial", "revision", "batches"}
    with pytest.raises(ConflictError):
        await counted.count_outcomes(batch(2, ran("a")))


async def test_forgetting_a_component_that_has_no_outcomes_writes_nothing(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    before = await everything(store, client)
    await counted.forget_outcomes(COMPONENT, Trial(0, 0, 6))
    assert await everything(store, client) == before


async def test_a_failure_waits_until_its_job_is_old_enough(store: RedisStore, counted: RedisOutcomes, client: Redis):
    found = await count(
        counted,
        batch(
            1,
            ran("young", is_next=True, is_failed=True, duration_ms=10),
            ran("old", is_failed=True, duration_ms=HOUR_MS),
            maturation_ms=HOUR_MS,
        ),
    )

    assert found.total == Tally(
        jobs=Split(1, 1),
        failures=Split(1, 1),
        first_outcomes=Split(1, 0),
        failed_first_outcomes=Split(1, 0),
        first_failures=Split(1, 0),
    )
    await age(store, client)
    seen = await counted.counters(COMPONENT, 2, 1)
    assert seen.total.first_failures == Split(1, 1)
    assert seen.total.failed_first_outcomes == Split(1, 1)
    assert seen.next_failures_by_reporter == {"ada": {1000: 1}}
    # The next batch moves them. Nothing is counted twice, and a later outcome of the unit is not the first one.
    moved = await count(counted, batch(2, ran("young", is_next=True, is_failed=True, duration_ms=HOUR_MS)))
    assert moved.total.first_failures == seen.total.first_failures
    assert moved.total.first_outcomes == seen.total.first_outcomes
    keys = store.keys.outcomes(COMPONENT)
    assert not await client.exists(keys.waiting_failures, keys.waiting_outcomes)


@pytest.mark.parametrize("is_read", [True, False])
async def test_no_outcome_waits_longer_than_its_maturation_when_the_clock_is_set_back(
    store: RedisStore, counted: RedisOutcomes, client: Redis, is_read: bool
):
    """Given two waiting outcomes, one of them longer than its maturation, expect that this one is counted once."""
    waits = batch(1, ran("a", is_failed=True), ran("b", is_next=True, is_failed=True), maturation_ms=HOUR_MS)
    assert (await count(counted, waits)).total.first_failures == Split()
    keys = store.keys.outcomes(COMPONENT)
    for key, member in (
        (keys.waiting_outcomes, f"{bit_of('b')} 1000 next 1"),
        (keys.waiting_failures, f"{bit_of('b')} 1000 next ada"),
    ):
        assert await client.zscore(key, member)
        await client.zincrby(key, HOUR_MS, member)

    # A later policy with a shorter maturation changes nothing for waiting outcomes.
    batches = [] if is_read else [batch(2, ran("c"), maturation_ms=HOUR_MS // 60), batch(3, ran("d"))]
    found = await count(counted, *batches)

    assert found.total.first_failures == Split(0, 1)
    assert found.total.failed_first_outcomes == Split(0, 1)
    assert found.next_failures_by_reporter == {"ada": {1000: 1}}
    assert await client.zcard(keys.waiting_failures) == (2 if is_read else 1)


async def test_a_reading_says_when_the_first_outcome_that_waits_begins_to_count(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    assert (await count(counted, batch(1, ran("a"), maturation_ms=0))).matures_ms is None
    began_ms = (await store.read(COMPONENT)).time_ms
    # A unit's first outcome waits for an hour, and its first failure, of another job, for half an hour.
    await count(counted, batch(2, ran("b"), maturation_ms=HOUR_MS))
    failed = batch(3, ran("b", is_failed=True, duration_ms=HOUR_MS // 2), maturation_ms=HOUR_MS)

    found = (await count(counted, failed)).matures_ms
    assert found is not None
    assert began_ms + HOUR_MS // 2 <= found <= (await store.read(COMPONENT)).time_ms + HOUR_MS // 2
    await age(store, client)
    assert (await counted.counters(COMPONENT, 2, 1)).matures_ms is None


async def test_an_error_names_a_longest_wait_that_was_edited_by_hand(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    await count(counted, batch(1, ran("a")))
    key = store.keys.outcomes(COMPONENT).outcomes
    await client.hset(key, "longest_wait", "an hour")

    for call in (counted.counters(COMPONENT, 2, 1), counted.count_outcomes(batch(2, ran("b")))):
        with pytest.raises(StoreCorruptError, match="'longest_wait'"):
            await call


async def age(store: RedisStore, client: Redis) -> None:
    """Makes all waiting outcomes old enough."""
    keys = store.keys.outcomes(COMPONENT)
    for key in (keys.waiting_outcomes, keys.waiting_failures):
        for member in await client.zrange(key, 0, -1):
            await client.zincrby(key, -2 * HOUR_MS, member)


async def test_the_number_of_waiting_outcomes_is_limited(server: StoreServer, namespace: str, client: Redis):
    store = server.store(namespace)
    counted = RedisOutcomes(store.link, max_waiting=3)
    store.set_epoch(await store.begin_epoch(adopted=False))
    jobs = [ran(f"r{number}", is_failed=True) for number in range(5)]
    await count(counted, batch(1, *jobs, maturation_ms=HOUR_MS))

    keys = store.keys.outcomes(COMPONENT)
    assert await client.zcard(keys.waiting_failures) == 3
    assert await client.zcard(keys.waiting_outcomes) == 3
    await age(store, client)
    # The first outcome of a unit that found no room does not count as its first one.
    found = await count(counted, batch(2, *jobs))
    assert found.total.first_failures == Split(5, 0)
    assert found.total.first_outcomes == Split(5, 0)
    await store.close()


async def test_nothing_is_counted_in_data_of_a_newer_schema(store: RedisStore, counted: RedisOutcomes):
    await count(counted, batch(1, ran("a")))
    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    with pytest.raises(StoreUnavailableError):
        await store.head()
    before = await contents(store)

    with pytest.raises(StoreUnavailableError, match=f"schema {SCHEMA + 1}"):
        await counted.count_outcomes(batch(2, ran("b")))
    with pytest.raises(StoreUnavailableError, match=f"schema {SCHEMA + 1}"):
        await counted.forget_outcomes(COMPONENT, Trial(0, 0, 99))
    assert await contents(store) == before


async def test_the_failures_of_each_reporter_are_known(counted: RedisOutcomes):
    for number in range(4):
        await count(counted, batch(1, ran(f"q{number}"), client_id=f"c{number}", reporter=f"launcher {number}"))
    hostile = [ran(f"h{number}", is_next=True, is_failed=True) for number in range(12)]
    found = await count(counted, batch(1, *hostile, client_id="x", reporter="eve"))
    assert found.reporters == 5
    assert found.next_failures_by_reporter == {"eve": {1000: 12}}
    assert counted_failures(found) == {1000: Split(0, 0)}

    others = [
        batch(2, ran(f"o{number}", is_next=True, is_failed=True), client_id=f"c{number}", reporter=f"launcher {number}")
        for number in range(4)
    ]
    assert counted_failures(await count(counted, *others)) == {1000: Split(0, 6)}


async def test_reporters_beyond_the_limit_count_as_one(store: RedisStore, counted: RedisOutcomes, client: Redis):
    await count(counted, batch(1, ran("a")))
    await client.hset(store.keys.outcomes(COMPONENT).outcomes, "reporters", MAX_REPORTERS)
    found = await count(
        counted,
        batch(1, ran("b", is_next=True, is_failed=True), client_id="b", reporter="bob"),
        batch(1, ran("c", is_next=True, is_failed=True), client_id="c", reporter="cyd"),
        batch(2, ran("d", is_next=True, is_failed=True), reporter="ada"),
    )

    assert found.reporters == MAX_REPORTERS
    assert found.next_failures_by_reporter == {"": {1000: 2}, "ada": {1000: 1}}


async def test_the_latest_clients_are_remembered(server: StoreServer, namespace: str, client: Redis):
    store = server.store(namespace)
    counted = RedisOutcomes(store.link, max_clients=3)
    store.set_epoch(await store.begin_epoch(adopted=False))
    for sequence, who in enumerate(("a", "b", "c", "a", "d"), start=1):
        await counted.count_outcomes(batch(sequence, ran(who), client_id=who))

    keys = store.keys.outcomes(COMPONENT)
    assert set(await client.hkeys(keys.clients)) == {"a", "c", "d"}
    assert set(await client.zrange(keys.clients_order, 0, -1)) == {"a", "c", "d"}
    assert (await counted.count_outcomes(batch(4, ran("a"), client_id="a")))[0] is Receipt.REPEATED
    await store.close()


async def test_units_take_a_fixed_amount_of_memory(store: RedisStore, counted: RedisOutcomes, client: Redis):
    units = [f"owner/repo-{number}" for number in range(3000)]
    for number in range(3):
        part = units[number * 1000 : number * 1000 + 1000]
        await counted.count_outcomes(batch(number + 1, *(ran(unit, is_failed=True) for unit in part)))

    found = await counted.counters(COMPONENT, 2, 1)
    distinct = len({bit_of(unit) for unit in units})
    assert found.total.first_outcomes == found.total.first_failures == Split(distinct, 0)
    keys = store.keys.outcomes(COMPONENT)
    assert await client.strlen(keys.first_outcomes) <= UNIT_BITS // 8
    assert await client.strlen(keys.first_failures) <= UNIT_BITS // 8


def ended(sequence: int, revision: int, **fields: object) -> OutcomeBatch:
    """Two jobs of release 1, one of which failed, and one of release 2, which is current since `revision`."""
    fields = {"by_release": {1: JobCount(2, 1), 2: JobCount(1, 0)}, "current": JobCount(1, 0), **fields}
    return batch(sequence, current_revision=revision, **fields)


async def test_counts_of_a_release_stay_after_its_trial_and_counts_of_current_after_the_next_trial_too(
    counted: RedisOutcomes,
):
    later = Trial(2, 2, 9)
    await counted.count_outcomes(ended(1, 4))
    await counted.count_outcomes(ended(1, 4))
    await counted.count_outcomes(ended(2, 4, trial=later))

    found = await counted.release_counters(COMPONENT)
    assert found.by_release == {1: JobCount(4, 2), 2: JobCount(2, 0)}
    assert (found.since(4), found.since(9), found.of(7)) == (JobCount(2, 0), JobCount(), JobCount())
    assert (await counted.counters(COMPONENT, 2, 2)).by_weight == {}


async def test_a_new_current_begins_at_zero_and_a_server_that_does_not_know_it_adds_nothing(counted: RedisOutcomes):
    await counted.count_outcomes(ended(1, 9))
    await counted.count_outcomes(ended(2, 12))
    await counted.count_outcomes(ended(3, 9))

    found = await counted.release_counters(COMPONENT)
    assert found.by_release == {1: JobCount(6, 3), 2: JobCount(3, 0)}
    assert (found.current_revision, found.current) == (12, JobCount(1, 0))


async def test_counts_of_releases_of_many_components_are_those_of_each(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    """Given counts that are damaged, missing, or of another epoch, expect them not to hide the others."""
    names = ["well", "type", "field", "none", "epoch", "also"]
    for name in ("well", "type", "field", "epoch", "also"):
        await counted.count_outcomes(ended(1, 4, component=name))
    keys = {name: store.keys.outcomes(name).release_outcomes for name in names}
    await client.delete(keys["type"])
    await client.set(keys["type"], "x")
    await client.hset(keys["field"], "1 jobs", "many")
    await client.hset(keys["epoch"], "epoch", "another")

    found = dict(zip(names, await counted.release_counters_of(names), strict=True))

    for name in ("well", "none", "epoch", "also"):
        assert found[name] == await counted.release_counters(name)
    for name in ("type", "field"):
        error = found[name]
        assert isinstance(error, StoreCorruptError)
        assert error.metadata["key"] == keys[name]
        with pytest.raises(StoreCorruptError) as caught:
            await counted.release_counters(name)
        assert str(caught.value) == str(error)
    assert await counted.release_counters_of([]) == []


@pytest.mark.usefixtures("_long_intervals")
async def test_jobs_of_current_are_also_counted_by_interval_and_a_new_interval_takes_the_place_of_the_oldest(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    async def intervals() -> list[Interval]:
        return sorted((await counted.release_counters(COMPONENT)).intervals, key=lambda each: each.start_ms)

    await counted.count_outcomes(ended(1, 4))
    await counted.count_outcomes(ended(2, 4))
    await counted.count_outcomes(ended(3, 4, current=JobCount()))
    first, *others = await intervals()
    assert (first, others) == (Interval(first.start_ms, 4, JobCount(2, 0)), [])
    assert (first.start_ms % LONG_INTERVAL_MS, await age_ms(store, first) // LONG_INTERVAL_MS) == (0, 0)

    key = store.keys.outcomes(COMPONENT).release_outcomes
    place = f"recent {first.start_ms // LONG_INTERVAL_MS % INTERVALS}"
    await client.hset(key, f"{place} start_ms", first.start_ms - INTERVALS * LONG_INTERVAL_MS)
    await counted.count_outcomes(ended(4, 4, current=JobCount(7, 3)))
    assert await intervals() == [Interval(first.start_ms, 4, JobCount(7, 3))]

    await client.hset(key, f"{place} failures", "many")
    with pytest.raises(StoreCorruptError, match="failures"):
        await counted.count_outcomes(ended(5, 4))


@pytest.mark.usefixtures("_long_intervals")
async def test_an_interval_of_a_new_current_begins_at_zero_and_a_server_that_does_not_know_it_adds_nothing(
    counted: RedisOutcomes,
):
    for sequence, revision in enumerate((9, 12, 9), start=1):
        await counted.count_outcomes(ended(sequence, revision, current=JobCount(5, 2)))

    [found] = (await counted.release_counters(COMPONENT)).intervals
    assert (found.current_revision, found.count) == (12, JobCount(5, 2))


async def age_ms(store: RedisStore, interval: Interval) -> int:
    seconds, microseconds = await store.client.time()
    return int(seconds * 1000 + microseconds // 1000 - interval.start_ms)


async def test_counts_are_deleted_with_their_release_or_component_or_epoch(store: RedisStore, counted: RedisOutcomes):
    """A release that this server does not know yet stays: its number is above the last one that the server knows."""
    await counted.count_outcomes(ended(1, 4, by_release={number: JobCount(1, 0) for number in (1, 2, 3, 8)}))

    await counted.forget_outcomes(COMPONENT, TRIAL, last_number=5, releases=[2, 3])

    assert set((await counted.release_counters(COMPONENT)).by_release) == {2, 3, 8}
    await counted.forget_outcomes(COMPONENT, Trial(0, 0, 99))
    assert await counted.release_counters(COMPONENT) == ReleaseCounters()
    await counted.count_outcomes(ended(2, 4, trial=Trial(2, 1, 100)))
    assert (await counted.release_counters(COMPONENT)).by_release
    store.set_epoch(await store.begin_epoch(adopted=True))
    assert await counted.release_counters(COMPONENT) == ReleaseCounters()
    await counted.count_outcomes(ended(1, 4, by_release={7: JobCount(1, 0)}))
    assert set((await counted.release_counters(COMPONENT)).by_release) == {7}


async def test_outcomes_are_counted_in_a_store_that_lost_its_scripts(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    await count(counted, batch(1, ran("a")))
    await client.script_flush()
    assert (await count(counted, batch(2, ran("b")))).total.jobs == Split(2, 0)
    await client.script_flush()
    await counted.forget_outcomes(COMPONENT, TRIAL)


async def test_nothing_is_counted_in_an_emptied_store(store: RedisStore, counted: RedisOutcomes, client: Redis):
    await count(counted, batch(1, ran("a")))
    await client.delete(*(await names(client, store.keys.pattern)))

    with pytest.raises(StoreResetError):
        await counted.count_outcomes(batch(2, ran("b")))
    assert await names(client, store.keys.pattern) == []
    assert await counted.counters(COMPONENT, 2, 1) == TrialCounters()


async def test_counts_of_another_epoch_are_dropped(server: StoreServer, store: RedisStore, counted: RedisOutcomes):
    await count(counted, batch(1, ran("a")))
    behind = server.store(store.keys.prefix[7:-2])
    behind.set_epoch((await store.head()).epoch)
    store.set_epoch(await store.begin_epoch(adopted=True))

    assert await counted.counters(COMPONENT, 2, 1) == TrialCounters()
    assert (await count(counted, batch(1, ran("b")))).total.jobs == Split(1, 0)
    with pytest.raises(StoreResetError):
        await RedisOutcomes(behind.link).count_outcomes(batch(2, ran("c")))
    await behind.close()


async def test_outcomes_have_keys_of_the_namespace_with_their_own_hash_tag(store: RedisStore, client: Redis):
    keys = store.keys.outcomes(COMPONENT)
    assert keys.outcomes.startswith(store.keys.prefix[:-2] + f":{COMPONENT}}}:")
    await client.delete(*(await names(client, store.keys.pattern)))
    assert await store.is_empty()
    await client.hset(keys.outcomes, "epoch", "e")
    assert not await store.is_empty()


@pytest.mark.parametrize(
    "name",
    [
        *("outcomes", "first_outcomes", "first_failures", "waiting_outcomes", "waiting_failures", "clients"),
        *("clients_order", "release_outcomes", "fine_samples", "coarse_samples"),
    ],
)
async def test_an_error_names_a_key_of_the_wrong_type_and_nothing_is_counted(
    store: RedisStore, counted: RedisOutcomes, client: Redis, name: str
):
    key = getattr(store.keys.outcomes(COMPONENT), name)
    await client.xadd(key, {"x": "y"})
    before = await everything(store, client)

    with pytest.raises(StoreCorruptError) as caught:
        await counted.count_outcomes(batch(1, ran("a", is_failed=True)))
    assert caught.value.metadata["key"] == key
    assert await everything(store, client) == before


async def everything(store: RedisStore, client: Redis) -> dict[str, object]:
    """Returns everything in the namespace, with its outcomes."""
    found = await contents(store)
    for key in await names(client, store.keys.pattern):
        found.setdefault(key, await client.dump(key) if await client.type(key) != "string" else "")
    return found


async def names(client: Redis, pattern: str) -> list[str]:
    """Returns the keys that are there, on all nodes."""
    return [key async for key in client.scan_iter(match=pattern)]


@pytest.mark.parametrize(
    ("key", "field", "text"),
    [
        ("outcomes", "1000 current jobs", "many"),
        ("outcomes", "1000 current jobs", "-1"),
        ("outcomes", "1000 current first_failures", "9" * 19),
        ("outcomes", "1000 next first_failures", "0.5"),
        ("outcomes", "reporters", "x"),
        ("outcomes", "batches", "x"),
        ("outcomes", "revision", "x"),
        ("clients", "worker-1", "nonsense"),
        ("release_outcomes", "1 jobs", "many"),
        ("release_outcomes", "current_revision", "-1"),
    ],
)
async def test_an_error_names_a_malformed_count_and_nothing_is_counted(
    store: RedisStore, counted: RedisOutcomes, client: Redis, *, key: str, field: str, text: str
):
    await count(counted, batch(1, ran("a")))
    spoiled = getattr(store.keys.outcomes(COMPONENT), key)
    await client.hset(spoiled, field, text)
    before = await client.hgetall(store.keys.outcomes(COMPONENT).outcomes)

    jobs = (ran("b", is_failed=True), ran("c", is_next=True, is_failed=True))
    with pytest.raises(StoreCorruptError) as caught:
        await counted.count_outcomes(batch(2, *jobs, reporter="bob", by_release={1: JobCount(1, 0)}))
    assert caught.value.metadata["key"] == spoiled
    assert await client.hgetall(store.keys.outcomes(COMPONENT).outcomes) == before
    if key == "outcomes":
        with pytest.raises(StoreCorruptError):
            await counted.counters(COMPONENT, 2, 1)
    if key == "release_outcomes":
        await client.hset(spoiled, "epoch", (await store.head()).epoch)
        with pytest.raises(StoreCorruptError):
            await counted.release_counters(COMPONENT)


@pytest.mark.parametrize("name", ["waiting_outcomes", "waiting_failures"])
async def test_an_error_names_malformed_waiting_outcomes(
    store: RedisStore, counted: RedisOutcomes, client: Redis, name: str
):
    await count(counted, batch(1, ran("a")))
    key = getattr(store.keys.outcomes(COMPONENT), name)
    await client.zadd(key, {"nonsense": 1})

    for attempt in (counted.count_outcomes(batch(2, ran("b"))), counted.counters(COMPONENT, 2, 1)):
        with pytest.raises(StoreCorruptError) as caught:
            await attempt
        assert caught.value.metadata["key"] == key


async def test_batches_of_many_components_are_counted_in_one_exchange(
    store: RedisStore, counted: RedisOutcomes, client: Redis
):
    """Given a batch that was counted before, one of an ended trial, and scripts that Redis has lost, expect the others
    to be counted, and these two to have their own answers.
    """
    names = [f"c{n}" for n in range(40)]
    batches = [batch(1, ran("a"), component=name) for name in names]
    await client.script_flush()
    assert await counted.count_many(batches[:1]) == [(Receipt.COUNTED, "1.")]
    await counted.count_outcomes(batch(2, ran("b"), component=names[1], trial=Trial(2, 2, 9), client_id="w2"))
    await client.script_flush()

    found = await counted.count_many(batches)

    assert found == [(Receipt.REPEATED, "1."), None, *[(Receipt.COUNTED, "1.")] * 38]
    assert [(await counted.counters(name, *TRIAL[:2])).by_weight[1000].jobs.current for name in names[2:]] == [1] * 38
    with pytest.raises(ConflictError):
        await counted.count_outcomes(batches[1])
