"""docs/openfeature.md says what the code does."""

import re
from pathlib import Path

import pytest

from rampd import v1
from rampd._contract.grammar import MAX_BATCH, MAX_MESSAGE_BYTES
from rampd._decision.resolution import Channel, Decision, Resolution, ResolveReason
from rampd_server.http.evaluation import MAX_CONTEXT_BYTES, ErrorCode, flag
from rampd_server.rpc.messages.resolution import encode

DOCUMENT = (Path(__file__).parents[3] / "docs/openfeature.md").read_text()


def rows(title: str, number: int = 0) -> list[list[str]]:
    """The cells of a table below a title, without its head."""
    section = DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in tables[number].splitlines()[2:]]


REASONS = {row[0].strip("`"): row for row in rows("What an answer says")}
DECISIONS = [
    Decision("t1", Channel.CURRENT, ResolveReason.STEADY, 1),
    Decision("t2", Channel.NEXT, ResolveReason.WEIGHT, 2),
    Decision("t2", Channel.NEXT, ResolveReason.OVERRIDE_CHANNEL, 2),
    Decision("pb/x", None, ResolveReason.OVERRIDE_TAG, 0),
    Decision("t1", Channel.CURRENT, ResolveReason.STALE, 1),
]


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision.reason)
def test_the_table_of_reasons_is_the_mapping(decision: Decision) -> None:
    answer = v1.ResolveResponse.FromString(encode(Resolution(decision, 7)))
    found = flag("restyler", answer, {})
    _, reason, variant = REASONS[decision.reason]
    assert reason.split("`")[1] == found["reason"]
    assert f"`{found['variant']}`" in variant or (variant, found["variant"]) == ("the tag", decision.tag)


def test_the_table_of_reasons_has_every_reason_of_a_server() -> None:
    assert REASONS.keys() == {reason.value for reason in ResolveReason} - {"FALLBACK"}


def test_the_table_of_metadata_has_every_name() -> None:
    answer = v1.ResolveResponse.FromString(encode(Resolution(DECISIONS[1], 7, 42)))
    found = flag("restyler", answer, {"NAME": "x"})["metadata"]
    assert {row[0].strip("`") for row in rows("What an answer says", 1)} == found.keys()


def test_the_table_of_errors_has_every_code() -> None:
    assert {row[1].strip("`") for row in rows("Errors")} == set(ErrorCode)


def test_the_limits_are_those_of_the_code() -> None:
    assert f"at most {MAX_CONTEXT_BYTES // 1024} KiB" in DOCUMENT
    assert f"at most {MAX_BATCH:,} components and the attributes" in DOCUMENT
    assert f"in {MAX_MESSAGE_BYTES >> 20} MiB" in DOCUMENT
