"""How answers to a check are counted, and when the counts begin again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.domain.automation.check_answer import Answer
from rampd_server.domain.automation.check_counts import (
    CheckCounts,
    count,
    is_asked,
    passes,
    query_of,
    reading,
    scope_of,
)
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Automation, Check, Step
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.progress import Cause, Driver, Progress
from tests.rollouts import NOW, after, held, rolling_out, steady

CHECK = Check("errors", 'sum(rate(errors{tag="{{tag}}"}[5m]))', minimum=0.0, maximum=1.0)
PASS, FAIL, ERROR = Answer(0.5), Answer(7.0), Answer(error="connection refused by http://p")
ANSWERS = st.sampled_from([PASS, FAIL, ERROR])
HOLDING = Progress(Driver.PLAN, hold_since_ms=NOW, moved_ms=NOW)


def holding(**changes: object) -> Rollout:
    rollout = after(rolling_out(), commands.SetPolicy({"automation": Automation(steps=(Step(500),), checks=(CHECK,))}))
    return replace(rollout, progress=HOLDING, **changes)


def told(*answers: Answer, rollout: Rollout | None = None, before: CheckCounts | None = None) -> CheckCounts:
    counts = before
    for answer in answers:
        counts = count(counts, answer, CHECK, rollout or holding())
    assert counts is not None
    return counts


def known(*answers: Answer, rollout: Rollout | None = None) -> CheckReading:
    return reading(CHECK, rollout or holding(), told(*answers))


def test_a_check_that_was_never_asked_neither_passed_nor_failed():
    assert reading(CHECK, holding(), None) == CheckReading("errors")


@pytest.mark.parametrize(("value", "is_good"), [(0.0, True), (1.0, True), (-1e-9, False), (1.0000001, False)])
def test_a_value_equal_to_its_bound_passes(value: float, is_good: bool):
    assert passes(CHECK, value) is is_good


@pytest.mark.parametrize(("minimum", "maximum", "is_good"), [(None, 1.0, False), (1.0, None, True)])
def test_one_bound_is_enough(minimum: float | None, maximum: float | None, is_good: bool):
    assert passes(replace(CHECK, minimum=minimum, maximum=maximum), 2.0) is is_good


def test_failures_and_errors_are_counted_in_a_row():
    assert known(FAIL, FAIL) == CheckReading("errors", failures=2, value=7.0)
    assert known(FAIL, FAIL, PASS) == CheckReading("errors", has_passed=True, value=0.5)
    assert known(ERROR, ERROR) == CheckReading("errors", errors=2, error=ERROR.error)
    assert known(ERROR, ERROR, FAIL) == CheckReading("errors", failures=1, value=7.0)


def test_an_error_neither_ends_nor_lengthens_a_row_of_failures():
    assert known(FAIL, ERROR, ERROR, FAIL).failures == 2


def test_an_error_is_shown_beside_the_last_value():
    assert known(FAIL, ERROR) == CheckReading("errors", 1, 1, value=7.0, error=ERROR.error)


@given(st.lists(ANSWERS, max_size=30))
def test_counts_equal_those_of_a_list_of_all_answers(answers: list[Answer]):
    found = known(*answers) if answers else reading(CHECK, holding(), None)

    errors = next((i for i, answer in enumerate(reversed(answers)) if answer is not ERROR), len(answers))
    values = [answer for answer in answers if answer is not ERROR]
    failures = next((i for i, answer in enumerate(reversed(values)) if answer is PASS), len(values))
    assert (found.errors, found.failures, found.has_passed) == (errors, failures, PASS in answers)
    assert found.value == (values[-1].value if values else None)
    assert bool(found.error) == bool(errors)


@given(st.lists(st.just(ERROR), min_size=1, max_size=50))
def test_a_check_without_data_never_passes_and_never_fails(answers: list[Answer]):
    assert (known(*answers).has_passed, known(*answers).failures) == (False, 0)


FROM_ZERO = [
    holding(trial=2),
    holding(next=5),
    replace(holding(), progress=replace(HOLDING, resumed_ms=NOW + 1)),
]


@pytest.mark.parametrize("rollout", FROM_ZERO)
def test_counts_begin_again_with_a_new_next_or_trial_or_resume(rollout: Rollout):
    before = told(FAIL, ERROR)

    assert reading(CHECK, rollout, before) == CheckReading("errors")
    assert told(ERROR, rollout=rollout, before=before) == told(ERROR, rollout=rollout)


@pytest.mark.parametrize("changes", [{"query": "other"}, {"maximum": 2.0}, {"minimum": None}])
def test_counts_begin_again_with_another_query(changes: dict[str, object]):
    assert reading(replace(CHECK, **changes), holding(), told(FAIL)) == CheckReading("errors")


def test_counts_do_not_depend_on_the_allowed_failures_and_errors():
    changed = replace(CHECK, failures_allowed=9, errors_allowed=9, interval_ms=5000)
    assert scope_of(changed, holding()) == scope_of(CHECK, holding())


def test_counts_begin_again_with_a_resume_after_a_broken_source():
    """Given automation that paused for a broken check, if a person resumes, expect no pause for the old errors."""
    broken = replace(holding(), progress=HOLDING.paused(Cause.CHECK_BROKEN), paused=True)
    errors = told(ERROR, ERROR, rollout=broken)

    resumed = after(broken, commands.Resume())

    assert reading(CHECK, broken, errors).errors == 2
    assert reading(CHECK, resumed, errors) == CheckReading("errors")


def test_a_pause_and_a_step_keep_the_counts():
    ramped = after(holding(), commands.Ramp(2500))
    paused = after(holding(), commands.Pause())

    assert reading(CHECK, ramped, told(FAIL, ERROR)).failures == 1
    assert reading(CHECK, paused, told(FAIL, ERROR)).errors == 1


def test_a_pass_counts_only_for_the_hold_in_which_the_check_was_asked():
    later = replace(holding(), progress=replace(HOLDING, hold_since_ms=NOW + 60_000))
    passed = told(PASS)

    assert reading(CHECK, holding(), passed).has_passed
    assert not reading(CHECK, later, passed).has_passed
    assert not reading(CHECK, later, told(FAIL, rollout=later, before=passed)).has_passed
    assert reading(CHECK, later, told(PASS, ERROR, rollout=later, before=passed)).has_passed


def test_checks_are_asked_only_while_jobs_run_next():
    assert is_asked(holding())
    assert is_asked(after(holding(), commands.Pause()))
    assert not is_asked(steady())
    assert not is_asked(held())
    assert not is_asked(replace(holding(), basis_points=0))


def test_a_query_is_about_next():
    check = replace(CHECK, query='f{c="{{component}}", t="{{tag}}", ch="{{channel}}"}')
    assert query_of(check, holding()) == 'f{c="restyler", t="B", ch="next"}'
