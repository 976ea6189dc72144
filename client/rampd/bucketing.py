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


def hash_prefix(component: str, release: int) -> bytes:
    """What is hashed before the unit; the same for all units of a rollout."""
    return f"{component}/{release}:".encode(errors="surrogatepass")


def bucket_after(prefix: bytes, unit: str) -> int:
    """The bucket of `unit`, 0 to 9999, after a `hash_prefix`."""
    # Bytes, never a str: mmh3 5.3.1 crashes the process on a str that UTF-8 can't encode.
    try:
        data = prefix + unit.encode()
    except UnicodeEncodeError:
        data = prefix + unit.encode(errors="surrogatepass")
    return mmh3_32_uintdigest(data) * BUCKETS >> 32
