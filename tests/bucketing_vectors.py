"""The bucketing test vectors. `python -m tests.bucketing_vectors > proto/rampd/v1/bucketing_vectors.json` writes them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmh3 import mmh3_32_uintdigest

from rampd._decision.bucketing import bucket

FILE = Path(__file__).parents[1] / "proto/rampd/v1/bucketing_vectors.json"

LONGEST = 255
# 0x21 to 0x7E: all characters that a repo or a job id may have.
EVERY_CHARACTER = "".join(map(chr, range(0x21, 0x7F)))


def render() -> str:
    """Returns the content of the file: one vector on each line."""
    lines = ",\n".join(f"  {json.dumps(_vector(*case))}" for case in _cases())
    return f"[\n{lines}\n]\n"


def _vector(component: str, release: int, unit_kind: str, repo: str, job_id: str) -> dict[str, Any]:
    unit = job_id if unit_kind == "JOB" and job_id else repo
    hash_input = f"{component}/{release}:{unit}"
    return {
        "component": component,
        "release": release,
        "unit_kind": unit_kind,
        "repo": repo,
        "job_id": job_id,
        "hash_input": hash_input,
        "hash": mmh3_32_uintdigest(hash_input.encode()),
        "bucket": bucket(component, release, unit),
    }


def _cases() -> Iterator[tuple[str, int, str, str, str]]:
    # The same repo in many releases: its bucket is drawn again in each. The last number is the greatest safe integer in JSON.
    for release in (1, 2, 9, 10, 11, 99, 100, 1_000, 2**31 - 1, 2**31, 2**31 + 1, 2**32, 2**32 + 1, 2**53 - 1):
        yield "restyler", release, "REPO", "acme/app", ""
    # Many repos in one release.
    for number in range(16):
        yield "restyler", 12, "REPO", f"acme/app-{number}", f"job-{number}"
    # Jobs of one repo: each job is a unit. A job without an id uses its repo as the unit.
    for job_id in ("", "0", "42", "4242", "job-1", "job-2", "restyler-pr-1234-9f86d081", "acme/app"):
        yield "restyler", 12, "JOB", "acme/app", job_id
    # The job id has no effect if the unit is the repo.
    for job_id in ("", "42"):
        yield "restyler", 13, "REPO", "acme/app", job_id
    # The hash reads blocks of four bytes: every length of the last, incomplete block.
    for length in range(1, 10):
        yield "c", 7, "REPO", "a/bcdefgh"[:length], ""
    # The lowest and the highest bucket, and the buckets on both sides of 10 %.
    for repo in ("acme/app-7589", "acme/app-8834", "acme/app-5826", "acme/app-3572"):
        yield "restyler", 12, "REPO", repo, ""
    # Other components, with every kind of character that a name may have.
    for component in ("a", "0", "a-b", "a.b_c-d", "image-builder.v2", "x" * 63):
        yield component, 3, "REPO", "acme/app", ""
        yield component, 3, "JOB", "acme/app", "42"
    # All characters, and the longest names.
    yield "restyler", 12, "REPO", EVERY_CHARACTER, ""
    yield "restyler", 12, "JOB", "acme/app", EVERY_CHARACTER
    yield "restyler", 12, "REPO", "acme/" + "r" * (LONGEST - 5), ""
    yield "x" * 63, 2**53 - 1, "REPO", "acme/" + "r" * (LONGEST - 5), ""
    yield "x" * 63, 2**53 - 1, "JOB", "acme/app", "j" * LONGEST


if __name__ == "__main__":
    sys.stdout.write(render())
