"""ReportOutcomes on the wire: which outcomes are counted, which are ignored and why, and what GetRollout shows."""

import time
from collections.abc import Callable

import grpc
import pytest
import redis

from rampd import v1
from rampd._decision.bucketing import bucket
from rampd_server import testing
from tests.nights import IS_NIGHT
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer

COMPONENT = "restyler"
REPOS = 1_000_000 if IS_NIGHT else 5_000


@pytest.fixture
def rollout(call: Stubs) -> v1.Rollout:
    """Makes a rollout: next is release 2, at 10 %."""
    call("Release", component=COMPONENT, tag="20200301")
    call("Release", component=COMPONENT, tag="20200409")
    return call("Ramp", component=COMPONENT, percent=10).rollout


def resolved(call: Stubs, repo: str, *, is_failed: bool = False, **fields: object) -> v1.Outcome:
    """Resolves a job, and returns its outcome."""
    answer = call("Resolve", component=COMPONENT, repo=repo)
    outcome = v1.Outcome(
        component=COMPONENT,
        release=answer.release,
        revision=answer.revision,
        channel=answer.channel,
        reason=answer.reason,
        repo=repo,
        result=v1.OUTCOME_RESULT_FAILED if is_failed else v1.OUTCOME_RESULT_SUCCEEDED,
    )
    outcome.MergeFrom(v1.Outcome(**fields))
    return outcome


def report(call: Stubs, *outcomes: v1.Outcome, sequence: int = 1, client_id: str = "w1") -> v1.ReportOutcomesResponse:
    return call("ReportOutcomes", client_id=client_id, sequence=sequence, outcomes=outcomes)


def shown(call: Stubs) -> list[tuple[int, int, int, int]]:
    """Returns for each channel: jobs, failures, other jobs, other failures."""
    found = call("GetRollout", component=COMPONENT).rollout.outcomes
    assert [each.channel for each in found] == [v1.CHANNEL_CURRENT, v1.CHANNEL_NEXT][: len(found)]
    return [(each.jobs, each.failures, each.other_jobs, each.other_failures) for each in found]


def reasons(response: v1.ReportOutcomesResponse) -> dict[int, str]:
    assert all(each.message for each in response.ignored)
    return {each.index: each.reason for each in response.ignored}


def repo_of(channel: str, number: int = 0, weight: int = 1000) -> str:
    names = (f"acme/app-{each}" for each in range(100_000))
    fitting = (name for name in names if (bucket(COMPONENT, 2, name) < weight) is (channel == "next"))
    return next(name for place, name in enumerate(fitting) if place == number)


@pytest.mark.usefixtures("rollout")
def test_jobs_and_failures_are_shown_for_each_channel(call: Stubs):
    current = [resolved(call, repo_of("current", number), is_failed=number == 0) for number in range(4)]
    following = [resolved(call, repo_of("next", number), is_failed=True) for number in range(2)]

    response = report(call, *current, *following)

    assert (response.accepted, len(response.ignored)) == (6, 0)
    assert shown(call) == [(4, 1, 0, 0), (2, 2, 0, 0)]
    answer = call("GetRollout", component=COMPONENT).rollout
    assert [each.failure_rate for each in answer.outcomes] == [0.25, 1.0]
    assert answer.evidence.limit == 100
    # The published formula at 10 %, for two failures of next and one of current.
    by_hand = [ratio**2 / (0.9 + 0.1 * ratio) ** 3 for ratio in (1.5, 2, 3, 5, 10, 30)]
    assert answer.evidence.e == pytest.approx(sum(by_hand) / 6)
    assert (answer.evidence.current_failures, answer.evidence.next_failures) == (1, 2)
    assert answer.evidence.reporters == 1


@pytest.mark.usefixtures("rollout")
def test_the_list_of_rollouts_shows_no_outcomes(call: Stubs):
    report(call, resolved(call, "acme/app"))
    listed = call("ListRollouts").rollouts[0]
    assert not listed.outcomes
    assert not listed.HasField("evidence")


def test_without_jobs_there_is_no_rate_and_without_a_rollout_no_evidence(call: Stubs):
    call("Release", component=COMPONENT, tag="20200301")
    answer = call("GetRollout", component=COMPONENT).rollout
    assert [each.channel for each in answer.outcomes] == [v1.CHANNEL_CURRENT]
    assert not answer.outcomes[0].HasField("failure_rate")
    assert not answer.HasField("evidence")
    report(call, resolved(call, "acme/app", is_failed=True))
    assert shown(call) == [(0, 0, 1, 1)]


@pytest.mark.usefixtures("rollout")
def test_a_repeated_batch_gets_the_first_answer_and_is_not_counted_again(call: Stubs):
    wrong = resolved(call, repo_of("current"), channel=v1.CHANNEL_NEXT)
    batch = [resolved(call, repo_of("current")), wrong]
    first = report(call, *batch)
    assert reasons(first) == {1: "ASSIGNMENT_MISMATCH"}
    before = shown(call)

    # If they were decided now, both outcomes would belong to a trial that has ended.
    call("Rollback", component=COMPONENT)
    call("Ramp", component=COMPONENT, percent=10)
    assert report(call, *batch) == first
    assert shown(call) == [(0, 0, 0, 0), (0, 0, 0, 0)]
    assert reasons(report(call, *batch, sequence=2)) == {0: "TRIAL_ENDED", 1: "TRIAL_ENDED"}
    assert before == [(1, 0, 0, 0), (0, 0, 0, 0)]


@pytest.mark.usefixtures("rollout")
def test_a_batch_with_a_used_sequence_is_ignored_completely(call: Stubs):
    one, other = resolved(call, "acme/app"), resolved(call, "acme/web")
    report(call, one, sequence=5)

    assert reasons(report(call, other, sequence=5)) == {0: "SEQUENCE_REUSED"}
    assert reasons(report(call, other, sequence=4)) == {0: "SEQUENCE_TOO_OLD"}
    assert sum(jobs for jobs, *_ in shown(call)) == 1


@pytest.mark.usefixtures("catches_up")
def test_a_repeated_batch_at_another_server_is_not_counted_again(
    call: Stubs, rollout: v1.Rollout, store_process: StoreServer, namespace: str
):
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as target,
        stubs(target) as elsewhere,
    ):
        outcome = resolved(call, "acme/app")
        assert report(call, outcome) == report(elsewhere, outcome)
        assert sum(jobs for jobs, *_ in shown(elsewhere)) == 1
        # The other server can count an outcome at once, even if this server resolved the job only a moment ago.
        for sequence, percent in enumerate((20, 30, 40, 50), start=2):
            call("Ramp", component=COMPONENT, percent=percent)
            assert report(elsewhere, resolved(call, "acme/app"), sequence=sequence).accepted == 1
    assert rollout.trial == 1


@pytest.mark.usefixtures("rollout")
def test_unknown_outcomes_are_ignored_with_a_reason_and_the_others_are_counted(call: Stubs):
    repo = repo_of("current")
    response = report(
        call,
        resolved(call, repo),
        resolved(call, repo, component="nobody"),
        resolved(call, repo, release=99),
        resolved(call, repo, revision=2**62),
        resolved(call, repo, revision=1_000),
        resolved(call, repo, channel=v1.CHANNEL_NEXT),
        resolved(call, repo, release=2),
    )

    assert response.accepted == 1
    assert reasons(response) == {
        1: "COMPONENT_NOT_FOUND",
        2: "RELEASE_NOT_FOUND",
        3: "REVISION_UNKNOWN",
        4: "REVISION_UNKNOWN",
        5: "ASSIGNMENT_MISMATCH",
        6: "ASSIGNMENT_MISMATCH",
    }
    assert call("GetRollout", component=COMPONENT).rollout.evidence.assignment_mismatches == 2


@pytest.mark.usefixtures("rollout")
def test_outcomes_of_an_unknown_component_store_nothing(call: Stubs, store_process: StoreServer, namespace: str):
    outcome = resolved(call, "acme/app", component="nobody")
    outcome.component = "nobody"
    assert reasons(report(call, outcome)) == {0: "COMPONENT_NOT_FOUND"}
    assert keys(store_process, namespace, "nobody") == []


@pytest.mark.usefixtures("rollout")
def test_outcomes_of_pinned_repos_are_shown_separately(call: Stubs):
    call("SetOverride", component=COMPONENT, repo="acme/pinned", channel=v1.CHANNEL_NEXT)
    report(call, resolved(call, "acme/pinned", is_failed=True))

    assert shown(call) == [(0, 0, 0, 0), (0, 0, 1, 1)]
    assert call("GetRollout", component=COMPONENT).rollout.evidence.e == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration", {"seconds": -1}),
        ("duration", {"nanos": -1}),
        ("duration", {"nanos": 1_000_000_000}),
        ("duration", {"seconds": 10**11}),
        ("result", 0),
        ("result", 77),
        ("reason", 0),
        ("reason", 77),
        ("channel", 77),
        ("component", ""),
        ("component", "A*"),
        ("repo", ""),
        ("repo", "naïve"),
        ("job_id", "a b"),
        ("release", -1),
        ("revision", -1),
    ],
)
@pytest.mark.usefixtures("rollout")
def test_one_wrong_field_refuses_the_whole_batch_and_nothing_is_stored(call: Stubs, field: str, value: object):
    good, bad = resolved(call, "acme/app"), resolved(call, "acme/web")
    if field == "duration":
        bad.duration.seconds, bad.duration.nanos = value.get("seconds", 0), value.get("nanos", 0)
    else:
        setattr(bad, field, value)

    with pytest.raises(grpc.RpcError) as caught:
        report(call, good, bad)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"outcomes[1].{field}" in caught.value.details()
    assert sum(jobs for jobs, *_ in shown(call)) == 0
    # The sequence is still unused.
    assert report(call, good).accepted == 1


@pytest.mark.parametrize("request_fields", [{"client_id": ""}, {"sequence": 0}, {"client_id": "a b"}, {"sequence": -1}])
def test_a_batch_must_name_its_client_and_its_sequence(call: Stubs, request_fields: dict[str, object]):
    fields = {"client_id": "w1", "sequence": 1, "outcomes": [v1.Outcome(component=COMPONENT)]} | request_fields
    with pytest.raises(grpc.RpcError) as caught:
        call("ReportOutcomes", **fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert next(iter(request_fields)) in caught.value.details()


@pytest.mark.parametrize("count", [0, 1001])
@pytest.mark.usefixtures("rollout")
def test_a_batch_has_one_to_a_thousand_outcomes(call: Stubs, count: int):
    outcome = resolved(call, "acme/app")
    with pytest.raises(grpc.RpcError) as caught:
        report(call, *[outcome] * count)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert report(call, *[outcome] * 1000).accepted == 1000


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("rollout")
def test_any_number_of_repos_takes_the_same_memory(call: Stubs, store_process: StoreServer, namespace: str):
    template = resolved(call, "acme/app")
    weights = 1000
    rooms = []
    for sequence, first in enumerate(range(0, REPOS, 1000), start=1):
        batch = []
        for number in range(first, first + 1000):
            repo = f"owner/repo-{number}"
            is_next = bucket(COMPONENT, 2, repo) < weights
            outcome = v1.Outcome()
            outcome.CopyFrom(template)
            outcome.repo, outcome.release = repo, 2 if is_next else 1
            outcome.channel = v1.CHANNEL_NEXT if is_next else v1.CHANNEL_CURRENT
            outcome.result = v1.OUTCOME_RESULT_FAILED
            batch.append(outcome)
        assert report(call, *batch, sequence=sequence).accepted == 1000
        rooms.append(memory(store_process, namespace, COMPONENT))

    assert sum(jobs for jobs, *_ in shown(call)) == REPOS
    # Anything that was kept for each repo would take at least one byte.
    assert rooms[-1] - rooms[0] < REPOS - 1000


def counts(call: Stubs) -> dict[str, tuple[int, int]]:
    """Returns jobs and failures of each release, by tag. Checks that ListReleases and GetRelease agree."""
    listed = call("ListReleases", component=COMPONENT).releases
    for release in listed:
        assert call("GetRelease", component=COMPONENT, release=release.number).release == release
        assert release.failure_rate == (release.failures / release.jobs if release.jobs else 0)
        assert release.HasField("failure_rate") == bool(release.jobs)
    return {release.tag: (release.jobs, release.failures) for release in listed}


def of_current(call: Stubs) -> tuple[str, int, int]:
    rollout = call("GetRollout", component=COMPONENT).rollout
    found = rollout.current_outcomes
    assert (found.release, found.since) == (rollout.current.number, rollout.current.update_time)
    assert found.HasField("failure_rate") == bool(found.jobs)
    assert (found.recent.jobs, found.recent.failures) == (found.jobs, found.failures)
    assert found.recent.since.ToNanoseconds() >= found.since.ToNanoseconds()
    [listed] = call("ListRollouts", current_outcomes=True).rollouts
    assert listed.current_outcomes == found
    return found.tag, found.jobs, found.failures


@pytest.mark.usefixtures("rollout")
def test_counts_of_a_release_outlive_its_rollout_and_its_trials(call: Stubs):
    """Given jobs of both channels and of a pinned repo, a rollback, a new trial and a Finalize, expect that every accepted job is
    counted.
    """
    assert (of_current(call), counts(call)) == (("20200301", 0, 0), {"20200301": (0, 0), "20200409": (0, 0)})
    call("SetOverride", component=COMPONENT, repo="acme/pinned", channel=v1.CHANNEL_NEXT)
    early = resolved(call, repo_of("next", 3), is_failed=True)
    report(
        call,
        resolved(call, repo_of("current"), is_failed=True),
        resolved(call, repo_of("current", 1)),
        resolved(call, repo_of("next"), is_failed=True),
        resolved(call, "acme/pinned"),
    )
    assert (of_current(call), counts(call)) == (("20200301", 2, 1), {"20200301": (2, 1), "20200409": (2, 1)})

    call("Rollback", component=COMPONENT)
    call("Ramp", component=COMPONENT, percent=10)
    assert shown(call) == [(0, 0, 0, 0)] * 2
    response = report(call, early, resolved(call, repo_of("next")), sequence=2)
    assert reasons(response) == {0: "TRIAL_ENDED"}  # an ignored outcome is not counted anywhere
    assert counts(call) == {"20200301": (2, 1), "20200409": (3, 1)}

    late = resolved(call, "acme/pinned", is_failed=True)
    call("Finalize", component=COMPONENT)
    assert (of_current(call), counts(call)["20200409"]) == (("20200409", 0, 0), (3, 1))
    report(call, late, resolved(call, "acme/app"), resolved(call, "acme/app", is_failed=True), sequence=3)
    report(call, late, resolved(call, "acme/app"), resolved(call, "acme/app", is_failed=True), sequence=3)
    # The late job ran the release before it was current.
    assert (of_current(call), counts(call)["20200409"]) == (("20200409", 2, 1), (6, 3))

    call("Revert", component=COMPONENT)
    assert (of_current(call), counts(call)) == (("20200301", 0, 0), {"20200301": (2, 1), "20200409": (6, 3)})
    shown_elsewhere = call("ListRollouts").rollouts[0]
    assert not shown_elsewhere.HasField("current_outcomes")
    assert not shown_elsewhere.current.HasField("jobs")


def test_counts_of_forgotten_releases_are_deleted(call: Stubs, store_process: StoreServer, namespace: str):
    """Given a job of a queued release that is later superseded and forgotten, and no new trial, expect that its counts go."""
    prefix = f"rampd:{{{namespace}:{COMPONENT}}}:"
    call("Release", component=COMPONENT, tag="t1")
    call("SetPolicy", component=COMPONENT, policy=v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST))
    report(call, resolved(call, "acme/else"))
    with redis.Redis.from_url(store_process.url, decode_responses=True) as client:
        call("Release", component=COMPONENT, tag="t2")
        wait_until(lambda: client.hget(f"{prefix}outcomes", "release") == "2")  # the server's sweep has run
        call("Release", component=COMPONENT, tag="t3")
        call("SetOverride", component=COMPONENT, repo="acme/app", tag="t3")
        report(call, resolved(call, "acme/app"), sequence=2)
        assert counts(call) == {"t3": (1, 0), "t2": (0, 0), "t1": (1, 0)}

        for number in range(4, 106):
            call("Release", component=COMPONENT, tag=f"t{number}")

        wait_until(lambda: not {"3 jobs", "3 failures"} & set(client.hkeys(f"{prefix}release-outcomes")))
        assert client.hget(f"{prefix}release-outcomes", "1 jobs") == "1"


@pytest.mark.usefixtures("rollout")
def test_counts_of_a_rollout_are_deleted_with_it(call: Stubs, store_process: StoreServer, namespace: str):
    report(call, resolved(call, "acme/app", is_failed=True))
    assert any(key.endswith(":first-failures") for key in keys(store_process, namespace, COMPONENT))

    call("Abandon", component=COMPONENT)
    wait_until(lambda: len(keys(store_process, namespace, COMPONENT)) == 6)  # two hashes, the clients, the samples
    call("DeleteComponent", component=COMPONENT, confirm=COMPONENT)
    wait_until(lambda: len(keys(store_process, namespace, COMPONENT)) == 1)  # a tombstone
    assert memory(store_process, namespace, COMPONENT) < 500


def wait_until(holds: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def keys(store: StoreServer, namespace: str, component: str) -> list[str]:
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        return sorted(client.keys(f"rampd:{{{namespace}:{component}}}:*"))


def memory(store: StoreServer, namespace: str, component: str) -> int:
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        return sum(client.memory_usage(key, samples=0) or 0 for key in keys(store, namespace, component))
