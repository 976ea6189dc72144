"""Values as stored texts: each value has one form, and is read back unchanged."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.domain.rollout.model import (
    FULL,
    Arrival,
    Assignment,
    Freeze,
    Means,
    Policy,
    Quarantine,
    QueueMode,
    Release,
    ReleaseState,
    Unit,
)
from rampd_server.ports import Override
from rampd_server.storage.codec import texts

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.integers(0, 10**15)


def test_every_percentage_has_one_text():
    written = [texts.write_percent(basis_points) for basis_points in range(FULL + 1)]

    assert len(set(written)) == FULL + 1
    assert [texts.read_percent(text) for text in written] == list(range(FULL + 1))
    assert (written[1], written[25], written[50], written[1000], written[1050], written[FULL]) == (
        *("0.01", "0.25", "0.5"),
        *("10", "10.5", "100"),
    )


@pytest.mark.parametrize(
    "text",
    ["", "-1", "100.01", "101", "1000", "10.0", "10.10", ".5", "5.", "010", "1e1", "10%", "NaN", " 10", "10\n", "٣"],
)
def test_an_invalid_percentage_is_refused(text: str):
    with pytest.raises(ValueError, match="percentage"):
        texts.read_percent(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "01", "1.0", "1e3", " 1", "1\n", "٣", "1_000", "9" * 19])
def test_a_text_that_is_not_a_whole_number_is_refused(text: str):
    with pytest.raises(ValueError, match="whole number"):
        texts.read_integer(text)


@given(st.builds(Arrival, st.sampled_from(Means), TEXTS, TEXTS, TIMES, TEXTS))
def test_the_way_a_release_became_current_is_read_back(arrival: Arrival):
    text = texts.write_arrival(arrival)

    assert texts.read_arrival(text) == arrival


@given(
    st.builds(
        Release, st.integers(1, 9), TEXTS.filter(bool), st.sampled_from(ReleaseState), TEXTS, TEXTS, TIMES, TIMES, TEXTS
    )
)
def test_a_release_is_read_back(release: Release):
    text = texts.write_release(release)

    assert texts.read_release(release.number, text, {}) == release
    assert "\n" not in text


@given(st.builds(Freeze, TEXTS, TEXTS, TIMES, st.none() | TIMES))
def test_a_freeze_is_read_back(freeze: Freeze):
    assert texts.read_freeze(texts.write_freeze(freeze)) == freeze


@given(st.builds(Quarantine, TEXTS, TEXTS, TIMES))
def test_a_quarantine_is_read_back(quarantine: Quarantine):
    assert texts.read_quarantine(texts.write_quarantine(quarantine)) == quarantine


def test_a_text_of_which_a_component_may_have_many_is_read_once() -> None:
    """Expect one value: the event loop would be busy for milliseconds at each question about such a component."""
    quarantine = texts.write_quarantine(Quarantine("ada", "it breaks", 1))
    assignment = texts.write_assignment(Assignment(7, 2, 1000, Unit.REPO, 1))
    assert texts.read_quarantine(quarantine) is texts.read_quarantine(quarantine)
    assert texts.read_assignment(7, assignment) is texts.read_assignment(7, assignment)


@given(st.builds(Policy, st.sampled_from(QueueMode), st.sampled_from(Unit)))
def test_a_policy_is_read_back(policy: Policy):
    assert texts.read_policy(texts.write_policy(policy)) == policy


@given(st.builds(Assignment, TIMES, TIMES, st.integers(0, FULL), st.sampled_from(Unit), TIMES))
def test_an_assignment_is_read_back(assignment: Assignment):
    assert texts.read_assignment(assignment.revision, texts.write_assignment(assignment)) == assignment


@pytest.mark.parametrize(
    ("override", "text"),
    [
        (Override(channel="CURRENT"), "channel=current"),
        (Override(channel="NEXT", expire_ms=0), "channel=next expire=0"),
        (Override(tag="pb/secret-branch"), "tag=pb/secret-branch"),
        (Override(tag="channel=next"), "tag=channel=next"),
        (Override(tag="registry:5000/a@sha256:00", expire_ms=17), "tag=registry:5000/a@sha256:00 expire=17"),
    ],
)
def test_an_override_is_read_back(override: Override, text: str):
    assert texts.write_override(override) == text
    assert texts.read_override(text) == override


def test_equal_overrides_share_one_object():
    assert texts.read_override("tag=pb/x") is texts.read_override("tag=pb/x")


@pytest.mark.parametrize(
    ("kind", "write", "whole"),
    [
        (Freeze, texts.write_freeze, Freeze("a", "n", 1, 2)),
        (Quarantine, texts.write_quarantine, Quarantine("a", "n", 1)),
        (Policy, texts.write_policy, Policy()),
        (Release, texts.write_release, Release(1, "t", ReleaseState.NEXT, "a", "n", 1, 2, "e", {"k": "v"})),
    ],
)
def test_no_field_is_forgotten(kind: type, write, whole: object):
    fields = {field.name for field in dataclasses.fields(kind)}

    assert set(json.loads(write(whole))) == fields - {"number", "attributes", "automation"}
