"""Several workers in one scrape: no counter goes back, whatever worker dies."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.metrics.collector import seen_by
from rampd_server.metrics.merging import Merging, Scrape

EVERY = seen_by(["*"])
RESOLVES = 'rampd_resolves_total{component="a",channel="current",reason="STEADY"}'
SPENT = 'rampd_rollout_seconds_total{component="a",doing="held"}'
JOBS = 'rampd_jobs_total{component="a",channel="current"}'
STATE = 'rampd_state{component="a",state="HELD"}'
CONFIRMED: Mapping[str, float] = {"rampd_components": 1, STATE: 1}


def scrape(worker: int, run: str, **samples: float) -> Scrape:
    return Scrape(worker, run, {**CONFIRMED, **samples})


def shown(merging: Merging, globs: tuple[str, ...] = ("*",)) -> dict[str, float]:
    text = b"".join(merging.text(seen_by(globs))).decode()
    return dict(Scrape.read(0, "", text).samples)


def test_counters_and_gauges_are_added_up() -> None:
    merging = Merging()
    merging.take([scrape(0, "a", rampd_watchers=2, **{RESOLVES: 5}), scrape(1, "b", rampd_watchers=3, **{RESOLVES: 7})])
    assert shown(merging)[RESOLVES] == 12
    assert shown(merging)["rampd_watchers"] == 5


def test_a_counter_does_not_go_back_when_a_worker_dies_and_begins_again() -> None:
    merging = Merging()
    merging.take([scrape(0, "a", **{RESOLVES: 5}), scrape(1, "b", **{RESOLVES: 7})])
    merging.take([scrape(0, "a", **{RESOLVES: 6})])
    assert shown(merging)[RESOLVES] == 13
    merging.take([scrape(0, "a", **{RESOLVES: 6}), scrape(1, "c", **{RESOLVES: 9})])
    assert shown(merging)[RESOLVES] == 22
    merging.take([scrape(0, "a", **{RESOLVES: 6}), scrape(1, "c", **{RESOLVES: 10})])
    assert shown(merging)[RESOLVES] == 23


def test_a_sum_that_stays_does_not_go_back_by_a_rounding() -> None:
    """0.014 + 0.1 - 0.1 is less than 0.014."""
    lag = "rampd_feed_lag_seconds_sum"
    merging = Merging()
    merging.take([scrape(0, "a", **{lag: 0.014}), scrape(1, "b", **{lag: 0.1})])
    before = shown(merging)[lag]
    merging.take([scrape(0, "a", **{lag: 0.014}), scrape(1, "b", **{lag: 0.1})])
    assert shown(merging)[lag] == before


def test_a_worker_that_was_only_slow_is_not_counted_again() -> None:
    merging = Merging()
    merging.take([scrape(0, "a", **{RESOLVES: 5}), scrape(1, "b", **{RESOLVES: 7})])
    merging.take([scrape(0, "a", **{RESOLVES: 5})])
    merging.take([scrape(0, "a", **{RESOLVES: 5}), scrape(1, "b", **{RESOLVES: 8})])
    assert shown(merging)[RESOLVES] == 13


def test_time_that_all_workers_watch_counts_once() -> None:
    merging = Merging()
    merging.take([scrape(0, "a", **{SPENT: 100}), scrape(1, "b", **{SPENT: 98})])
    assert shown(merging)[SPENT] == 100
    merging.take([scrape(1, "b", **{SPENT: 113})])
    merging.take([scrape(0, "a2", **{SPENT: 3}), scrape(1, "b", **{SPENT: 118})])
    assert shown(merging)[SPENT] == 118
    merging.take([scrape(0, "a2", **{SPENT: 13})])
    assert shown(merging)[SPENT] == 128


def test_a_gauge_of_a_component_comes_from_the_first_worker_whose_copy_is_confirmed() -> None:
    merging = Merging()
    stale = Scrape(0, "a", {"rampd_copy_stale": 1, "rampd_copy_age_seconds": 9})
    merging.take([stale, scrape(1, "b", rampd_copy_stale=0), Scrape(2, "c", {**CONFIRMED, STATE: 0})])
    assert shown(merging) == {
        "rampd_copy_stale": 1,
        "rampd_copy_age_seconds": 9,
        "rampd_components": 1,
        STATE: 1,
    }


def test_evidence_is_that_of_the_worker_that_has_looked_last() -> None:
    """Given a worker that looked before the failures came, and another that has rolled back, expect what made it roll back."""
    merging, evidence, limit = Merging(), 'rampd_evidence{component="a"}', 'rampd_evidence_limit{component="a"}'
    merging.take([scrape(0, "a", **{evidence: 1.5, limit: 100}), scrape(1, "b", **{evidence: 130, limit: 100})])
    assert (shown(merging)[evidence], shown(merging)[limit]) == (130, 100)
    merging.take([scrape(0, "restarted"), scrape(1, "b", **{evidence: 130, limit: 100})])
    assert (shown(merging)[evidence], shown(merging)[limit]) == (130, 100)


def test_without_a_confirmed_copy_there_is_nothing_about_components() -> None:
    merging = Merging()
    merging.take([scrape(0, "a", **{JOBS: 5, RESOLVES: 1})])
    merging.take([Scrape(0, "a", {"rampd_copy_stale": 1, RESOLVES: 2})])
    assert shown(merging) == {"rampd_copy_stale": 1, RESOLVES: 2}
    merging.take([scrape(0, "a", **{JOBS: 6, RESOLVES: 2})])
    assert shown(merging)[JOBS] == 6


def test_a_component_that_is_damaged_everywhere_keeps_what_was_counted() -> None:
    """Given a worker that died, and a component that all others can't read, expect its total to stay when it is mended."""
    merging, damaged = Merging(), {"rampd_components": 1, "rampd_components_damaged": 1}
    merging.take([scrape(0, "a", **{JOBS: 5}), scrape(1, "b", **{JOBS: 7})])
    merging.take([Scrape(0, "a", {**damaged, JOBS: 5}), Scrape(1, "again", {"rampd_components_damaged": 2})])
    assert shown(merging)[JOBS] == 12
    assert shown(merging)["rampd_components_damaged"] == 2
    merging.take([scrape(0, "a", **{JOBS: 6})])
    assert shown(merging)[JOBS] == 13


def test_a_deleted_component_has_no_series_any_more() -> None:
    merging = Merging()
    merging.take([scrape(0, "a", **{RESOLVES: 5, JOBS: 5, SPENT: 5})])
    merging.take([Scrape(0, "a", {"rampd_components": 0})])
    assert shown(merging) == {"rampd_components": 0}
    merging.take([scrape(0, "a", **{JOBS: 1})])
    assert shown(merging)[JOBS] == 1


def test_who_sees_some_components_sees_only_their_series() -> None:
    merging = Merging()
    other = {key.replace('"a"', '"_others"'): 1 for key in (RESOLVES, STATE)}
    merging.take([scrape(0, "a", rampd_watchers=1, **{RESOLVES: 5, **other})])
    assert set(shown(merging, ("a*",))) == {"rampd_watchers", RESOLVES, STATE}
    assert set(shown(merging, ("b",))) == {"rampd_watchers"}


def test_every_sample_of_a_histogram_is_added_up() -> None:
    merging = Merging()
    bucket = 'rampd_feed_lag_seconds_bucket{le="0.1"}'
    for worker in (0, 1):
        merging.take(
            [scrape(worker, "a", rampd_feed_lag_seconds_sum=0.5, rampd_feed_lag_seconds_count=2, **{bucket: 1})]
        )
    assert shown(merging)[bucket] == 2
    assert shown(merging)["rampd_feed_lag_seconds_sum"] == 1
    assert shown(merging)["rampd_feed_lag_seconds_count"] == 4


Step = tuple[int, str, int]
steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["grow", "grow", "die", "hang"]), st.integers(0, 9)), max_size=30
)


@pytest.mark.parametrize("series", [RESOLVES, SPENT])
@given(steps=steps)
def test_whatever_happens_to_workers_no_counter_goes_back(series: str, steps: list[Step]) -> None:
    merging, values, runs, last = Merging(), [0, 0, 0], [0, 0, 0], -1.0
    for worker, what, number in steps:
        if what == "grow":
            values[worker] += number
        elif what == "die":
            runs[worker] += 1
            values[worker] = number
        answering = [each for each in range(3) if what != "hang" or each != worker]
        merging.take([scrape(each, str(runs[each]), **{series: values[each]}) for each in answering])
        assert shown(merging)[series] >= last
        last = shown(merging)[series]
