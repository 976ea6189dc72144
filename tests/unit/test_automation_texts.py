"""A policy's automation in Redis: a written text is read back, and any other text is refused."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.domain.rollout.automation_policy import AfterRollback, Automation, Check, OnRegression, Step
from rampd_server.domain.rollout.model import Policy
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.automation_texts import read_automation, write_automation

COUNTS = st.integers(0, 10**12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
AUTOMATIONS = st.builds(
    Automation,
    steps=st.lists(st.builds(Step, COUNTS, COUNTS, COUNTS, st.booleans()), max_size=5).map(tuple),
    max_basis_points=COUNTS,
    auto_start=st.booleans(),
    auto_finalize=st.booleans(),
    on_regression=st.sampled_from(OnRegression),
    after_rollback=st.sampled_from(AfterRollback),
    alpha=NUMBERS,
    tolerance=NUMBERS,
    maturation_ms=COUNTS,
    max_failure_rate=NUMBERS,
    on_max_failure_rate=st.sampled_from(OnRegression),
    checks=st.lists(
        st.builds(
            Check,
            name=st.text(),
            query=st.text(),
            interval_ms=COUNTS,
            minimum=st.none() | NUMBERS,
            maximum=st.none() | NUMBERS,
            failures_allowed=COUNTS,
            errors_allowed=COUNTS,
        ),
        max_size=3,
    ).map(tuple),
    confirm_within_ms=st.none() | COUNTS,
    stuck_after_ms=st.none() | COUNTS,
)


@given(AUTOMATIONS)
def test_automation_is_read_back_unchanged(automation: Automation):
    assert read_automation(write_automation(automation)) == automation


@given(AUTOMATIONS)
def test_automation_is_read_back_with_its_policy(automation: Automation):
    policy = Policy(automation=automation)

    assert texts.read_policy(texts.write_policy(policy)) == policy


def test_no_field_is_forgotten():
    names = {field.name for field in dataclasses.fields(Automation)}
    other = Automation(
        (Step(1, 2, 3),), 1, True, True, OnRegression.PAUSE, AfterRollback.CONTINUE, 0.1, 2.0, 1, 0.1,
        OnRegression.NOTIFY, (Check("a", "b"),), 1, 1,
    )  # fmt: skip

    assert set(write_automation(other)) == names


def test_defaults_are_not_written():
    assert write_automation(Automation()) == {}
    assert texts.write_policy(Policy()) == '{"queue_mode":"FIFO","unit":"REPO"}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps", "500:0"),
        ("steps", "500:0:0:0"),
        ("steps", "500:0:x"),
        ("steps", "+500:0:0"),
        ("steps", "500:0:0  600:0:0"),
        ("steps", ""),
        ("alpha", "0.010"),
        ("alpha", "one"),
        ("auto_start", "yes"),
        ("auto_start", "0"),
        ("on_regression", "EXPLODE"),
        ("checks", "[{}]"),
        ("checks", "{}"),
        ("checks", '[{"name":"a","query":"b","colour":1}]'),
        ("checks", "[" * 100_000),
        ("stuck_after_ms", "soon"),
    ],
)
def test_a_text_that_rampd_did_not_write_is_refused(name: str, text: str):
    with pytest.raises(ValueError, match="rampd"):
        read_automation({name: text})
