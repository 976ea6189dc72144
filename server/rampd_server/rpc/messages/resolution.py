"""Encodes a Resolution as the bytes of a ResolveResponse, from parts that are serialised once.

The serialised fields of a protobuf message may be concatenated. The part that many answers share depends on the
decision and the revision. There are few buckets, and few ages in milliseconds. To build the whole message again costs
five times as much.
"""

from weakref import ref

from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd._decision.bucketing import BUCKETS
from rampd._decision.resolution import Decision, Resolution
from rampd._decision.staleness import is_stale

_NANOS_PER_MS = 1_000_000
_USUAL_AGES_MS = 2_000


def encode(resolution: Resolution) -> bytes:
    """Returns the whole answer. Its age is rounded down to milliseconds."""
    decision, revision = resolution.decision, resolution.revision
    known = _known.get(id(decision))
    if known is None or known[0] != revision:
        known = _remember(decision, revision)
    return known[1] + _varying(resolution)


class BatchEncoder:
    """Encodes the answers of one batch without their attributes, which a batch carries once for each release."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[Decision, int], bytes] = {}

    def encode(self, resolution: Resolution) -> bytes:
        """Returns one answer of the batch."""
        key = resolution.decision, resolution.revision
        if key not in self._fixed:
            self._fixed[key] = _fixed(*key).SerializeToString()
        return self._fixed[key] + _varying(resolution)


def _varying(resolution: Resolution) -> bytes:
    bucket = resolution.bucket
    age_ms = int(resolution.snapshot_age_s * 1000)
    age = _ages[age_ms] if age_ms < _USUAL_AGES_MS else _age(age_ms)
    return age if bucket is None else _buckets[bucket] + age


# By a decision's id, while the decision exists. A WeakKeyDictionary does the same, but is half of the cost of an
# answer.
_known: dict[int, tuple[int, bytes]] = {}
_watched: dict[int, ref[Decision]] = {}


def _remember(decision: Decision, revision: int) -> tuple[int, bytes]:
    key = id(decision)

    def forget(_: ref[Decision]) -> None:
        del _known[key], _watched[key]

    if key not in _watched:
        _watched[key] = ref(decision, forget)
    message = _fixed(decision, revision)
    message.attributes.update(decision.attributes)
    known = _known[key] = revision, message.SerializeToString()
    return known


def _fixed(decision: Decision, revision: int) -> v1.ResolveResponse:
    return v1.ResolveResponse(
        tag=decision.tag,
        channel=f"CHANNEL_{decision.channel}" if decision.channel else None,
        reason=f"RESOLVE_REASON_{decision.reason}",
        release=decision.release,
        revision=revision,
    )


def _age(ms: int) -> bytes:
    seconds, rest_ms = divmod(ms, 1000)
    age = Duration(seconds=seconds, nanos=rest_ms * _NANOS_PER_MS)
    return v1.ResolveResponse(stale=is_stale(ms / 1000), snapshot_age=age).SerializeToString()


_buckets = [v1.ResolveResponse(bucket=bucket).SerializeToString() for bucket in range(BUCKETS)]
_ages = [_age(ms) for ms in range(_USUAL_AGES_MS)]
