"""The promises of docs/automation.md in seconds: a few seeded trials, with a margin for chance. `make stats` runs all of them."""

from random import Random
from xml.etree import ElementTree as ET

import pytest

from rampd._evidence import assignment_check
from rampd._evidence.counters import Split
from rampd._evidence.e_process import log_limit
from rampd_server.domain.automation.decision import Action
from tests.bench.rollout.comparison import RULES, compare, settings, world
from tests.bench.rollout.plot import bars
from tests.bench.rollout.rampd_rule import Rampd
from tests.bench.rollout.rules import FlaggerLike, Graph
from tests.bench.rollout.simulation import Ended, run
from tests.bench.rollout.world import Release
from tests.markdown import table
from tests.stats import tables
from tests.stats.scenarios import SCENARIOS, Scenario
from tests.stats.trial import ALPHA, Job, watch

RUNS = 40


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_guard_gives_more_false_alarms_than_promised(scenario: Scenario, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "JOBS", 3000)

    rates = tables.false_alarms(scenario, RUNS)

    # In 40 trials, chance gives 2 alarms of the relative guard once in 17 runs at the very worst, and 5 once in 20,000 runs.
    assert rates.relative * RUNS < 5
    assert rates.absolute * RUNS < 4
    assert rates.assignment * RUNS < 3


@pytest.mark.parametrize("target", [target for target in tables.TARGETS if target.jobs < 1000], ids=str)
def test_a_regression_is_found_about_as_soon_as_promised(target: tables.Target):
    jobs, next_jobs = tables.detection(target, 100)

    assert jobs == pytest.approx(target.jobs, rel=0.4)
    assert next_jobs == pytest.approx(target.next_jobs, rel=0.4)


@pytest.mark.parametrize(("rate", "jobs"), tables.ABSOLUTE_TARGETS)
def test_the_absolute_guard_is_about_as_quick_as_promised(rate: float, jobs: int):
    assert tables.absolute_detection(rate, 200) == pytest.approx(jobs, rel=0.3)


def test_a_unit_counts_once_as_failed_and_once_as_seen():
    once = watch([Job(7, 1000, True, True)])
    often = watch([Job(7, 1000, True, True)] * 100, max_failure_rate=0.1)

    assert once == often == (None, None, None)


def test_each_guard_reports_when_it_decides():
    assert watch((Job(unit, 1000, True, True) for unit in range(20)), max_failure_rate=0.1) == (3, 4, 7)


def test_skipping_looks_of_the_assignment_check_misses_nothing():
    random = Random(1)
    jobs = [Job(unit, 1000, random.random() < 0.16, False) for unit in range(2000)]
    counts = assignment_counts(jobs)

    first = next(number for number, log in enumerate(counts, start=1) if log >= log_limit(assignment_check.ALPHA))

    assert watch(jobs).assignment == first


def assignment_counts(jobs: list[Job]) -> list[float]:
    logs, split = [], Split()
    for job in jobs:
        split += Split(not job.is_next, job.is_next)
        logs.append(assignment_check.log_evidence({1000: split}))
    return logs


def test_the_bound_is_alpha_and_three_standard_errors():
    assert tables.bound(ALPHA, 2000) == pytest.approx(0.01667, abs=1e-5)


def test_the_share_of_lost_units_follows_from_the_size_of_the_bit_array():
    assert tables.units_lost(10_000) == pytest.approx(0.0024, abs=0.001)


BAD = Release("fails everything", current=0.01, next=1.0, runs=1)
GOOD = Release("good", current=0.01, next=0.01, runs=1)


def test_rampd_harms_fewer_jobs_than_any_rule_it_is_compared_with():
    rampd, *others = compare(world(), BAD, 5)

    assert rampd.rolled_back == 1
    assert all(rampd.harmed < other.harmed for other in others)


def test_a_good_release_is_rolled_out_automatically_step_by_step():
    rule = Rampd(**settings("rampd"))

    result = run(GOOD, rule, world().jobs(Random("good")), 3)

    assert result.harmed == 0
    assert result.finalize_s is not None
    assert [decision.action for decision in rule.decisions] == [Action.STEP] * 4 + [Action.FINALIZE]


def test_every_rule_rolls_back_a_broken_release_and_finishes_a_good_one():
    platform = world()
    for rule in RULES.values():
        assert run(BAD, rule(), platform.jobs(Random("bad")), 0).rollback_s is not None
    for name in ("Flagger-like, 95 %", "Argo-like"):
        assert run(GOOD, RULES[name](), platform.jobs(Random("fine")), 1).finalize_s is not None


def test_failed_checks_that_are_not_in_a_row_add_up():
    rule = FlaggerLike(interval_min=1, threshold=2, max_weight=50, step_weight=5, min_success_rate=99, window_min=1)
    rule.look(0)
    assert rule.basis_points == 500

    for minute, is_failed in ((1, True), (2, False), (3, True), (4, False)):
        rule.see(Ended(minute * 60 - 1, 500, "a/b", True, is_failed))
        rule.look(minute * 60)

    assert (rule.is_over, rule.basis_points) == (True, 0)


def test_a_graph_shows_a_window():
    graph = Graph()
    for second in range(10):
        graph.add(Ended(second, 500, "a/b", True, second >= 8))

    assert graph.window(7) == (2, 3)
    assert graph.window(100) == (0, 0)


def test_the_same_seed_gives_the_same_results():
    platform = world()

    assert list(platform.jobs(Random("a"))) == list(platform.jobs(Random("a")))


def test_an_outage_hits_both_versions():
    release = Release("x", 0.01, 0.1, 1, {"from_min": 5, "to_min": 6, "rate": 0.5})

    assert [release.rates(second) for second in (0, 300, 360)] == [(0.01, 0.1), (0.5, 0.5), (0.01, 0.1)]


def test_the_plot_is_an_image_with_a_bar_for_each_value():
    image = ET.fromstring(bars("a < b", ["one", "two"], ["x", "y"], [[1, 10], [100, 1000]]))

    bars_drawn = [element for element in image if element.tag.endswith("rect") and element.get("x")]
    assert len(bars_drawn) == 4 + 2


def test_a_table_is_as_wide_as_it_needs_to_be():
    assert table(("a", "b"), [("long", 1)]) == "| a    | b |\n| ---- | - |\n| long | 1 |"


def test_maturation_prevents_an_assignment_alarm_for_a_slow_release():
    assert tables.slower_alarms(10, 0, 2).assignment == 1
    assert tables.slower_alarms(10, 60, 2).assignment == 0
