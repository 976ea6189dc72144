"""How far next has reached."""

import pytest

from rampd import v1
from rampd._decision.overrides import Channel, Choice, Overrides
from rampd._decision.resolution import ComponentSnapshot, RolloutState, SnapshotRelease
from rampd_server.domain.repo_sample import RepoSample
from rampd_server.page.component.blast import Reach, blast, reach
from tests.cli.rollouts import held, ramping, steady

REPOS = [f"acme/app-{number}" for number in range(500)]


def snapshot(state: RolloutState = RolloutState.HELD) -> ComponentSnapshot:
    return ComponentSnapshot(
        component="restyler",
        revision=12,
        state=state,
        current=SnapshotRelease(3, "20200301"),
        next=SnapshotRelease(4, "20200409"),
    )


def reached(highest: float, overrides: Overrides | None = None, sample: RepoSample | None = None) -> Reach:
    found = RepoSample(REPOS) if sample is None else sample
    return reach(snapshot(), overrides or Overrides(), found, highest, lambda: 0)


def test_the_reach_is_that_of_the_highest_percent_although_next_is_held() -> None:
    assert reached(0).reached == 0
    assert 30 <= reached(10).reached <= 75
    assert reached(100).reached == reached(100).seen == 500
    assert set(reached(1).some) <= set(reached(10, sample=RepoSample(reached(1).some)).some)


def test_ten_of_the_repos_are_named_in_order() -> None:
    found = reached(50)

    assert len(found.some) == 10
    assert list(found.some) == sorted(found.some)


def test_overrides_count_as_they_decide() -> None:
    overrides = Overrides()
    overrides.set("acme/app-1", Choice(Channel.NEXT))
    overrides.set("acme/app-2", Choice(tag="20200409"))
    overrides.set("acme/app-3", Choice(Channel.CURRENT))
    named = RepoSample(["acme/app-1", "acme/app-2", "acme/app-3"])

    assert reached(0, overrides, named).some == ("acme/app-1", "acme/app-2")
    assert reached(100, overrides, named).some == ("acme/app-1", "acme/app-2")


def test_of_very_many_repos_the_reach_is_estimated() -> None:
    many = RepoSample(f"acme/app-{number}" for number in range(5_000))

    found = reached(50, sample=many)

    assert found.is_estimated
    assert 4_000 <= found.seen <= 6_000
    assert 0.4 <= found.reached / found.seen <= 0.6


def test_without_a_next_there_is_no_blast() -> None:
    assert blast(steady(), None, None, 0) is None


def test_a_blast_names_jobs_repos_and_failures() -> None:
    found = blast(held(), v1.Release(number=4, jobs=152, failures=7), Reach(340, 34, False, ("acme/app",)), 25)

    assert found is not None
    assert found.jobs.startswith("Jobs that ran 20200409, in all of its trials: 7 of 152 failed (4.6 %).")
    assert found.reach.startswith(
        "20200409 has been at 25 % at most, and is at 0 % now. At that percent, 34 of 340 repos get it"
    )
    assert found.failures == (
        "Of the repos whose version the percent decides, 6 had a failure with 20200409 in this trial, and 4 with 20200301."
    )
    assert found.some == ("acme/app",)


@pytest.mark.parametrize(
    ("repos", "says"),
    [
        (0, ""),
        (1, "Of 1 repo, a job that ran 20200409 was reported."),
        (19, "Of 19 repos, a job that ran 20200409 was reported."),
        (49, "Of about 49 repos, a job that ran 20200409 was reported."),
        (5_020, "Of about 5,020 repos, a job that ran 20200409 was reported."),
    ],
)
def test_a_blast_says_how_many_repos_have_run_next(repos: int, says: str) -> None:
    rollout = ramping()
    del rollout.outcomes[:]
    rollout.outcomes.add(channel=v1.CHANNEL_CURRENT)
    rollout.outcomes.add(channel=v1.CHANNEL_NEXT, repos=repos)

    found = blast(rollout, None, None, 25)

    assert found is not None
    assert found.repos == says


def test_no_more_repos_have_run_next_than_jobs_did() -> None:
    rollout = ramping()
    del rollout.outcomes[:]
    rollout.outcomes.add(channel=v1.CHANNEL_NEXT, repos=1_007)

    found = blast(rollout, v1.Release(number=4, jobs=1_006), None, 25)

    assert found is not None
    assert found.repos == "Of about 1,006 repos, a job that ran 20200409 was reported."


def test_a_blast_says_what_is_not_known() -> None:
    found = blast(ramping(), v1.Release(number=4), None, 25)

    assert found is not None
    assert (found.jobs, found.reach, found.some) == ("No job that ran 20200409 was reported.", "", ())
    estimated = blast(ramping(), None, Reach(5_000, 1_250, True, ()), 25)
    assert estimated is not None
    assert "about 1,250 of about 5,000 repos" in estimated.reach


@pytest.mark.parametrize(("highest", "says"), [(25.0, "jobs of every repo may have run 20200409"), (0.0, "")])
def test_where_each_job_draws_a_bucket_no_repo_is_named(highest: float, says: str) -> None:
    rollout = ramping()
    rollout.unit = v1.UNIT_JOB

    found = blast(rollout, None, Reach(340, 34, False, ("acme/app",)), highest)

    assert found is not None
    assert says in found.reach
    assert found.some == ()
