"""The answers of a resolver from a feed, without any network."""

import json
import logging
import math
import time
from pathlib import Path

import pytest

from rampd import Resolver
from rampd._contract.component_state import Component
from rampd._decision.resolution import ComponentSnapshot, Overrides, RolloutState, SnapshotRelease, Unit
from rampd._runtime.log import log
from rampd._watching.at_once import answer_at_once, check_question
from rampd.errors import UnavailableError

VECTORS = json.loads((Path(__file__).parents[3] / "proto/rampd/v1/bucketing_vectors.json").read_text())


@pytest.fixture
def resolver() -> Resolver:
    """A fresh resolver that knows the state that a test puts into its feed."""
    made = Resolver("127.0.0.1:1")
    made._watching.feed = made._watching.local.feed
    made._watching.feed.confirmed_s = time.monotonic() + 1e6
    return made


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["hash_input"][:40])
@pytest.mark.parametrize("off", [0, 1])
def test_a_resolver_draws_the_published_buckets(resolver: Resolver, vector: dict[str, str | int], off: int) -> None:
    component, release, bucket = str(vector["component"]), int(vector["release"]), int(vector["bucket"])
    resolver._watching.feed.components[component] = Component(
        ComponentSnapshot(
            component=component,
            revision=1,
            state=RolloutState.ROLLING_OUT,
            current=SnapshotRelease(release - 1, "current"),
            next=SnapshotRelease(release, "next"),
            basis_points=bucket + off,
            unit=Unit(vector["unit_kind"]),
        ),
        Overrides(),
    )
    asked = component, str(vector["repo"]), str(vector["job_id"])
    check_question(*asked, None)
    for answer in (
        resolver.resolve(component, repo=asked[1], job_id=asked[2]),
        answer_at_once(resolver._watching.feed, *asked, None, 300.0),
        resolver._watching.local.answer(*asked),
    ):
        assert answer is not None
        assert (answer.bucket, answer.tag) == (bucket, "next" if off else "current")
    assert not resolver._watching._worker.runs


def test_the_status_says_who_ended_a_watch_that_ended_normally(resolver: Resolver) -> None:
    resolver._watching.local.lost(None)
    assert resolver.status().error == "the server has ended the watch (it stops or restarts)"


def test_who_looks_while_a_stream_ends_sees_the_end_with_its_reason(resolver: Resolver) -> None:
    """Expect that no other thread sees that the stream has ended and not yet why: a line of the log looks here, in between."""
    seen: list[tuple[bool, str]] = []

    class Looking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            status = resolver.status()
            seen.append((status.connected, status.error))

    handler = Looking()
    log.addHandler(handler)
    try:
        resolver._watching.local.lost(UnavailableError("The server is away."))
        resolver._watching.local.withhold("No thread can be started.")
    finally:
        log.removeHandler(handler)
    assert seen == [(False, "The server is away."), (False, "No thread can be started.")]


def test_a_stream_that_says_nothing_counts_as_lost_and_says_so(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = resolver._watching.local
    monkeypatch.setattr(local, "_stream", local._stream._replace(connected=True))
    monkeypatch.setattr(local.feed, "_heard_s", -math.inf)
    status = resolver.status()
    assert (status.connected, status.error) == (False, "Nothing was heard from 127.0.0.1:1 for some seconds.")
