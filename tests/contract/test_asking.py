"""Servers that ask the checks of one store: one server asks a check at a time, and no check blocks another."""

import asyncio
import time
from dataclasses import replace

import pytest

from rampd_server.automation import checks as asking
from rampd_server.automation.checks import MAX_ASKING, Checks, NoSource
from rampd_server.domain.automation.check_answer import Answer
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.rollout.automation_policy import Check
from rampd_server.storage.checks import RedisChecks
from rampd_server.storage.store import RedisStore
from tests.asking import WITHIN_S, FakeReplica, ScriptedSource, checked, running
from tests.spans import recording
from tests.waiting import eventually_async

ERRORS = Check("errors", 'errors{tag="{{tag}}"}', interval_ms=100, maximum=1.0)
SLOW = replace(ERRORS, interval_ms=60_000)


@pytest.fixture(autouse=True)
def _in_quick_motion(monkeypatch):
    monkeypatch.setattr(asking, "_SPREAD_S", 0.01)
    monkeypatch.setattr(asking, "_RETRY_S", 0.05)


def asker(store: RedisStore, replica: FakeReplica, source: object) -> Checks:
    # So that no lease ends while the machine stands still.
    return Checks(RedisChecks(store.link), replica, source, timeout_s=50.0)


async def is_known(checks: Checks, replica: FakeReplica) -> bool:
    return list(await checks.readings(replica.rollouts[0])) != [CheckReading("errors")]


async def has_errors(checks: Checks, replica: FakeReplica) -> bool:
    return (await checks.readings(replica.rollouts[0]))[0].errors >= 2


async def test_every_server_reads_an_answer(store: RedisStore):
    replica, source = FakeReplica(checked(SLOW)), ScriptedSource()
    asks, reads = asker(store, replica, source), asker(store, replica, ScriptedSource())
    assert await reads.readings(replica.rollouts[0]) == [CheckReading("errors")]

    async with running(asks):
        await eventually_async(lambda: is_known(reads, replica))

    assert await reads.readings(replica.rollouts[0]) == [CheckReading("errors", has_passed=True, value=0.5)]
    assert source.asked == ['errors{tag="B"}']


async def test_one_of_three_servers_asks_at_a_time_and_only_when_the_check_is_due(store: RedisStore):
    replica, source = FakeReplica(checked(ERRORS)), ScriptedSource(Answer(7.0))
    began_s = time.monotonic()

    async with running(*(asker(store, replica, source) for _ in range(3))):
        await eventually_async(lambda: len(source.asked) >= 6)

    assert source.most_under_way == 1
    assert (time.monotonic() - began_s) * 1000 >= 5 * ERRORS.interval_ms * 0.9
    (found,) = await asker(store, replica, source).readings(replica.rollouts[0])
    assert (found.failures >= 5, found.has_passed) == (True, False)


async def test_every_server_hears_of_an_answer(store: RedisStore):
    """Given two servers, expect that the controller of each is told, whichever server has asked."""
    replica, source = FakeReplica(checked(SLOW)), ScriptedSource()
    both = [asker(store, replica, source) for _ in range(2)]

    async with running(*both):
        async with asyncio.timeout(WITHIN_S):
            assert [await each.answered.wait() for each in both] == [{"restyler"}] * 2

    assert len(source.asked) == 1


async def test_a_change_that_asks_nothing_new_keeps_the_time_of_a_check(store: RedisStore):
    replica, source = FakeReplica(checked(replace(SLOW, interval_ms=3_600_000))), ScriptedSource()
    checks = asker(store, replica, source)
    async with running(checks):
        await eventually_async(lambda: bool(source.asked))
        async with asyncio.timeout(WITHIN_S):
            await checks.answered.wait()
        due = dict(checks._turns._due)
        replica.rollouts = [replace(replica.rollouts[0], basis_points=2000)]
        assert checks._turns._due == due
    assert len(due) == 1


async def test_only_the_server_that_asks_has_a_span(store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    replica, source = FakeReplica(checked(SLOW)), ScriptedSource()
    with recording(monkeypatch) as spans:
        asks, waits = (asker(store, replica, source) for _ in range(2))
        async with running(asks):
            await eventually_async(lambda: bool(spans.all("automation Check")))
        rollout = replica.rollouts[0]
        assert await waits._ask_if_leased(asking._Question(rollout, SLOW)) > 0
        async with running(waits):
            assert await waits.answered.wait() == {rollout.component}
        assert len(source.asked) == len(spans.all("automation Check")) == 1


async def test_without_a_prometheus_every_check_is_an_error_that_says_what_to_type(store: RedisStore):
    replica = FakeReplica(checked(ERRORS))
    checks = asker(store, replica, NoSource())

    async with running(checks):
        await eventually_async(lambda: has_errors(checks, replica))

    (found,) = await checks.readings(replica.rollouts[0])
    assert found.error == "this server has no --prometheus-url (RAMPD_PROMETHEUS_URL)"
    assert (found.failures, found.has_passed) == (0, False)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("errors{tag={{tag}}} or vector(0)", 'it has {{tag}} at character 12, outside of a string: put it in quotes, such as tag="{{tag}}"'),
        ('errors{tag="x{{ tag}"}', "it has {{ at character 14, which belongs to no placeholder"),
    ],
)  # fmt: skip
async def test_a_query_that_only_an_older_rampd_accepted_is_an_error_and_is_not_sent(
    store: RedisStore, query: str, said: str
):
    replica, source = FakeReplica(checked(replace(ERRORS, query=query))), ScriptedSource()
    checks = asker(store, replica, source)

    async with running(checks):
        await eventually_async(lambda: has_errors(checks, replica))

    (found,) = await checks.readings(replica.rollouts[0])
    assert found.error.startswith(f"the query is not sent: {said}")
    assert (found.failures, found.has_passed, source.asked) == (0, False, [])


@pytest.mark.parametrize("changes", [{"held_reason": "because"}, {"basis_points": 0}, {"next": None}])
async def test_nothing_is_asked_about_a_rollout_that_is_not_under_way(store: RedisStore, changes: dict[str, object]):
    idle = replace(checked(SLOW, component="idle"), **changes)
    source = ScriptedSource()

    async with running(asker(store, FakeReplica(idle, checked(replace(SLOW, query="up"))), source)):
        await eventually_async(lambda: bool(source.asked))
        await asyncio.sleep(0.1)

    assert source.asked == ["up"]


async def test_a_copy_that_is_behind_asks_nothing(store: RedisStore):
    replica, source = FakeReplica(checked(SLOW)), ScriptedSource()
    replica.age_s = 6.0

    async with running(asker(store, replica, source)):
        await asyncio.sleep(0.1)
        assert source.asked == []
        replica.age_s = 0.0
        await eventually_async(lambda: bool(source.asked))


async def test_a_new_next_is_asked_about_at_once(store: RedisStore):
    replica, source = FakeReplica(checked(SLOW)), ScriptedSource()

    async with running(asker(store, replica, source)):
        await eventually_async(lambda: len(source.asked) == 1)
        replica.rollouts = [replace(replica.rollouts[0], next=5)]
        await eventually_async(lambda: len(source.asked) == 2)

    assert source.asked == ['errors{tag="B"}', 'errors{tag="C"}']


async def test_a_source_that_does_not_answer_blocks_a_limited_number_of_questions(store: RedisStore):
    source = ScriptedSource()
    source.goes_on.clear()
    replica = FakeReplica(*(checked(SLOW, component=f"c{number}") for number in range(MAX_ASKING + 5)))

    async with running(asker(store, replica, source)):
        await eventually_async(lambda: source.under_way == MAX_ASKING)
        await asyncio.sleep(0.1)
        assert source.under_way == MAX_ASKING
        source.goes_on.set()
        await eventually_async(lambda: len(source.asked) == MAX_ASKING + 5)


async def test_another_server_asks_if_a_server_dies_while_it_asks(store: RedisStore, monkeypatch):
    """Given a server that ends during its question, when the lease is over, expect another server to ask."""
    monkeypatch.setattr(asking, "_LEASE_MARGIN_S", 0.2)
    replica, hangs, answers = FakeReplica(checked(SLOW)), ScriptedSource(), ScriptedSource()
    hangs.goes_on.clear()
    dies, follows = (Checks(RedisChecks(store.link), replica, source, timeout_s=0.1) for source in (hangs, answers))

    async with running(dies):
        await eventually_async(lambda: bool(hangs.asked))
    async with running(follows):
        await eventually_async(lambda: bool(answers.asked))


async def test_a_defect_in_one_check_does_not_stop_the_others(store: RedisStore):
    class Breaks(ScriptedSource):
        async def ask(self, query: str) -> Answer:
            if query == "breaks":
                self.asked.append(query)
                raise RuntimeError
            return await super().ask(query)

    replica, source = (
        FakeReplica(checked(replace(ERRORS, name="b", query="breaks"), replace(ERRORS, query="up"))),
        Breaks(),
    )

    async with running(asker(store, replica, source)):
        await eventually_async(lambda: source.asked.count("up") >= 3 and "breaks" in source.asked)


async def test_another_store_is_not_written_to_and_is_tried_again(store: RedisStore):
    replica, source = FakeReplica(checked(SLOW)), ScriptedSource()
    epoch = store.link.epoch
    store.set_epoch("another")

    async with running(asker(store, replica, source)):
        await asyncio.sleep(0.1)
        assert source.asked == []
        store.set_epoch(epoch)
        await eventually_async(lambda: bool(source.asked))
