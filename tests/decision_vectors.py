"""The decision test vectors. `python -m tests.decision_vectors > proto/rampd/v1/decision_vectors.json` writes them.

rampd's own code computes the answers. The answers that matter most are also written here by hand: a test compares them.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from rampd._contract.component_state import parts_of
from rampd._decision.resolution import (
    Channel,
    Choice,
    ComponentSnapshot,
    Overrides,
    ResolveReason,
    RolloutState,
    SnapshotRelease,
    Unit,
    resolve,
)

FILE = Path(__file__).parents[1] / "proto/rampd/v1/decision_vectors.json"

NOW_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z."""
DAY_MS = 86_400_000

# An answer that is written by hand: tag, channel, reason, number of the release.
Expected = tuple[str, Channel | None, ResolveReason, int]

CURRENT = SnapshotRelease(11, "20200301")
NEXT = SnapshotRelease(12, "20200409")
QUEUED = (SnapshotRelease(13, "20200415"), SnapshotRelease(14, "20200420"))
PREVIOUS = (SnapshotRelease(10, "20200101"), SnapshotRelease(8, "20191201"))

STEADY = ComponentSnapshot(
    component="restyler", revision=40, state=RolloutState.STEADY, current=CURRENT, previous=PREVIOUS
)
ROLLING_OUT = replace(STEADY, revision=41, state=RolloutState.ROLLING_OUT, next=NEXT, basis_points=1_000, queued=QUEUED)
HELD = replace(ROLLING_OUT, revision=42, state=RolloutState.HELD, basis_points=0)

TO_NEXT, TO_CURRENT = Choice(Channel.NEXT), Choice(Channel.CURRENT)

BY_STEADY = (CURRENT.tag, Channel.CURRENT, ResolveReason.STEADY, 11)
CURRENT_BY_WEIGHT = (CURRENT.tag, Channel.CURRENT, ResolveReason.WEIGHT, 11)
NEXT_BY_WEIGHT = (NEXT.tag, Channel.NEXT, ResolveReason.WEIGHT, 12)
CURRENT_BY_OVERRIDE = (CURRENT.tag, Channel.CURRENT, ResolveReason.OVERRIDE_CHANNEL, 11)
NEXT_BY_OVERRIDE = (NEXT.tag, Channel.NEXT, ResolveReason.OVERRIDE_CHANNEL, 12)
STALE = (CURRENT.tag, Channel.CURRENT, ResolveReason.STALE, 11)

# Repos and jobs by their buckets in release 12 of restyler.
REPO_IN = {
    0: "acme/app-7589",
    1: "acme/app-801",
    28: "acme/app-20780",
    114: "acme/app-1939",
    434: "acme/app-23926",
    819: "acme/app-11464",
    999: "acme/app-8834",
    1000: "acme/app-5826",
    4999: "acme/app-11679",
    5000: "acme/app-28554",
    9998: "acme/app-14068",
    9999: "acme/app-3572",
}
JOB_IN = {0: "job-3583", 999: "job-4495", 1000: "job-14018", 9999: "job-5405"}


def by_tag(tag: str, release: int = 0) -> Expected:
    """Returns the answer of an override to a tag."""
    return tag, None, ResolveReason.OVERRIDE_TAG, release


@dataclass(frozen=True, slots=True)
class Job:
    """A question, and its answer if it is written by hand."""

    repo: str
    expected: Expected | None = None
    job_id: str = ""
    now_ms: int = NOW_MS
    age_s: float = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Questions about one state."""

    shows: str
    snapshot: ComponentSnapshot
    jobs: list[Job]
    overrides: dict[str, Choice] = field(default_factory=dict)


def render() -> str:
    """Returns the content of the file: each state and each job on a line of its own."""
    return "[\n" + ",\n".join(_group(group) for group in groups()) + "\n]\n"


def _group(group: Group) -> str:
    [state] = parts_of(group.snapshot, group.overrides.items())
    overrides = Overrides()
    for repo, choice in group.overrides.items():
        overrides.set(repo, choice)
    lines = ",\n".join(f"    {json.dumps(_vector(group.snapshot, overrides, job))}" for job in group.jobs)
    return (
        f'  {{"shows": {json.dumps(group.shows)},\n'
        f'   "state": {json.dumps(MessageToDict(state, preserving_proto_field_name=True))},\n'
        f'   "jobs": [\n{lines}\n  ]}}'
    )


def _vector(snapshot: ComponentSnapshot, overrides: Overrides, job: Job) -> dict[str, Any]:
    answer = resolve(snapshot, overrides, job.repo, job.job_id, lambda: job.now_ms, job.age_s)
    now = Timestamp()
    now.FromMilliseconds(job.now_ms)
    return {
        "repo": job.repo,
        "job_id": job.job_id,
        "now": now.ToJsonString(),
        "snapshot_age_s": job.age_s,
        "answer": {
            "tag": answer.tag,
            "channel": f"CHANNEL_{answer.channel or 'UNSPECIFIED'}",
            "reason": f"RESOLVE_REASON_{answer.reason}",
            "release": str(answer.release),
            "bucket": answer.bucket,
            "revision": str(answer.revision),
            "stale": answer.stale,
        },
    }


def groups() -> Iterator[Group]:
    """Yields all groups: without a next, by weight, by override, from an old state."""
    yield from _steady()
    yield from _weights()
    yield from _units()
    yield from _channels()
    yield from _tags()
    yield from _prefixes()
    yield from _expiries()
    yield from _old_states()


def _steady() -> Iterator[Group]:
    many = [Job(f"acme/app-{number}", BY_STEADY) for number in range(4)]
    yield Group(
        "Without a next, everybody gets current, and nobody has a bucket.",
        STEADY,
        [*many, Job("acme/app-0", BY_STEADY, job_id="42"), Job("plain", BY_STEADY)],
    )
    yield Group(
        "Releases that wait in the queue are given to nobody.",
        replace(STEADY, queued=QUEUED),
        [Job(REPO_IN[0], BY_STEADY), Job(REPO_IN[9999], BY_STEADY)],
    )


def _weights() -> Iterator[Group]:
    def at(shows: str, percent: str, below: list[int], above: list[int], snapshot: ComponentSnapshot) -> Group:
        jobs = [
            *(Job(REPO_IN[bucket], NEXT_BY_WEIGHT) for bucket in below),
            *(Job(REPO_IN[bucket], CURRENT_BY_WEIGHT) for bucket in above),
        ]
        basis_points = round(float(percent) * 100)
        return Group(f"{percent} %: {shows}", replace(snapshot, basis_points=basis_points), jobs)

    yield at("nobody gets next by weight.", "0", [], [0, 1, 999, 9999], ROLLING_OUT)
    yield at("a HELD rollout gives next to nobody, but there are buckets.", "0", [], [0, 1, 999, 9999], HELD)
    yield at("one bucket of 10,000 gets next.", "0.01", [0], [1, 28, 999, 9999], ROLLING_OUT)
    yield at("a bucket below 1000 gets next.", "10", [0, 1, 999], [1000, 4999, 9999], ROLLING_OUT)
    yield at("a bucket below 5000 gets next.", "50", [999, 1000, 4999], [5000, 9998, 9999], ROLLING_OUT)
    yield at("all buckets but one get next.", "99.99", [0, 5000, 9998], [9999], ROLLING_OUT)
    yield at("everybody gets next.", "100", [0, 1000, 5000, 9998, 9999], [], ROLLING_OUT)
    # In floating point, these percentages times 100 are a little less than an integer.
    for percent, last in (("0.29", 28), ("1.15", 114), ("4.35", 434), ("8.2", 819)):
        yield at("the product with 100 is rounded, not cut off.", percent, [0, last], [1000], ROLLING_OUT)
    many = [f"acme/app-{number}" for number in range(24)]
    for percent in (10, 25, 50, 75):
        yield Group(
            f"{percent} %: many repos. A higher percentage moves none of them back to current.",
            replace(ROLLING_OUT, basis_points=percent * 100),
            [Job(repo) for repo in many],
        )
    other = replace(ROLLING_OUT, current=NEXT, next=QUEUED[0], queued=(), basis_points=2_500)
    yield Group("25 % of another release: other repos get it.", other, [Job(repo) for repo in many[:12]])
    other = replace(ROLLING_OUT, component="image-builder.v2", basis_points=2_500)
    yield Group("25 % of another component: other repos get it.", other, [Job(repo) for repo in many[:12]])
    large = replace(
        ROLLING_OUT,
        revision=2**53 + 1,
        current=SnapshotRelease(2**53 + 1, CURRENT.tag),
        next=SnapshotRelease(2**63 - 1, NEXT.tag),
        basis_points=5_000,
    )
    yield Group(
        "Numbers of releases and revisions are int64: a double would change them.",
        large,
        [Job(repo) for repo in many[:12]],
    )


def _units() -> Iterator[Group]:
    by_job = replace(ROLLING_OUT, unit=Unit.JOB)
    yield Group(
        "The unit is JOB: the job id is drawn, whatever the repo.",
        by_job,
        [
            Job(REPO_IN[9999], NEXT_BY_WEIGHT, job_id=JOB_IN[0]),
            Job(REPO_IN[9999], NEXT_BY_WEIGHT, job_id=JOB_IN[999]),
            Job(REPO_IN[0], CURRENT_BY_WEIGHT, job_id=JOB_IN[1000]),
            Job(REPO_IN[0], CURRENT_BY_WEIGHT, job_id=JOB_IN[9999]),
            *(Job("acme/app", job_id=str(number)) for number in range(8)),
        ],
    )
    yield Group(
        "The unit is JOB, and the job has no id: the repo is drawn.",
        by_job,
        [
            Job(REPO_IN[0], NEXT_BY_WEIGHT),
            Job(REPO_IN[999], NEXT_BY_WEIGHT),
            Job(REPO_IN[1000], CURRENT_BY_WEIGHT),
            Job(REPO_IN[9999], CURRENT_BY_WEIGHT),
        ],
    )
    yield Group(
        "The unit is REPO: the job id does not matter.",
        ROLLING_OUT,
        [
            Job(REPO_IN[0], NEXT_BY_WEIGHT, job_id=JOB_IN[9999]),
            Job(REPO_IN[999], NEXT_BY_WEIGHT, job_id=JOB_IN[1000]),
            Job(REPO_IN[1000], CURRENT_BY_WEIGHT, job_id=JOB_IN[0]),
            Job(REPO_IN[9999], CURRENT_BY_WEIGHT, job_id=JOB_IN[999]),
        ],
    )


def _channels() -> Iterator[Group]:
    early, late = REPO_IN[0], REPO_IN[9999]
    pins = {late: TO_NEXT, early: TO_CURRENT}
    yield Group(
        "An override to a channel wins over the weights, in both directions.",
        ROLLING_OUT,
        [
            Job(late, NEXT_BY_OVERRIDE),
            Job(late, NEXT_BY_OVERRIDE, job_id="42"),
            Job(early, CURRENT_BY_OVERRIDE),
            Job(REPO_IN[999], NEXT_BY_WEIGHT),
        ],
        pins,
    )
    yield Group(
        "0 %: an override to next gives next all the same.",
        replace(ROLLING_OUT, basis_points=0),
        [Job(late, NEXT_BY_OVERRIDE), Job(early, CURRENT_BY_OVERRIDE), Job(REPO_IN[1], CURRENT_BY_WEIGHT)],
        pins,
    )
    yield Group(
        "HELD: an override to next gives current.",
        HELD,
        [Job(late, CURRENT_BY_OVERRIDE), Job(early, CURRENT_BY_OVERRIDE), Job(REPO_IN[1], CURRENT_BY_WEIGHT)],
        pins,
    )
    yield Group(
        "STEADY: an override to next gives current.",
        STEADY,
        [Job(late, CURRENT_BY_OVERRIDE), Job(early, CURRENT_BY_OVERRIDE), Job(REPO_IN[1], BY_STEADY)],
        pins,
    )
    yield Group(
        "Overrides are for repos, also where the unit is JOB. The bucket is that of the job.",
        replace(ROLLING_OUT, unit=Unit.JOB),
        [
            Job(late, NEXT_BY_OVERRIDE, job_id=JOB_IN[9999]),
            Job(early, CURRENT_BY_OVERRIDE, job_id=JOB_IN[0]),
            Job("acme/web", NEXT_BY_WEIGHT, job_id=JOB_IN[0]),
        ],
        pins,
    )
    yield Group(
        "Repos are compared byte for byte.",
        ROLLING_OUT,
        [
            Job("Acme/App", NEXT_BY_OVERRIDE),
            *(Job(repo) for repo in ("acme/app", "ACME/APP", "Acme/App/", "Acme/Ap", "x/Acme/App")),
        ],
        {"Acme/App": TO_NEXT},
    )


def _tags() -> Iterator[Group]:
    known = {"current": CURRENT, "next": NEXT, "queued": QUEUED[1], "previous": PREVIOUS[1]}
    pins = {f"acme/{name}": Choice(tag=release.tag) for name, release in known.items()}
    pins |= {"acme/branch": Choice(tag="pb/secret-branch"), "acme/word": Choice(tag="NEXT")}
    own = {f"acme/{name}": by_tag(release.tag, release.number) for name, release in known.items()}
    free = {"acme/branch": by_tag("pb/secret-branch"), "acme/word": by_tag("NEXT")}
    for shows, snapshot in (
        ("An override to a tag: the release is the one with that tag, or 0. There is no channel.", ROLLING_OUT),
        ("HELD: an override to the tag of next still gives it.", HELD),
    ):
        yield Group(shows, snapshot, [Job(repo, expected) for repo, expected in (own | free).items()], pins)
    yield Group(
        "STEADY: a tag that is neither current, queued nor previous has no release.",
        STEADY,
        [
            *(Job(repo, expected) for repo, expected in free.items()),
            Job("acme/current", by_tag(CURRENT.tag, 11)),
            Job("acme/previous", by_tag(PREVIOUS[1].tag, 8)),
            Job("acme/next", by_tag(NEXT.tag)),
            Job("acme/queued", by_tag(QUEUED[1].tag)),
        ],
        pins,
    )
    same = [SnapshotRelease(number, "same") for number in range(3, 9)]
    twice = replace(
        ROLLING_OUT, current=CURRENT, next=NEXT, queued=(same[2], same[3]), previous=(same[4], same[5]), basis_points=0
    )
    for shows, snapshot, number in (
        ("previous, the newest first", replace(twice, queued=()), 7),
        ("queued, the first in line first, before previous", twice, 5),
        ("next before queued", replace(twice, next=same[1]), 4),
        ("current before next", replace(twice, current=same[0], next=same[1]), 3),
    ):
        yield Group(
            f"If several releases have the tag of an override, the order is: {shows}.",
            snapshot,
            [Job("acme/app", by_tag("same", number))],
            {"acme/app": Choice(tag="same")},
        )


def _prefixes() -> Iterator[Group]:
    prefixes = ["group/*", "group/sub/*", "group/sub/team/*", "https://example.org/group/*"]
    pins = {prefix: Choice(tag=f"tag-{number}") for number, prefix in enumerate(prefixes, start=1)}
    yield Group(
        "The longest prefix of whole segments wins. It does not stand for itself.",
        STEADY,
        [
            Job("group/app", by_tag("tag-1")),
            Job("group/sub/app", by_tag("tag-2")),
            Job("group/sub/team/app", by_tag("tag-3")),
            Job("group/sub/team/a/b/c", by_tag("tag-3")),
            Job("group/sub/team", by_tag("tag-2")),
            Job("group/sub", by_tag("tag-1")),
            Job("group/subX/app", by_tag("tag-1")),
            Job("group/Sub/app", by_tag("tag-1")),
            Job("group/sub/", by_tag("tag-2")),
            Job("https://example.org/group/app", by_tag("tag-4")),
            Job("group", BY_STEADY),
            Job("groupX/app", BY_STEADY),
            Job("other/group/sub/app", BY_STEADY),
        ],
        pins,
    )
    yield Group(
        "The order in which overrides were set does not matter.",
        STEADY,
        [Job("group/sub/team/app", by_tag("tag-3")), Job("group/sub/app", by_tag("tag-2"))],
        dict(reversed(pins.items())),
    )
    yield Group(
        "A repo's own override wins over every prefix.",
        ROLLING_OUT,
        [
            Job("acme/own", CURRENT_BY_OVERRIDE),
            Job("acme/tag", by_tag("pb/own")),
            Job("acme/other", NEXT_BY_OVERRIDE),
            Job("acme/own/deeper", NEXT_BY_OVERRIDE),
            Job("acme"),
        ],
        {"acme/*": TO_NEXT, "acme/own": TO_CURRENT, "acme/tag": Choice(tag="pb/own")},
    )
    yield Group(
        "Prefixes give channels by the state, as repos' own overrides do: HELD gives current.",
        HELD,
        [Job("acme/app", CURRENT_BY_OVERRIDE), Job("acme/sub/app", by_tag("pb/x")), Job("other/app")],
        {"acme/*": TO_NEXT, "acme/sub/*": Choice(tag="pb/x")},
    )


def _expiries() -> Iterator[Group]:
    late = REPO_IN[9999]
    ends = replace(TO_NEXT, expire_ms=NOW_MS)
    yield Group(
        "An override counts before its expire_time, and not from then on.",
        ROLLING_OUT,
        [
            Job(late, NEXT_BY_OVERRIDE, now_ms=NOW_MS - DAY_MS),
            Job(late, NEXT_BY_OVERRIDE, now_ms=NOW_MS - 1),
            Job(late, CURRENT_BY_WEIGHT, now_ms=NOW_MS),
            Job(late, CURRENT_BY_WEIGHT, now_ms=NOW_MS + DAY_MS),
        ],
        {late: ends},
    )
    yield Group(
        "An override to a tag ends in the same way.",
        STEADY,
        [
            Job("acme/app", by_tag("pb/x"), now_ms=NOW_MS - 1),
            Job("acme/app", BY_STEADY, now_ms=NOW_MS),
        ],
        {"acme/app": Choice(tag="pb/x", expire_ms=NOW_MS)},
    )
    yield Group(
        "After the end of a repo's own override, the prefix counts again, and after its end the weights.",
        ROLLING_OUT,
        [
            Job(late, CURRENT_BY_OVERRIDE, now_ms=NOW_MS - 1),
            Job(late, NEXT_BY_OVERRIDE, now_ms=NOW_MS),
            Job(late, CURRENT_BY_WEIGHT, now_ms=NOW_MS + 1),
        ],
        {late: replace(TO_CURRENT, expire_ms=NOW_MS), "acme/*": replace(TO_NEXT, expire_ms=NOW_MS + 1)},
    )
    yield Group(
        "After the end of a prefix, the next shorter one counts.",
        STEADY,
        [
            Job("group/sub/team/app", by_tag("tag-3"), now_ms=NOW_MS - 1),
            Job("group/sub/team/app", by_tag("tag-2"), now_ms=NOW_MS),
            Job("group/sub/team/app", by_tag("tag-1"), now_ms=NOW_MS + 1),
        ],
        {
            "group/sub/team/*": Choice(tag="tag-3", expire_ms=NOW_MS),
            "group/sub/*": Choice(tag="tag-2", expire_ms=NOW_MS + 1),
            "group/*": Choice(tag="tag-1"),
        },
    )


def _old_states() -> Iterator[Group]:
    early, late = REPO_IN[0], REPO_IN[1000]
    yield Group(
        "From a state that is older than 300 s, a job that would get next gets current. From 5 s on, an answer is stale.",
        ROLLING_OUT,
        [
            Job(early, NEXT_BY_WEIGHT),
            Job(early, NEXT_BY_WEIGHT, age_s=4.999),
            Job(early, NEXT_BY_WEIGHT, age_s=5),
            Job(early, NEXT_BY_WEIGHT, age_s=300),
            Job(early, STALE, age_s=300.001),
            Job(early, STALE, age_s=86400),
            Job(late, CURRENT_BY_WEIGHT, age_s=300),
            Job(late, CURRENT_BY_WEIGHT, age_s=300.001),
        ],
    )
    yield Group(
        "The same for an override to next. An override to current or to a tag does not depend on the age.",
        ROLLING_OUT,
        [
            Job("acme/next", NEXT_BY_OVERRIDE, age_s=300),
            Job("acme/next", STALE, age_s=300.001),
            Job("acme/current", CURRENT_BY_OVERRIDE, age_s=300.001),
            Job("acme/tag", by_tag(NEXT.tag, 12), age_s=300.001),
            Job("below/app", STALE, age_s=86400),
        ],
        {"acme/next": TO_NEXT, "acme/current": TO_CURRENT, "acme/tag": Choice(tag=NEXT.tag), "below/*": TO_NEXT},
    )
    yield Group(
        "100 %, and an old state: everybody gets current.",
        replace(ROLLING_OUT, basis_points=10_000),
        [Job(early, STALE, age_s=300.001), Job(late, STALE, age_s=300.001), Job(late, NEXT_BY_WEIGHT, age_s=300)],
    )
    for snapshot, expected in ((STEADY, BY_STEADY), (HELD, CURRENT_BY_WEIGHT)):
        yield Group(
            f"{snapshot.state}: an old state changes no answer, because nobody would get next.",
            snapshot,
            [
                Job(early, expected, age_s=86400),
                Job(early, expected, age_s=5),
                Job("acme/next", CURRENT_BY_OVERRIDE, age_s=86400),
            ],
            {"acme/next": TO_NEXT},
        )


if __name__ == "__main__":
    sys.stdout.write(render())
