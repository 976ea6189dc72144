"""A dry run names the repos that the real change then gives another version."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from redis import Redis

from rampd import v1
from rampd_server import testing
from rampd_server.service import seen_repos
from rampd_server.storage.keys import Keys
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
REPOS = [f"{owner}/app-{number}" for owner in ("acme", "beta", "gamma/team") for number in range(20)]
PREFIX = "gamma/*"


def tags(call: Stubs, job_id: str = "") -> dict[str, str]:
    """The version of each repo; empty if there is none."""
    requests = [v1.ResolveRequest(component=C, repo=repo, job_id=job_id) for repo in REPOS]
    return {
        repo: result.response.tag
        for repo, result in zip(REPOS, call("BatchResolve", requests=requests).results, strict=True)
    }


def rolling_out(call: Stubs) -> None:
    """Next has 10 %, and c waits. Some repos have overrides."""
    for tag in ("o", "p", "a", "b", "c"):
        call("Release", component=C, tag=tag, expedite=tag in {"p", "a"})
    call("Ramp", component=C, percent=10)
    call("SetOverride", component=C, repo=REPOS[0], tag="pinned")
    call("SetOverride", component=C, repo=REPOS[1], channel=v1.Channel.CHANNEL_NEXT)
    call("SetOverride", component=C, repo="acme/not-seen", tag="pinned")
    call("SetOverride", component=C, repo=PREFIX, channel=v1.Channel.CHANNEL_CURRENT)


def many(*changes: v1.OverrideChange) -> Mapping[str, Any]:
    return {"overrides": changes}


CHANGES: list[tuple[str, Mapping[str, Any], bool]] = [
    ("Ramp", {"percent": 50}, True),
    ("Ramp", {"percent": 1}, True),
    ("Ramp", {"percent": 10}, False),
    ("Rollback", {}, True),
    ("Finalize", {}, True),
    ("Abandon", {}, True),
    ("Revert", {"tag": "o"}, True),
    ("Release", {"tag": "d"}, False),
    ("Release", {"tag": "d", "expedite": True}, True),
    ("Release", {"tag": "b", "expedite": True}, True),
    ("CancelRelease", {"release": 5}, False),
    ("Pause", {}, False),
    ("Freeze", {}, False),
    ("Quarantine", {"tag": "b"}, True),
    ("SetPolicy", {"policy": v1.Policy(unit=v1.Unit.UNIT_JOB), "update_mask": FieldMask(paths=["unit"])}, False),
    ("SetOverride", {"repo": REPOS[5], "tag": "other"}, True),
    ("SetOverride", {"repo": "beta/*", "channel": v1.Channel.CHANNEL_NEXT}, True),
    ("SetOverride", {"repo": "nobody/app", "tag": "other"}, False),
    ("DeleteOverride", {"repo": REPOS[0]}, True),
    ("DeleteOverride", {"repo": PREFIX}, True),
    (
        "BatchSetOverrides",
        many(
            v1.OverrideChange(repo=REPOS[0], delete=True),
            v1.OverrideChange(repo=PREFIX, delete=True),
            *(v1.OverrideChange(repo=repo, tag="other") for repo in REPOS[20:33]),
        ),
        True,
    ),
    ("DeleteComponent", {"confirm": C}, True),
]


@pytest.mark.parametrize(("method", "fields", "moves"), CHANGES)
def test_the_real_change_moves_exactly_the_repos_of_the_preview(
    call: Stubs, method: str, fields: Mapping[str, Any], moves: bool
) -> None:
    rolling_out(call)
    before = tags(call)

    preview = call(method, component=C, dry_run=True, **fields).preview
    assert tags(call) == before
    answer = call(method, component=C, **fields)

    after = tags(call)
    moved = [(repo, before[repo], after[repo]) for repo in sorted(REPOS) if before[repo] != after[repo]]
    assert bool(moved) is moves
    assert (preview.repos_seen, preview.repos_moved, preview.estimated) == (len(REPOS), len(moved), False)
    assert [(each.repo, each.before, each.after) for each in preview.moves] == moved[:10]
    assert not answer.HasField("preview")


def test_the_first_release_has_a_preview_of_nobody(call: Stubs) -> None:
    answer = call("Release", component=C, tag="a", dry_run=True)

    assert answer.HasField("preview")
    assert (answer.preview.repos_seen, answer.preview.repos_moved) == (0, 0)


def test_where_buckets_belong_to_jobs_each_repo_with_some_moved_jobs_counts(call: Stubs) -> None:
    call("Release", component=C, tag="a")
    call("SetPolicy", component=C, policy=v1.Policy(unit=v1.Unit.UNIT_JOB), update_mask=FieldMask(paths=["unit"]))
    call("Release", component=C, tag="b")
    call("SetOverride", component=C, repo=PREFIX, channel=v1.Channel.CHANNEL_CURRENT)
    before = [tags(call, str(job)) for job in range(30)]

    preview = call("Ramp", component=C, percent=50, dry_run=True).preview
    call("Ramp", component=C, percent=50)

    after = [tags(call, str(job)) for job in range(30)]
    moved = [
        repo
        for repo in sorted(REPOS)
        if any(one[repo] != other[repo] for one, other in zip(before, after, strict=True))
    ]
    assert (preview.repos_seen, preview.repos_moved) == (60, len(moved)) == (60, 40)
    assert [(each.repo, each.before, each.after) for each in preview.moves] == [(repo, "a", "b") for repo in moved[:10]]


def test_a_repo_is_seen_by_resolve_by_batch_resolve_and_by_an_accepted_outcome(call: Stubs) -> None:
    revision = call("Release", component=C, tag="a").revision
    call("Resolve", component=C, repo="acme/resolved")
    call("Resolve", component=C, repo="acme/later", min_revision=revision)
    call("BatchResolve", requests=[v1.ResolveRequest(component=C, repo="acme/batch")])
    outcome = {"component": C, "release": 1, "channel": 1, "reason": 1, "result": 1}
    outcomes = [
        v1.Outcome(**outcome, revision=revision, repo="acme/ran"),
        v1.Outcome(**outcome, revision=revision + 9, repo="acme/ignored"),
    ]
    call("ReportOutcomes", client_id="c", sequence=1, outcomes=outcomes)

    preview = call("DeleteComponent", component=C, confirm=C, dry_run=True).preview
    assert [each.repo for each in preview.moves] == ["acme/batch", "acme/later", "acme/ran", "acme/resolved"]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new is sent after a tenth of a second."""
    monkeypatch.setattr(seen_repos, "SEND_S", 0.1)


@pytest.fixture
def redis(store_process: StoreServer) -> Iterator["Redis"]:
    with Redis(unix_socket_path=store_process.url.removeprefix("unix://"), decode_responses=True) as made:
        yield made


def seen(call: Stubs) -> int:
    return int(call("Rollback", component=C, dry_run=True).preview.repos_seen)


@pytest.mark.usefixtures("fast", "catches_up")
def test_a_server_knows_what_another_one_has_seen(call: Stubs, second: Stubs) -> None:
    rolling_out(call)
    second("Resolve", component=C, repo="acme/a", min_revision=call("GetRollout", component=C).rollout.revision)
    call("Resolve", component=C, repo="acme/b")
    call("Resolve", component=C, repo="acme/a")

    eventually(lambda: seen(call) == seen(second) == 2)


def test_what_was_seen_is_sent_at_an_orderly_end(store_process: StoreServer, namespace: str, redis: "Redis") -> None:
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as target,
        stubs(target) as call,
    ):
        rolling_out(call)
        call("Resolve", component=C, repo="acme/a")
    keys = Keys(namespace).outcomes(C)
    assert [member.split()[1] for member in redis.zrange(keys.seen_repos, 0, -1)] == ["acme/a"]


def test_a_preview_that_can_not_be_made_is_left_out(call: Stubs, namespace: str, redis: "Redis") -> None:
    rolling_out(call)
    redis.set(Keys(namespace).outcomes(C).seen_repos, "not a zset")

    answer = call("Ramp", component=C, percent=50, dry_run=True)
    assert answer.changed
    assert not answer.HasField("preview")
