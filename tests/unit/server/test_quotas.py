"""Limits for each identity, as rates over time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.access.grants import Grant, Limits
from rampd_server.access.quotas import Quota, Quotas, Rate
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import LimitExceededError, Reason

GRANT = Grant("launcher-a", Role.LAUNCHER, limits=Limits(calls_per_s=2, burst=4, streams=2, outcomes_per_s=10))


def test_a_burst_comes_at_once_and_the_next_waits_for_its_turn() -> None:
    """2 a second and a burst of 4, by hand: 4 at 100 s, the fifth half a second later."""
    rate = Rate(2, 4)
    assert [rate.take(1, 100.0) for _ in range(6)] == [0, 0, 0, 0, 0.5, 0.5]
    assert rate.take(1, 100.25) == 0.25
    assert rate.take(1, 100.5) == 0
    assert rate.take(1, 100.5) == 0.5


def test_what_was_refused_counts_for_nothing() -> None:
    rate = Rate(2, 1)
    assert rate.take(1, 0.0) == 0
    assert [rate.take(1, 0.25) for _ in range(100)] == [0.25] * 100
    assert rate.take(1, 0.5) == 0


def test_a_pause_gives_no_more_than_the_burst_back() -> None:
    rate = Rate(2, 4)
    assert [rate.take(1, 0.0) for _ in range(4)] == [0] * 4
    assert [rate.take(1, 1_000.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]


def test_several_at_once_count_as_so_many() -> None:
    rate = Rate(10, 10)
    assert rate.take(7, 0.0) == 0
    assert rate.take(4, 0.0) == pytest.approx(0.1)
    assert rate.take(3, 0.0) == 0


def test_more_at_once_than_the_burst_come_after_a_pause_and_are_waited_for() -> None:
    rate = Rate(10, 10)
    assert rate.take(1000, 0.0) == 0
    assert rate.take(1, 0.0) == pytest.approx(99.1)
    assert rate.take(1000, 99.9) > 0
    assert rate.take(1000, 100.1) == 0


@given(
    per_s=st.floats(0.1, 10_000),
    burst=st.integers(1, 1_000),
    start_s=st.floats(0, 1e7),
    pauses_s=st.lists(st.one_of(st.just(0.0), st.floats(0, 5)), max_size=200),
)
def test_in_no_time_more_come_than_the_burst_and_the_rate_allow(
    per_s: float, burst: int, start_s: float, pauses_s: list[float]
) -> None:
    rate = Rate(per_s, burst)
    taken: list[float] = []
    now_s = start_s
    for pause_s in pauses_s:
        now_s += pause_s
        if not rate.take(1, now_s):
            taken.append(now_s)
    for first, begin_s in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + per_s * (taken[last] - begin_s + 1e-4) + 1e-3


@given(per_s=st.floats(0.1, 10_000), burst=st.integers(1, 300), now_s=st.floats(0, 1e7))
def test_a_whole_burst_always_comes(per_s: float, burst: int, now_s: float) -> None:
    """Given sums of floats that are off by a little, expect that the last one of a burst is not refused for it."""
    rate = Rate(per_s, burst)
    assert [rate.take(1, now_s) for _ in range(burst)] == [0] * burst


@given(per_s=st.floats(0.1, 10_000), burst=st.integers(1, 30), now_s=st.floats(0, 1e7))
def test_who_waits_as_told_comes_in(per_s: float, burst: int, now_s: float) -> None:
    rate = Rate(per_s, burst)
    while not (wait_s := rate.take(1, now_s)):
        pass
    assert rate.take(1, now_s + wait_s) == 0


def test_a_limit_is_refused_with_its_name_and_when_to_come_again() -> None:
    quota = Quota(GRANT)
    for _ in range(4):
        quota.take_call(50.0)
    with pytest.raises(LimitExceededError) as caught:
        quota.take_call(50.0)
    assert (caught.value.reason, dict(caught.value.metadata)) == (Reason.LIMIT_EXCEEDED, {"limit": "calls_per_s"})
    assert caught.value.retry_after_s == 0.5
    assert caught.value.message.startswith("launcher-a has used up its calls a second. Try again in 0.5 s.")


def test_outcomes_have_a_rate_of_their_own() -> None:
    quota = Quota(GRANT)
    quota.take_outcomes(10, 0.0)
    with pytest.raises(LimitExceededError) as caught:
        quota.take_outcomes(5, 0.0)
    assert caught.value.retry_after_s == pytest.approx(0.5)
    quota.take_call(0.0)


def test_streams_are_counted_while_they_are_open() -> None:
    quota = Quota(GRANT)
    quota.open_stream()
    quota.open_stream()
    with pytest.raises(LimitExceededError, match=r"open streams.*`limits\.streams`"):
        quota.open_stream()
    quota.close_stream()
    quota.open_stream()


def test_each_identity_has_a_quota_of_its_own_for_as_long_as_its_limits_stay() -> None:
    quotas = Quotas()
    mine = quotas.of(GRANT)
    assert quotas.of(replace(GRANT, name="launcher-b")) is not mine
    # The access file was read again, and another token does not give a new burst.
    assert quotas.of(replace(GRANT, tokens=("sha256:" + "0" * 64,))) is mine
    assert quotas.of(replace(GRANT, limits=Limits(burst=5))) is not mine
