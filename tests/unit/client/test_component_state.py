"""A component is the same after its messages, as a whole state or change by change."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd import v1
from rampd._contract import component_state
from rampd._contract.component_state import (
    Assembly,
    Component,
    MalformedStateError,
    apply,
    change_of,
    parts_of,
    service_of,
)
from rampd._decision.resolution import Channel, Choice, ComponentSnapshot, RolloutState, SnapshotRelease
from tests.states import CHOICES, REPOS, overrides, snapshots


def told(component: Component) -> tuple[ComponentSnapshot, dict[str, Choice]]:
    return component.snapshot, dict(component.overrides.items())


def over_the_wire(pieces: Iterator[v1.ComponentState]) -> list[v1.ComponentState]:
    return [v1.ComponentState.FromString(piece.SerializeToString()) for piece in pieces]


@given(snapshots(), st.dictionaries(REPOS, CHOICES), st.sampled_from([1, 64 * 1024]))
def test_a_whole_state_is_the_same_after_any_split_into_messages(
    snapshot: ComponentSnapshot, changes: dict[str, Choice], size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component_state, "PIECE_BYTES", size)
        pieces = over_the_wire(parts_of(snapshot, overrides(changes).items()))
    assert size > 1 or len(pieces) > len(changes)
    assembly = Assembly()
    for piece in pieces:
        assembly.add([piece])
    assert {name: told(component) for name, component in assembly.finish().items()} == {"restyler": (snapshot, changes)}


@given(st.lists(st.tuples(snapshots(), st.dictionaries(REPOS, st.one_of(st.none(), CHOICES))), min_size=2, max_size=6))
def test_all_changes_give_the_state_and_a_repeated_change_does_no_harm(
    steps: list[tuple[ComponentSnapshot, dict[str, Choice | None]]],
) -> None:
    known: Component | None = None
    expected: dict[str, Choice] = {}
    for (before, _), (after, changes) in pairwise([(None, {}), *steps]):
        message = change_of(
            before,
            after,
            {repo: choice for repo, choice in changes.items() if choice},
            [repo for repo, choice in changes.items() if not choice],
        )
        [message] = over_the_wire(iter([message]))
        for repo, choice in changes.items():
            if choice:
                expected[repo] = choice
            else:
                expected.pop(repo, None)
        for _ in range(2):
            known = apply(known, message)
            assert told(known) == (after, expected)


def test_a_change_of_weights_contains_no_known_release_and_no_override() -> None:
    a, b = SnapshotRelease(1, "a", {"note": "x" * 1000}), SnapshotRelease(2, "b", {"note": "y" * 1000})
    before = ComponentSnapshot(
        component="c", revision=1, state=RolloutState.ROLLING_OUT, current=a, next=b, basis_points=0
    )
    after = ComponentSnapshot(
        component="c", revision=2, state=RolloutState.ROLLING_OUT, current=a, next=b, basis_points=1000
    )
    assert change_of(before, after, {}, []).ByteSize() < 40
    assert change_of(before, before.at_revision(2), {"acme/app": Choice(Channel.NEXT)}, []).ByteSize() < 30


def test_a_malformed_state_changes_nothing() -> None:
    a = SnapshotRelease(1, "a")
    steady = ComponentSnapshot(component="c", revision=1, state=RolloutState.STEADY, current=a)
    known = Component(steady, overrides({"acme/app": Choice(Channel.NEXT)}))
    resolution = v1.ResolutionState(state=v1.ROLLOUT_STATE_STEADY, current=2, unit=v1.UNIT_REPO)
    for message in (
        v1.ComponentState(component="c", revision=2, resolution=resolution),
        v1.ComponentState(component="c", revision=2, resolution=v1.ResolutionState(current=1)),
        v1.ComponentState(
            component="c", revision=2, deleted_overrides=["acme/app"], overrides=[v1.Override(repo="x/y", channel=77)]
        ),
    ):
        with pytest.raises(MalformedStateError):
            apply(known, message)
        assert told(known) == (steady, {"acme/app": Choice(Channel.NEXT)})
    with pytest.raises(MalformedStateError, match="is not known"):
        apply(None, v1.ComponentState(component="c", revision=2))
    assembly = Assembly()
    assembly.add([v1.ComponentState(component="c", revision=2)])
    with pytest.raises(MalformedStateError, match="has no weights"):
        assembly.finish()


def test_next_serves_during_a_rollout_at_any_percentage() -> None:
    a, b = SnapshotRelease(1, "a"), SnapshotRelease(2, "b")
    for state, serving in ((RolloutState.ROLLING_OUT, {1: a, 2: b}), (RolloutState.HELD, {1: a})):
        assert service_of(ComponentSnapshot(component="c", revision=1, state=state, current=a, next=b)) == serving
    assert service_of(None) == {}
