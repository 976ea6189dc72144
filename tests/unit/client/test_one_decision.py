"""A job gets the same version locally and over the wire, by the published rules."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd import v1
from rampd._calls.endpoint import Endpoint
from rampd._calls.resolve_call import resolution_of
from rampd._contract.component_state import parts_of
from rampd._decision.bucketing import bucket
from rampd._decision.resolution import (
    Channel,
    Choice,
    ComponentSnapshot,
    Overrides,
    Resolution,
    ResolveReason,
    RolloutState,
    SnapshotRelease,
    Unit,
    resolve,
)
from rampd._watching.local import Local
from rampd._watching.settings import Settings
from rampd.errors import UnavailableError
from rampd_server.domain.rollout.model import LostRevisions, Release, ReleaseState, Rollout
from rampd_server.replica.projection import snapshot_of
from rampd_server.rpc.messages.resolution import encode
from tests.states import CHOICES, REPOS, overrides, snapshots

VECTORS = json.loads((Path(__file__).parents[3] / "proto/rampd/v1/bucketing_vectors.json").read_text())
NOW_MS = 2**44
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
ASKED = st.one_of(
    REPOS, WORDS, *(WORDS.map((f"{group}/" + "{}").format) for group in ("acme", "acme/app", "group/sub"))
)
AGES_S = st.sampled_from([0.0, 4.0, 6.0, 290.0, 310.0])


def local(
    snapshot: ComponentSnapshot, pins: Overrides, repo: str, job_id: str, age_s: float, *, min_revision: int = 0
) -> Resolution:
    """Decides as a launcher that watches: from messages, through a feed."""
    client = Local(Settings(Endpoint("127.0.0.1:1"), (), 300.0, None))
    heartbeat = v1.WatchHeartbeat()
    heartbeat.store_time.FromMilliseconds(NOW_MS)
    heartbeat.snapshot_age.FromNanoseconds(int(age_s * 1e9))
    state = v1.WatchState(first=True, last=True, components=parts_of(snapshot, pins.items()))
    for message in (v1.WatchResponse(state=state, cursor="e/1-0"), v1.WatchResponse(heartbeat=heartbeat)):
        client.take(v1.WatchResponse.FromString(message.SerializeToString()))
    return client.answer(snapshot.component, repo, job_id, min_revision)


def rpc(snapshot: ComponentSnapshot, pins: Overrides, repo: str, job_id: str, age_s: float) -> Resolution:
    """Decides as a server that answers a call, and a client that reads the bytes."""
    answer = resolve(snapshot, pins, repo, job_id, lambda: NOW_MS, age_s)
    return resolution_of(v1.ResolveResponse.FromString(encode(answer)))


def told(answer: Resolution) -> dict[str, Any]:
    names = ("tag", "channel", "reason", "release", "attributes", "bucket", "revision", "stale")
    return {name: getattr(answer, name) for name in names}


def pin_of(pins: dict[str, Choice], repo: str) -> Choice | None:
    """Returns the override in force, by the rules of the API."""
    prefixes = [f"{repo[:place]}/*" for place, character in enumerate(repo) if character == "/"]
    for pattern in (repo, *reversed(prefixes)):
        choice = pins.get(pattern)
        if choice is not None and (choice.expire_ms is None or choice.expire_ms > NOW_MS):
            return choice
    return None


@given(
    snapshots(),
    st.dictionaries(REPOS, CHOICES),
    ASKED.filter(lambda repo: not repo.endswith("/*")),
    WORDS | st.just(""),
    AGES_S,
)
def test_local_and_rpc_decide_alike_and_by_the_published_rules(
    snapshot: ComponentSnapshot, pins: dict[str, Choice], repo: str, job_id: str, age_s: float
) -> None:
    asked = snapshot, overrides(pins), repo, job_id, age_s
    answer = local(*asked)
    assert told(answer) == told(rpc(*asked))
    assert answer.stale == (age_s >= 5)
    unit = job_id if job_id and snapshot.unit is Unit.JOB else repo
    assert answer.bucket == (snapshot.next and bucket(snapshot.component, snapshot.next.number, unit))
    pin = pin_of(pins, repo)
    if pin is not None and pin.tag:
        assert (answer.tag, answer.channel, answer.reason) == (pin.tag, None, ResolveReason.OVERRIDE_TAG)
        return
    due = snapshot.state is RolloutState.ROLLING_OUT and (
        pin.channel is Channel.NEXT if pin else answer.bucket is not None and answer.bucket < snapshot.basis_points
    )
    assert answer.channel is (Channel.NEXT if due and age_s <= 300 else Channel.CURRENT)
    assert (answer.reason is ResolveReason.STALE) == (due and age_s > 300)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["hash_input"][:40])
@pytest.mark.parametrize("way", [local, rpc], ids=lambda way: way.__name__)
@pytest.mark.parametrize("off", [0, 1])
def test_both_ways_draw_the_published_buckets(vector: dict[str, Any], way: Any, off: int) -> None:
    release = int(vector["release"])
    snapshot = ComponentSnapshot(
        component=vector["component"],
        revision=1,
        state=RolloutState.ROLLING_OUT,
        current=SnapshotRelease(release + 1, "current"),
        next=SnapshotRelease(release, "next"),
        basis_points=vector["bucket"] + off,
        unit=Unit(vector["unit_kind"]),
    )
    answer = way(snapshot, Overrides(), vector["repo"], vector["job_id"], 0.0)
    assert (answer.bucket, answer.tag) == (vector["bucket"], "next" if off else "current")


@pytest.mark.parametrize(
    ("revision", "why"),
    [(6, None), (7, "has lost revision 7"), (8, "has lost revision 8"), (9, None), (10, "did not come in time")],
)
def test_a_revision_that_the_store_has_lost_never_comes(revision: int, why: str | None) -> None:
    """The server records a loss with a revision above all that were lost, so a comparison of numbers says too much."""
    releases = {1: Release(1, "t1", ReleaseState.CURRENT, "ci", "", 1, 1)}
    lost = (LostRevisions(7, 8),)
    rollout = Rollout("restyler", 9, current=1, releases=releases, last_number=1, create_ms=1, update_ms=1, lost=lost)
    asked = snapshot_of(rollout), Overrides(), "acme/app", "", 0.0
    if why is None:
        assert local(*asked, min_revision=revision).tag == "t1"
    else:
        with pytest.raises(UnavailableError, match=why) as caught:
            local(*asked, min_revision=revision)
        assert (caught.value.reason, caught.value.metadata) == ("NO_SNAPSHOT", {"revision": "9"})


def test_an_age_counts_from_the_store_and_not_from_the_message() -> None:
    snapshot = ComponentSnapshot(
        component="restyler", revision=1, state=RolloutState.STEADY, current=SnapshotRelease(1, "t1")
    )
    began_s = time.monotonic()
    answer = local(snapshot, Overrides(), "acme/app", "", 7.5)
    assert 7.5 <= answer.snapshot_age_s <= 7.5 + time.monotonic() - began_s
