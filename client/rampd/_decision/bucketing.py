"""Which of 10,000 buckets a unit falls into. docs/bucketing.md has the reasons, and the vectors for other languages."""

from mmh3 import mmh3_32_uintdigest

BUCKETS = 10_000
"""How many buckets there are: one for each basis point of a share."""


def bucket(component: str, release: int, unit: str) -> int:
    """The bucket of `unit`, 0 to 9999, in the rollout of release number `release`.

    `floor(h * 10000 / 2^32)`, where h is the unsigned murmur3_x86_32, seed 0, of the UTF-8 bytes of
    `{component}/{release}:{unit}`. The unit gets next where its bucket is less than next's basis points. Never raises:
    a lone surrogate, which UTF-8 has no bytes for, is hashed as the three bytes of its code point.
    """
    return bucket_after(hash_prefix(component, release), unit)


def bucket_after(prefix: bytes, unit: str) -> int:
    """The bucket of `unit`, 0 to 9999, after a `hash_prefix`."""
    return bucket_of(mmh3_32_uintdigest(prefix + unit_bytes(unit)))


def hash_prefix(component: str, release: int) -> bytes:
    """What is hashed before the unit; the same for all units of a rollout."""
    return unit_bytes(f"{component}/{release}:")


def unit_bytes(unit: str) -> bytes:
    """What is hashed of a unit. Bytes, never a str: mmh3 5.3.1 crashes the process on a str that UTF-8 can't encode."""
    return unit.encode(errors="surrogatepass")


def bucket_of(digest: int) -> int:
    """The bucket of an unsigned hash of 32 bits."""
    return digest * BUCKETS >> 32


def first_digest(bucket: int) -> int:
    """The least hash that falls into a bucket; 2^32 for the one after the last."""
    return -(-(bucket << 32) // BUCKETS)
