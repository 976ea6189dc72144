"""An answer assembled from prepared parts has the same bytes as the serialised message."""

import gc
import itertools
from weakref import ref

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd._decision.resolution import Channel, Decision, Resolution, ResolveReason
from rampd_server.rpc.messages.resolution import BatchEncoder, encode

DECISIONS = [
    Decision("20200301", Channel.CURRENT, ResolveReason.STEADY, 1, {"memory": "2g", "note": "für später"}),
    Decision("20200409", Channel.NEXT, ResolveReason.WEIGHT, 2),
    Decision("pb/secret-branch", None, ResolveReason.OVERRIDE_TAG, 0),
    Decision("20200301", Channel.CURRENT, ResolveReason.STALE, 2**40),
]
BUCKETS = [None, 0, 127, 128, 9999]
REVISIONS = [1, 128, 2**53]
AGES_S = [0.0, 0.0009, 0.001, 1.999, 4.999, 5.0, 86_400.5]


def expected(resolution: Resolution) -> v1.ResolveResponse:
    age_ms = int(resolution.snapshot_age_s * 1000)
    return v1.ResolveResponse(
        tag=resolution.tag,
        channel=f"CHANNEL_{resolution.channel}" if resolution.channel else None,
        reason=f"RESOLVE_REASON_{resolution.reason}",
        release=resolution.release,
        attributes=resolution.attributes,
        bucket=resolution.bucket,
        revision=resolution.revision,
        stale=resolution.stale,
        snapshot_age=Duration(seconds=age_ms // 1000, nanos=age_ms % 1000 * 1_000_000),
    )


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision.reason)
def test_the_bytes_contain_everything_of_the_resolution(decision):
    for revision, bucket, age_s in itertools.product(REVISIONS, BUCKETS, AGES_S):
        resolution = Resolution(decision, revision, bucket, age_s)
        for _ in range(2):
            message = v1.ResolveResponse.FromString(encode(resolution))
            assert message == expected(resolution)
            assert message.HasField("bucket") == (bucket is not None)
            assert message.HasField("snapshot_age")


def test_only_the_attributes_are_left_out_in_a_batch():
    encoder = BatchEncoder()
    for decision, revision, bucket in itertools.product(DECISIONS, REVISIONS, BUCKETS):
        resolution = Resolution(decision, revision, bucket, 0.25)
        whole = v1.ResolveResponse.FromString(encode(resolution))
        whole.ClearField("attributes")
        assert v1.ResolveResponse.FromString(encoder.encode(resolution)) == whole


def test_a_decision_at_another_revision_has_that_revision():
    answers = [v1.ResolveResponse.FromString(encode(Resolution(DECISIONS[0], revision))) for revision in (7, 8, 7)]
    assert [answer.revision for answer in answers] == [7, 8, 7]


def test_equal_decisions_of_two_states_have_separate_bytes():
    first, second = (Decision("t", None, ResolveReason.OVERRIDE_TAG, number) for number in (1, 2))
    answers = [v1.ResolveResponse.FromString(encode(Resolution(each, 1))) for each in (first, second, first)]
    assert [answer.release for answer in answers] == [1, 2, 1]


def test_a_decision_is_freed_with_its_state():
    decision = Decision("t", None, ResolveReason.OVERRIDE_TAG, 0)
    encode(Resolution(decision, 1))
    BatchEncoder().encode(Resolution(decision, 2))
    watched = ref(decision)
    del decision
    gc.collect()
    assert watched() is None


def test_a_decision_at_the_address_of_a_freed_one_does_not_get_its_bytes():
    seen = set()
    for number in range(1000):
        decision = Decision(f"t{number}", None, ResolveReason.OVERRIDE_TAG, 0)
        seen.add(id(decision))
        assert v1.ResolveResponse.FromString(encode(Resolution(decision, 1))).tag == f"t{number}"
    assert len(seen) < 1000
