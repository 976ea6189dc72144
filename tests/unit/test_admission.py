"""Which outcomes count, and for which weight and channel. The timeline decides that, not the reporter."""

import pytest

from rampd._decision.bucketing import bucket
from rampd_server.domain.evidence.admission import (
    EXPLANATIONS,
    Admission,
    Counted,
    IgnoredReason,
    JobOutcome,
    Trial,
    trial_of,
)
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Rollout, Unit
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, after, held, rolling_out, steady

CURRENT, NEXT = 3, 4
AT_TEN = rolling_out()
REVISION = AT_TEN.timeline[-1].revision


def unit(*, is_next: bool, weight: int = 1000, release: int = NEXT) -> str:
    """Returns a repo that gets the channel."""
    return next(
        name
        for name in (f"acme/app-{number}" for number in range(10_000))
        if (bucket("restyler", release, name) < weight) is is_next
    )


def outcome(*, is_next: bool | None = False, **fields: object) -> JobOutcome:
    """Returns the outcome of a job that the weights assigned at 10 %, as a correct launcher reports it."""
    honest = JobOutcome(
        component="restyler",
        release=NEXT if is_next else CURRENT,
        revision=REVISION,
        is_next=is_next,
        reason="WEIGHT",
        repo=unit(is_next=bool(is_next)),
        job_id="",
        is_failed=True,
        duration_ms=7,
    )
    return honest._replace(**fields)


def admit(rollout: Rollout, reported: JobOutcome) -> Counted | IgnoredReason | None:
    return Admission(rollout).admit(reported)


@pytest.mark.parametrize("is_next", [False, True])
def test_a_faithful_report_counts_at_the_weight_it_was_resolved_at(is_next: bool):
    reported = outcome(is_next=is_next)
    assert admit(AT_TEN, reported) == Counted(1000, is_next, True, reported.repo, 7)


def test_the_weight_is_that_of_the_revision_and_not_the_present_one():
    later = after(AT_TEN, commands.Ramp(5000), commands.Ramp(2500))
    assert admit(later, outcome()) == admit(AT_TEN, outcome())
    # A revision between two entries of the timeline has the weight of the entry before it.
    assert admit(later, outcome(revision=REVISION + 1)) == admit(AT_TEN, outcome())
    at_half = later.timeline[-2]
    assert at_half.basis_points == 5000
    repo = unit(is_next=True, weight=5000)
    found = admit(later, outcome(is_next=True, revision=at_half.revision, repo=repo))
    assert found == Counted(5000, True, True, repo, 7)


@pytest.mark.parametrize(
    "wrong",
    [
        outcome(is_next=True, repo=unit(is_next=False)),
        outcome(is_next=False, repo=unit(is_next=True)),
        outcome(release=NEXT),
        outcome(release=1),
        outcome(release=5),
        outcome(is_next=True, release=CURRENT),
        outcome(is_next=None),
        outcome(is_next=True, revision=AT_TEN.timeline[-2].revision),  # at 0 %
    ],
)
def test_an_outcome_that_contradicts_the_weights_is_a_mismatch(wrong: JobOutcome):
    assert admit(AT_TEN, wrong) is IgnoredReason.ASSIGNMENT_MISMATCH


@pytest.mark.parametrize("release", [0, 6, 10**12])
def test_a_release_that_never_existed_is_not_found(release: int):
    assert admit(AT_TEN, outcome(release=release)) is IgnoredReason.RELEASE_NOT_FOUND
    assert admit(AT_TEN, outcome(release=release, reason="OVERRIDE_CHANNEL")) is IgnoredReason.RELEASE_NOT_FOUND


@pytest.mark.parametrize("reason", ["WEIGHT", "OVERRIDE_TAG", "STALE"])
def test_a_revision_must_be_in_the_timeline(reason: str):
    first = AT_TEN.timeline[0].revision
    assert admit(AT_TEN, outcome(revision=AT_TEN.revision + 1, reason=reason)) is IgnoredReason.REVISION_UNKNOWN
    assert admit(AT_TEN, outcome(revision=2**63 - 1, reason=reason)) is IgnoredReason.REVISION_UNKNOWN
    assert admit(AT_TEN, outcome(revision=first - 1, reason=reason)) is IgnoredReason.REVISION_TOO_OLD
    assert admit(AT_TEN, outcome(revision=AT_TEN.revision)) == admit(AT_TEN, outcome())


def test_outcomes_of_another_release_do_not_count():
    assert admit(after(AT_TEN, commands.Abandon()), outcome()) is IgnoredReason.ROLLOUT_ENDED
    finalized = after(AT_TEN, commands.Finalize())
    assert finalized.next == 5
    assert admit(finalized, outcome(is_next=True)) is IgnoredReason.ROLLOUT_ENDED


def test_outcomes_of_an_earlier_trial_do_not_count():
    again = after(held(), commands.Ramp(1000))
    assert again.trial == 2
    assert admit(again, outcome()) is IgnoredReason.TRIAL_ENDED
    assert isinstance(admit(again, outcome(revision=again.revision)), Counted)


def test_a_held_rollout_still_counts_earlier_jobs():
    assert isinstance(admit(held(), outcome(is_next=True)), Counted)


def test_a_job_of_a_replaced_current_counts_as_current():
    reverted = after(AT_TEN, commands.Revert("O"))
    assert reverted.current != CURRENT
    assert isinstance(admit(reverted, outcome()), Counted)


@pytest.mark.parametrize("reason", ["OVERRIDE_CHANNEL", "STALE", "STEADY"])
def test_outcomes_that_were_not_randomised_are_counted_for_display_only(reason: str):
    repo = unit(is_next=True)
    assert admit(AT_TEN, outcome(reason=reason, repo=repo)) == Counted(None, False, True, "", 7)


def test_a_repo_that_is_pinned_to_a_tag_counts_for_the_channel_of_that_tag():
    for release, is_next in ((AT_TEN.current, False), (AT_TEN.next, True)):
        pinned = outcome(is_next=None, reason="OVERRIDE_TAG", release=release)
        assert admit(AT_TEN, pinned) == Counted(None, is_next, True, "", 7)


@pytest.mark.parametrize(
    "reported",
    [
        outcome(is_next=None, reason="OVERRIDE_TAG", release=0),
        outcome(is_next=None, reason="OVERRIDE_TAG", release=1),
        outcome(is_next=None, reason="FALLBACK", release=0, revision=0),
        outcome(reason="STEADY", revision=AT_TEN.timeline[0].revision, release=1),
        outcome(reason="OVERRIDE_CHANNEL", release=2),
    ],
)
def test_an_outcome_without_a_channel_of_the_rollout_is_accepted(reported: JobOutcome):
    assert admit(AT_TEN, reported) is None


def test_jobs_of_current_without_a_rollout_are_counted_for_display_only():
    rollout = steady()
    found = admit(rollout, outcome(reason="STEADY", revision=rollout.revision))
    assert found == Counted(None, False, True, "", 7)
    assert admit(rollout, outcome(revision=rollout.revision)) is IgnoredReason.ASSIGNMENT_MISMATCH


def test_a_job_is_the_unit_if_the_policy_said_so():
    rollout = after(
        Absent("restyler"),
        commands.Release("A"),
        commands.SetPolicy({"unit": Unit.JOB}),
        commands.Release("B"),
        commands.Ramp(5000),
    )
    job = unit(is_next=True, weight=5000, release=2)
    common = {"is_next": True, "release": 2, "revision": rollout.revision}
    assert admit(rollout, outcome(**common, job_id=job, repo="x")) == Counted(5000, True, True, job, 7)
    assert admit(rollout, outcome(**common, job_id="", repo=job)) == Counted(5000, True, True, job, 7)
    assert admit(AT_TEN, outcome(job_id="any")) == admit(AT_TEN, outcome())


def test_the_present_trial_is_identified_by_release_and_number():
    assert trial_of(AT_TEN) == Trial(NEXT, 1, AT_TEN.revision)
    assert trial_of(steady()) == Trial(CURRENT, 0, steady().revision)


def test_every_reason_has_its_explanation():
    assert EXPLANATIONS.keys() == set(IgnoredReason)


def test_a_revision_before_a_cut_timeline_is_too_old():
    rollout = AT_TEN
    for number in range(300):
        rollout = transition(rollout, commands.Ramp(1000 + 100 * (number % 2 + 1)), Context(NOW, "ada")).after
        assert isinstance(rollout, Rollout)
    assert admit(rollout, outcome()) is IgnoredReason.REVISION_TOO_OLD
