"""Hypothesis strategies for the states of a component that decisions use."""

from hypothesis import strategies as st

from rampd._decision.resolution import (
    Channel,
    Choice,
    ComponentSnapshot,
    Overrides,
    RolloutState,
    SnapshotRelease,
    Unit,
)

REPOS = st.sampled_from(["acme/app", "acme/web", "acme/*", "acme/app/*", "group/sub/*", "other/x", "plain", "a/*/b"])
"""Repos and prefixes that overrides pin."""
EXPIRIES = st.one_of(st.none(), st.integers(0, 2**45))
CHOICES = st.one_of(
    st.builds(Choice, st.sampled_from(Channel), st.just(""), EXPIRIES),
    st.builds(Choice, st.none(), st.sampled_from(["t1", "pb/x"]), EXPIRIES),
)


@st.composite
def snapshots(draw: st.DrawFn, revision: int = 1) -> ComponentSnapshot:
    numbers = draw(st.lists(st.integers(1, 12), min_size=1, max_size=8, unique=True))
    releases = [SnapshotRelease(number, f"t{number}", {"commit": f"c{number}"}) for number in numbers]
    state = draw(st.sampled_from(RolloutState)) if len(releases) > 1 else RolloutState.STEADY
    rest = releases[1:] if state is RolloutState.STEADY else releases[2:]
    cut = draw(st.integers(0, len(rest)))
    return ComponentSnapshot(
        component="restyler",
        revision=revision,
        state=state,
        current=releases[0],
        next=None if state is RolloutState.STEADY else releases[1],
        basis_points=draw(st.integers(0, 10_000)) if state is RolloutState.ROLLING_OUT else 0,
        unit=draw(st.sampled_from(Unit)),
        queued=tuple(rest[:cut]),
        previous=tuple(rest[cut:]),
        lost=draw(st.sampled_from([(), ((3, 4),), ((3, 4), (9, 9))])),
    )


def overrides(changes: dict[str, Choice]) -> Overrides:
    made = Overrides()
    for repo, choice in changes.items():
        made.set(repo, choice)
    return made
