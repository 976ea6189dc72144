"""Which of 10,000 buckets a unit falls into. docs/bucketing.md has the reasons, and the vectors for other languages."""

from mmh3 import mmh3_32_uintdigest

BUCKETS = 10_000
"""The number of buckets: one for each basis point of a share."""


def bucket(component: str, release: int, unit: str) -> int:
    """Returns the bucket of `unit`, 0 to 9999, in the rollout of release number `release`.

    `floor(h * 10000 / 2^32)`, where h is the unsigned murmur3_x86_32, seed 0, of the UTF-8 bytes of
    `{component}/{release}:{unit}`. The unit gets next if its bucket is less than next's basis points. Never raises:
    a lone surrogate, which UTF-8 can't encode, is hashed as the three bytes of its code point.
    """
    return bucket_after(hash_prefix(component, release), unit)


def bucket_after(prefix: bytes, unit: str) -> int:
    """Returns the bucket of `unit`, 0 to 9999, for a `hash_prefix`."""
    return bucket_of(mmh3_32_uintdigest(prefix + unit_bytes(unit)))


def hash_prefix(component: str, release: int) -> bytes:
    """Returns the bytes that are hashed before the unit. They are the same for all units of a rollout."""
    return unit_bytes(f"{component}/{release}:")


def unit_bytes(unit: str) -> bytes:
    """Returns the bytes of a unit to hash. Not a str: mmh3 5.3.1 crashes the process on a str that UTF-8 can't encode."""
    return unit.encode(errors="surrogatepass")


def bucket_of(digest: int) -> int:
    """Returns the bucket of an unsigned hash of 32 bits."""
    return digest * BUCKETS >> 32


def first_digest(bucket: int) -> int:
    """Returns the smallest hash of a bucket; 2^32 for the bucket after the last."""
    return -(-(bucket << 32) // BUCKETS)
