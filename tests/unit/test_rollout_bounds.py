"""What a rollout forgets: old releases, old assignments, old currents."""

from rampd_server.domain import commands, model
from rampd_server.domain.model import Absent, Assignment, ReleaseState, Unit
from tests.rollouts import after, rolling_out, steady


def test_the_last_hundred_ended_releases_are_kept_and_no_live_one_is_lost() -> None:
    rollout = after(Absent("restyler"), commands.Release("first"))
    for number in range(150):
        rollout = after(rollout, commands.Release(f"t{number}"), commands.Abandon())
    ended = [release for release in rollout.releases.values() if release.state is ReleaseState.ABANDONED]
    assert len(ended) == model.MAX_ENDED_RELEASES
    assert min(release.number for release in ended) == 52
    assert rollout.current_release.tag == "first"


def test_ten_currents_are_remembered_newest_first() -> None:
    rollout = after(Absent("restyler"), commands.Release("t0"))
    for number in range(1, 15):
        rollout = after(rollout, commands.Release(f"t{number}"), commands.Finalize(force=True))
    assert [release.tag for release in rollout.previous_releases] == [f"t{number}" for number in range(13, 3, -1)]


def test_the_timeline_tells_who_got_next_from_which_revision_on() -> None:
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


def test_a_unit_set_during_a_rollout_is_in_force_from_the_next_release_on() -> None:
    rollout = after(rolling_out(), commands.SetPolicy({"unit": Unit.JOB}))
    assert rollout.unit is Unit.REPO
    assert after(rollout, commands.Abandon()).unit is Unit.JOB
