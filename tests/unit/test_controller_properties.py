"""Properties of every decision, for any rollout, counters and time."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rampd._evidence.counters import Split, Tally, TrialCounters
from rampd_server.domain.automation.clock import Clock
from rampd_server.domain.automation.decision import Action, Decision, Observed, decide
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.automation.next_look import next_change_ms
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import (
    AfterRollback,
    Automation,
    Check,
    OnRegression,
    Step,
    violations,
)
from rampd_server.domain.rollout.effect import Effect
from rampd_server.domain.rollout.model import Freeze, Rollout, RolloutState
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.rollout.progress import Cause, Driver, Progress
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, after, held, rolling_out, steady

HOUR_MS = 3_600_000
FREEZES = st.sampled_from([None, None, None, Freeze("ada", "", NOW), Freeze("ada", "", NOW, NOW + 1)])
SPANS = st.sampled_from([0, 1_000, HOUR_MS])
TIMES = st.integers(-2, 2).map(lambda hours: NOW + hours * HOUR_MS)
WEIGHTS = st.sampled_from([0, 100, 500, 1000, 2500, 5000, 9500, 9999, 10_000])
AUTOMATIONS = st.builds(
    Automation,
    steps=st.lists(st.builds(Step, WEIGHTS, SPANS, st.sampled_from([0, 0, 5]), st.booleans()), max_size=4).map(
        lambda steps: tuple(sorted(steps, key=lambda step: step.basis_points))
    ),
    max_basis_points=st.sampled_from([9500, 9999]),
    auto_start=st.booleans(),
    auto_finalize=st.booleans(),
    on_regression=st.sampled_from(OnRegression),
    after_rollback=st.sampled_from(AfterRollback),
    alpha=st.sampled_from([0.01, 0.5]),
    tolerance=st.sampled_from([1.0, 1.25, 3.0]),
    max_failure_rate=st.sampled_from([0.0, 0.1]),
    on_max_failure_rate=st.sampled_from(OnRegression),
    checks=st.sampled_from([(), (), (Check("a", "q", maximum=1.0),)]),
    stuck_after_ms=st.sampled_from([None, None, 2 * HOUR_MS]),
).filter(lambda automation: not violations(automation))
COUNTS = st.builds(Split, st.integers(0, 30), st.integers(0, 30))
COUNTERS = st.builds(
    TrialCounters,
    st.dictionaries(WEIGHTS, st.builds(Tally, COUNTS, COUNTS, COUNTS, st.just(Split()), COUNTS), max_size=3),
    reporters=st.integers(0, 8),
    next_failures_by_reporter=st.just({"a": {500: 3}, "b": {2500: 9}}),
)
PROGRESSES = st.builds(
    Progress,
    st.sampled_from(Driver),
    st.none() | TIMES,
    TIMES,
    st.sampled_from([None, *Cause]),
    st.frozensets(st.sampled_from(Cause), max_size=2),
    is_approved=st.booleans(),
)
CLOCKS = st.builds(Clock, TIMES, st.none() | TIMES, st.sampled_from([0, HOUR_MS, -HOUR_MS])).filter(
    lambda clock: clock.jump_ms is None or clock.jump_ms <= clock.now_ms
)
READINGS = st.builds(CheckReading, st.just("a"), st.integers(0, 2), st.integers(0, 9), st.booleans())


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    rollout = after(
        draw(st.sampled_from([steady, rolling_out, rolling_out, rolling_out, held]))(),
        commands.SetPolicy({"automation": draw(AUTOMATIONS)}),
    )
    rollout = replace(rollout, freeze=draw(FREEZES))
    if rollout.state is not RolloutState.ROLLING_OUT:
        return rollout
    return replace(
        rollout,
        basis_points=draw(WEIGHTS),
        paused=draw(st.booleans()),
        progress=draw(PROGRESSES),
        confirm_deadline_ms=draw(st.sampled_from([None, None, NOW - 1, NOW + 1])),
    )


OBSERVED = st.builds(Observed, rollouts(), COUNTERS, CLOCKS, st.lists(READINGS, max_size=1), freeze_all=FREEZES)


def committed(observed: Observed, decision: Decision) -> Effect:
    context = Context(observed.clock.now_ms, "rampd", decision.reason, freeze_all=observed.freeze_all)
    outcome = transition(observed.rollout, commands.Decide(decision.progress, decision.command), context)
    assert outcome.changed
    return outcome


@given(OBSERVED)
def test_every_decision_can_be_committed_and_does_what_it_says(observed: Observed):
    before, decision = observed.rollout, decide(observed)

    assert decision.reason
    if decision.action is Action.WAIT:
        assert (decision.command, decision.progress) == (None, before.progress)
        return
    rollout = committed(observed, decision).after
    assert isinstance(rollout, Rollout)
    if rollout.next == before.next:
        assert rollout.progress == decision.progress
    if decision.command is None:
        assert decision.action in {Action.HOLD, Action.NOTIFY}
        return
    if decision.action is Action.STEP:
        assert before.basis_points < rollout.basis_points <= before.policy.automation.max_basis_points
    elif decision.action is Action.FINALIZE:
        assert rollout.current == before.next
    elif decision.action is Action.ROLLBACK:
        assert rollout.held_reason or rollout.next != before.next
        assert rollout.current == before.current
    else:
        assert (decision.action, rollout.paused, rollout.basis_points) == (Action.PAUSE, True, before.basis_points)


@given(OBSERVED)
def test_nothing_rises_while_paused_frozen_held_or_unconfirmed(observed: Observed):
    rollout = observed.rollout
    is_stopped = (
        rollout.paused
        or rollout.held_reason
        or rollout.confirm_deadline_ms is not None
        or freezes(rollout, Context(observed.clock.now_ms, freeze_all=observed.freeze_all))
        or observed.progress.driver is Driver.PERSON
    )

    if is_stopped:
        assert decide(observed).action not in {Action.STEP, Action.FINALIZE, Action.HOLD}


@given(OBSERVED)
def test_held_and_steady_rollouts_are_not_changed(observed: Observed):
    if observed.rollout.state is not RolloutState.ROLLING_OUT:
        assert decide(observed).action is Action.WAIT


@given(OBSERVED)
def test_each_decision_is_made_once(observed: Observed):
    # Only steps without a hold may follow each other at the same moment. In the end there is nothing left to do.
    decisions = 0
    decision = decide(observed)
    while decision.action is not Action.WAIT:
        decisions += 1
        assert decisions < 20
        rollout = committed(observed, decision).after
        assert isinstance(rollout, Rollout)
        is_same = rollout.next == observed.rollout.next
        observed = replace(observed, rollout=rollout, counters=observed.counters if is_same else TrialCounters())
        decision = decide(observed)


@given(OBSERVED)
def test_two_servers_decide_the_same(observed: Observed):
    again = replace(observed, counters=replace(observed.counters, by_weight=dict(
        reversed(list(observed.counters.by_weight.items()))
    )))  # fmt: skip

    assert decide(again) == decide(observed)


@given(OBSERVED, st.integers(1, 3 * HOUR_MS))
def test_time_alone_decides_nothing_before_the_predicted_moment(observed: Observed, passed_ms: int):
    if decide(observed).action is not Action.WAIT:
        return
    clock = observed.clock
    foretold_ms = next_change_ms(observed)
    then_ms = clock.now_ms + passed_ms
    if foretold_ms is not None:
        assert foretold_ms > clock.now_ms
        then_ms = min(then_ms, foretold_ms - 1)

    assert decide(replace(observed, clock=replace(clock, now_ms=then_ms))).action is Action.WAIT
