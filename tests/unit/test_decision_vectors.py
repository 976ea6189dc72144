"""The published decisions are right: rampd's own code, the rules as docs/resolution.md states them, and people agree on them."""

import json
from collections import Counter
from datetime import datetime
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from rampd import v1
from rampd._calls.resolve_call import resolution_of
from rampd._contract.component_state import Assembly
from rampd._decision.bucketing import bucket
from rampd._decision.resolution import Overrides, Resolution, resolve
from rampd_server.rpc.messages.resolution import encode
from tests import decision_vectors
from tests.decision_vectors import Group, Job

GROUPS: list[dict[str, Any]] = json.loads(decision_vectors.FILE.read_text())
VECTORS = [(group, job) for group in GROUPS for job in group["jobs"]]
WRITTEN = list(decision_vectors.groups())


def milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def by_the_document(state: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Decides from plain JSON, by the rules of docs/resolution.md, one sentence after the other."""
    weights, now_ms = state["resolution"], milliseconds(job["now"])
    tags = {release["number"]: release["tag"] for release in state["releases"]}
    is_rolling_out = weights["state"] == "ROLLOUT_STATE_ROLLING_OUT"

    drawn = None
    if "next" in weights:
        unit = job["repo"] if weights["unit"] == "UNIT_REPO" or job["job_id"] == "" else job["job_id"]
        drawn = bucket(state["component"], int(weights["next"]), unit)

    living = {
        override["repo"]: override
        for override in state.get("overrides", [])
        if "expire_time" not in override or now_ms < milliseconds(override["expire_time"])
    }
    segments = job["repo"].split("/")
    prefixes = ["/".join(segments[:length]) + "/*" for length in range(len(segments) - 1, 0, -1)]
    override = next((living[name] for name in (job["repo"], *prefixes) if name in living), None)

    known = [weights["current"], *([weights["next"]] if "next" in weights else [])]
    known += [*weights.get("queued", []), *weights.get("previous", [])]
    if override is not None and "tag" in override:
        channel, reason, tag = "UNSPECIFIED", "OVERRIDE_TAG", override["tag"]
        release = next((number for number in known if tags[number] == tag), "0")
    else:
        if override is not None:
            is_next, reason = override["channel"] == "CHANNEL_NEXT" and is_rolling_out, "OVERRIDE_CHANNEL"
        elif weights["state"] == "ROLLOUT_STATE_STEADY":
            is_next, reason = False, "STEADY"
        else:
            is_next, reason = drawn < round(weights.get("next_percent", 0) * 100), "WEIGHT"
        if is_next and job["snapshot_age_s"] > 300:
            is_next, reason = False, "STALE"
        channel, release = ("NEXT", weights["next"]) if is_next else ("CURRENT", weights["current"])
        tag = tags[release]
    return {
        "tag": tag,
        "channel": f"CHANNEL_{channel}",
        "reason": f"RESOLVE_REASON_{reason}",
        "release": release,
        "bucket": drawn,
        "revision": state["revision"],
        "stale": job["snapshot_age_s"] >= 5,
    }


def told(answer: Resolution) -> dict[str, Any]:
    return {
        "tag": answer.tag,
        "channel": f"CHANNEL_{answer.channel or 'UNSPECIFIED'}",
        "reason": f"RESOLVE_REASON_{answer.reason}",
        "release": str(answer.release),
        "bucket": answer.bucket,
        "revision": str(answer.revision),
        "stale": answer.stale,
    }


def test_the_generator_writes_the_published_vectors() -> None:
    assert decision_vectors.FILE.read_text() == decision_vectors.render()


def test_the_published_answers_are_those_that_people_wrote() -> None:
    compared = 0
    for group, published in zip(WRITTEN, GROUPS, strict=True):
        for job, vector in zip(group.jobs, published["jobs"], strict=True):
            if job.expected is not None:
                tag, channel, reason, release = job.expected
                assert (tag, f"CHANNEL_{channel or 'UNSPECIFIED'}", f"RESOLVE_REASON_{reason}", str(release)) == tuple(
                    vector["answer"][name] for name in ("tag", "channel", "reason", "release")
                ), (group.shows, job)
                compared += 1
    assert compared >= 100


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["shows"][:60])
def test_the_rules_of_the_document_give_the_published_answers(group: dict[str, Any]) -> None:
    for job in group["jobs"]:
        assert by_the_document(group["state"], job) == job["answer"], job


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["shows"][:60])
def test_a_client_that_receives_the_state_gives_the_published_answers(group: dict[str, Any]) -> None:
    assembly = Assembly()
    assembly.add([ParseDict(group["state"], v1.ComponentState())])
    [known] = assembly.finish().values()
    for job in group["jobs"]:
        now_ms, age_s = milliseconds(job["now"]), job["snapshot_age_s"]
        answer = resolve(known.snapshot, known.overrides, job["repo"], job["job_id"], lambda: now_ms, age_s)  # noqa: B023
        assert told(answer) == job["answer"], job


@pytest.mark.parametrize("group", WRITTEN, ids=lambda group: group.shows[:60])
def test_the_answer_of_a_server_is_the_published_one_after_its_way_over_the_wire(group: Group) -> None:
    [published] = [each for each in GROUPS if each["shows"] == group.shows]
    overrides = Overrides()
    for repo, choice in group.overrides.items():
        overrides.set(repo, choice)

    def sent(job: Job) -> dict[str, Any]:
        answer = resolve(group.snapshot, overrides, job.repo, job.job_id, lambda: job.now_ms, job.age_s)
        return told(resolution_of(v1.ResolveResponse.FromString(encode(answer))))

    assert [sent(job) for job in group.jobs] == [job["answer"] for job in published["jobs"]]


def test_the_vectors_cover_every_rule_and_common_mistakes_of_other_implementations() -> None:
    assert len(VECTORS) >= 200
    assert len({group["shows"] for group in GROUPS}) == len(GROUPS)
    reasons = Counter(job["answer"]["reason"].removeprefix("RESOLVE_REASON_") for _, job in VECTORS)
    # FALLBACK is the client's own: it has no state to decide from.
    assert set(reasons) == {"STEADY", "WEIGHT", "OVERRIDE_CHANNEL", "OVERRIDE_TAG", "STALE"}
    assert min(reasons.values()) >= 5
    states = {
        (group["state"]["resolution"]["state"].removeprefix("ROLLOUT_STATE_"), group["state"]["resolution"]["unit"])
        for group in GROUPS
    }
    assert {state for state, _ in states} == {"STEADY", "ROLLING_OUT", "HELD"}
    assert {unit for _, unit in states} == {"UNIT_REPO", "UNIT_JOB"}
    percents = {group["state"]["resolution"].get("next_percent", 0) for group in GROUPS}
    assert {0, 0.01, 0.29, 99.99, 100} <= percents
    assert any(int(percent * 100) != round(percent * 100) for percent in percents)
    assert {0, 4.999, 5, 300, 300.001} <= {job["snapshot_age_s"] for _, job in VECTORS}
    assert any(int(job["answer"]["release"]) > 2**53 for _, job in VECTORS)
    buckets = {job["answer"]["bucket"] for _, job in VECTORS}
    assert {None, 0, 999, 1000, 9998, 9999} <= buckets


def names_for(group: dict[str, Any], job: dict[str, Any]) -> list[dict[str, Any]]:
    """The overrides whose name fits a job's repo, the longest name first, also those that have ended."""
    segments = job["repo"].split("/")
    names = [job["repo"], *("/".join(segments[:length]) + "/*" for length in range(len(segments) - 1, 0, -1))]
    overrides = {override["repo"]: override for override in group["state"].get("overrides", [])}
    return [overrides[name] for name in names if name in overrides]


@pytest.mark.parametrize("is_prefix", [False, True], ids=["a repo's own", "of a prefix"])
def test_the_vectors_have_overrides_of_both_kinds_before_and_after_their_end(is_prefix: bool) -> None:
    """Given an override, expect a job that gets it, and one just before and one exactly at its end."""
    fitting = [(job, each) for group, job in VECTORS for each in names_for(group, job)]
    of_kind = [(job, each) for job, each in fitting if each["repo"].endswith("/*") is is_prefix]
    assert len(of_kind) >= 10
    left_ms = {
        milliseconds(each["expire_time"]) - milliseconds(job["now"]) for job, each in of_kind if "expire_time" in each
    }
    assert {1, 0} <= left_ms


def test_the_vectors_have_prefixes_within_prefixes_and_repos_within_them() -> None:
    fitting = [[each["repo"] for each in names_for(group, job)] for group, job in VECTORS]
    nested = [names for names in fitting if len([name for name in names if name.endswith("/*")]) >= 2]
    assert len(nested) >= 5
    assert any(len(names) >= 2 and not names[0].endswith("/*") for names in fitting)
    # A prefix does not stand for itself, nor for a name that only begins in the same way.
    prefixes = {(group["shows"], f"{job['repo']}/*") for group, job in VECTORS}
    named = {(group["shows"], each["repo"]) for group in GROUPS for each in group["state"].get("overrides", [])}
    assert len(prefixes & named) >= 3
