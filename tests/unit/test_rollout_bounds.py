"""The limits of a rollout's memory: old releases, old assignments, old currents."""

from dataclasses import replace

import pytest

from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout import commands, model
from rampd_server.domain.rollout.model import Absent, Assignment, Quarantine, ReleaseState, Rollout, Unit
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, after, rolling_out, steady


def test_the_last_hundred_ended_releases_are_kept_and_no_live_one_is_lost() -> None:
    rollout = after(Absent("restyler"), commands.Release("first"))
    for number in range(150):
        rollout = after(rollout, commands.Release(f"t{number}"), commands.Abandon())
    ended = [release for release in rollout.releases.values() if release.state is ReleaseState.ABANDONED]
    assert len(ended) == model.MAX_ENDED_RELEASES
    assert min(release.number for release in ended) == 52
    assert rollout.current_release.tag == "first"


def test_the_last_ten_currents_are_kept_newest_first() -> None:
    rollout = after(Absent("restyler"), commands.Release("t0"))
    for number in range(1, 15):
        rollout = after(rollout, commands.Release(f"t{number}"), commands.Finalize(force=True))
    assert [release.tag for release in rollout.previous_releases] == [f"t{number}" for number in range(13, 3, -1)]


def test_the_timeline_says_which_share_got_next_from_which_revision_on() -> None:
    rollout = after(steady(), commands.Release("B"), commands.Ramp(1000), commands.Quarantine("X"), commands.Rollback())
    rollout = after(rollout, commands.Ramp(500))
    revision = steady().revision
    assert rollout.timeline[-4:] == (
        Assignment(revision + 1, 4, 0, Unit.REPO, 1),
        Assignment(revision + 2, 4, 1000, Unit.REPO, 1),
        Assignment(revision + 4, 4, 0, Unit.REPO, 1),
        Assignment(revision + 5, 4, 500, Unit.REPO, 2),
    )


def test_the_timeline_keeps_the_newest_256_assignments() -> None:
    rollout = rolling_out()
    for basis_points in range(1, 301):
        rollout = after(rollout, commands.Ramp(basis_points))
    assert len(rollout.timeline) == model.MAX_TIMELINE
    assert rollout.timeline[-1].basis_points == 300


def full_of_marks(rollout: Rollout, *others: str) -> Rollout:
    """Returns the rollout with as many quarantined tags as possible, from the oldest to the newest. `others` are even older."""
    names = [*others, *(f"Q{n}" for n in range(model.MAX_QUARANTINE - len(others)))]
    return replace(rollout, quarantine={name: Quarantine("ada", "", NOW - 2000 + n) for n, name in enumerate(names)})


def test_one_more_quarantine_than_a_thousand_is_refused_with_the_way_out() -> None:
    full = full_of_marks(rolling_out())
    with pytest.raises(
        RefusedError, match=r"1,000 tags of restyler are quarantined already\. .*Unquarantine"
    ) as caught:
        after(full, commands.Quarantine("X"))
    assert (caught.value.reason, caught.value.metadata) == ("TOO_LARGE", {"limit": "1000"})
    assert "X" in after(full, commands.Unquarantine("Q0"), commands.Quarantine("X")).quarantine


@pytest.mark.parametrize(
    ("command", "tag"),
    [
        (commands.Rollback(quarantine=True), "B"),
        (commands.Abandon(quarantine=True), "B"),
        (commands.Revert("P"), "A"),
        (commands.Quarantine("A"), "A"),
        (commands.Quarantine("B"), "B"),
        (commands.Quarantine("C"), "C"),
    ],
)
def test_a_rollback_or_revert_is_never_refused_for_the_limit_and_names_the_removed_quarantine(
    command: commands.Command, tag: str
) -> None:
    """Given that O, which Revert would go to, was quarantined longest ago, expect that another quarantine is removed."""
    outcome = transition(full_of_marks(rolling_out(), "O"), command, Context(NOW, "ada"))
    assert isinstance(outcome.after, Rollout)
    assert len(outcome.after.quarantine) == model.MAX_QUARANTINE
    assert {"O", tag} <= outcome.after.quarantine.keys()
    assert "Q0" not in outcome.after.quarantine
    assert "Q0 is not quarantined any more, because at most 1,000 tags can be." in outcome.message


def test_quarantines_beyond_the_limit_in_older_data_do_not_grow() -> None:
    full = full_of_marks(rolling_out())
    mark = full.quarantine["Q0"]
    more = replace(full, quarantine={**full.quarantine, **{f"old{n}": mark for n in range(7)}})
    assert len(after(more, commands.Rollback(quarantine=True)).quarantine) == len(more.quarantine)


def test_a_unit_set_during_a_rollout_is_in_force_from_the_next_release_on() -> None:
    rollout = after(rolling_out(), commands.SetPolicy({"unit": Unit.JOB}))
    assert rollout.unit is Unit.REPO
    assert after(rollout, commands.Abandon()).unit is Unit.JOB
