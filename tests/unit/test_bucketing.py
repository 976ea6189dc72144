"""Buckets are the published ones: formula, vectors and documentation agree."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._decision.bucketing import BUCKETS, bucket, bucket_after, hash_prefix
from tests import bucketing_vectors

ROOT = Path(__file__).parents[2]
VECTORS = json.loads(bucketing_vectors.FILE.read_text())
WORD = 0xFFFFFFFF


def murmur3_x86_32(data: bytes) -> int:
    """Computes the hash by its definition, with seed 0, word by word."""

    def rotate(word: int, bits: int) -> int:
        return (word << bits | word >> (32 - bits)) & WORD

    def mix(word: int) -> int:
        return rotate(word * 0xCC9E2D51 & WORD, 15) * 0x1B873593 & WORD

    h = 0
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        h ^= mix(int.from_bytes(data[start : start + 4], "little"))
        h = (rotate(h, 13) * 5 + 0xE6546B64) & WORD
    h ^= mix(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & WORD
    h = (h ^ h >> 13) * 0xC2B2AE35 & WORD
    return h ^ h >> 16


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0), (b"hello", 0x248BFA47), (b"The quick brown fox jumps over the lazy dog", 0x2E4FF723)],
)
def test_the_reference_hash_gives_well_known_values(data: bytes, expected: int) -> None:
    assert murmur3_x86_32(data) == expected


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["hash_input"][:60])
def test_the_formula_gives_the_published_vectors(vector: dict) -> None:
    unit = vector["job_id"] if vector["unit_kind"] == "JOB" and vector["job_id"] else vector["repo"]
    assert vector["hash_input"] == "{}/{}:{}".format(vector["component"], vector["release"], unit)
    assert vector["hash"] == murmur3_x86_32(vector["hash_input"].encode())
    assert vector["bucket"] == vector["hash"] * 10000 // 2**32
    assert vector["bucket"] == bucket(vector["component"], vector["release"], unit)


def test_the_generator_writes_the_published_vectors() -> None:
    assert bucketing_vectors.FILE.read_text() == bucketing_vectors.render()


def test_the_vectors_cover_common_mistakes_of_other_implementations() -> None:
    assert len(VECTORS) >= 60
    assert sum(vector["hash"] > 2**31 for vector in VECTORS) >= 10
    assert {vector["unit_kind"] for vector in VECTORS} == {"REPO", "JOB"}
    assert any(vector["unit_kind"] == "JOB" and not vector["job_id"] for vector in VECTORS)
    assert any(vector["unit_kind"] == "REPO" and vector["job_id"] for vector in VECTORS)
    assert any(9 < vector["release"] < 100 for vector in VECTORS)
    assert any(vector["release"] > 2**31 for vector in VECTORS)
    assert max(vector["release"] for vector in VECTORS) < 2**53, "a JSON reader may make doubles of numbers"
    assert {len(vector["hash_input"]) % 4 for vector in VECTORS} == {0, 1, 2, 3}
    assert {0, 999, 1000, 9999} <= {vector["bucket"] for vector in VECTORS}
    assert max(len(vector["repo"]) for vector in VECTORS) == max(len(vector["job_id"]) for vector in VECTORS) == 255


def test_the_worked_example_in_the_documentation_is_right() -> None:
    document = (ROOT / "docs/bucketing.md").read_text()
    rows = dict(re.findall(r"^\| (input|h|h \* 10000|divided by .*?) \| `?(.*?)`? \|$", document, re.MULTILINE))
    hash_input, h, product, quotient = rows.values()
    assert int(h) == murmur3_x86_32(hash_input.encode())
    assert int(product) == int(h) * 10000
    assert int(quotient) == bucket("restyler", 12, "acme/app-1")
    assert hash_input == "restyler/12:acme/app-1"
    assert f"current at {int(quotient) / 100:.2f} %" in document
    assert f"next at {(int(quotient) + 1) / 100:.2f} %" in document


@given(st.text(), st.integers(0, 2**63 - 1), st.text())
def test_any_text_has_the_bucket_of_its_utf_8_bytes(component: str, release: int, unit: str) -> None:
    data = f"{component}/{release}:{unit}".encode()
    assert bucket(component, release, unit) == murmur3_x86_32(data) * BUCKETS // 2**32


@pytest.mark.parametrize("unit", ["a\udc80", "\ud83d", "acme/app\0", "x" * 1_000_000])
def test_no_text_crashes_or_raises(unit: str) -> None:
    assert 0 <= bucket("restyler", 1, unit) < BUCKETS
    assert 0 <= bucket(unit, 1, "acme/app") < BUCKETS


def test_a_prefix_hashed_once_gives_the_same_buckets() -> None:
    prefix = hash_prefix("restyler", 12)
    assert [bucket_after(prefix, f"acme/{n}") for n in range(50)] == [
        bucket("restyler", 12, f"acme/{n}") for n in range(50)
    ]
