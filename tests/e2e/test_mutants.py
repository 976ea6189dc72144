"""`make mutants` finds out whether a test notices a mutation."""

from collections.abc import Iterator

import pytest

from tests.mutants import trying
from tests.mutants.mutations import Mutation
from tests.mutants.trying import Scratch, Verdict, scratch

TEST = "tests/unit/test_clock.py::test_a_clock_that_is_set_has_jumped"
CLOCK = "server/rampd_server/domain/automation/clock.py"


@pytest.fixture(scope="module")
def copy() -> Iterator[Scratch]:
    with scratch() as made:
        yield made


@pytest.mark.parametrize(
    ("old", "new", "test", "verdict"),
    [
        ("abs(jumped_by_ms) > JUMP_MS", "False", TEST, Verdict.NOTICED),
        ("abs(jumped_by_ms) > JUMP_MS", "JUMP_MS < abs(jumped_by_ms)", TEST, Verdict.SURVIVED),
        ("nowhere in the file", "", TEST, Verdict.STALE),
        ("from dataclasses import dataclass", "import nothing_of_this_name", TEST, Verdict.BROKEN),
        ("abs(jumped_by_ms) > JUMP_MS", "False", f"{TEST}_and_ran_away", Verdict.BROKEN),
    ],
)
def test_a_mutation_has_its_verdict(copy: Scratch, old: str, new: str, test: str, verdict: Verdict) -> None:
    assert copy.with_mutation(Mutation("The clock", CLOCK, old, new, test)) is verdict


def test_after_a_mutation_the_copy_is_unchanged(copy: Scratch) -> None:
    assert copy.without_mutation([TEST]) == {TEST: None}


def test_a_server_that_a_test_starts_runs_from_the_copy_too(copy: Scratch) -> None:
    mutation = Mutation(
        "The exit code of a server that can't start",
        "server/rampd_server/process/startup.py",
        "NOT_STARTED = 2",
        "NOT_STARTED = 3",
        "tests/e2e/test_workers.py::test_a_worker_that_can_not_start_ends_all_with_a_sentence",
    )
    assert copy.with_mutation(mutation) is Verdict.NOTICED


@pytest.mark.parametrize(("hangs", "verdict"), [(False, Verdict.HUNG), (True, Verdict.NOTICED)])
def test_a_test_that_hangs_notices_only_where_its_row_says_so(
    copy: Scratch, monkeypatch: pytest.MonkeyPatch, hangs: bool, verdict: Verdict
) -> None:
    monkeypatch.setattr(trying, "_TEST_LIMIT_S", 2)
    endless = Mutation(
        "The clock",
        CLOCK,
        "    if abs(jumped_by_ms)",
        "    while True:\n        pass\n    if abs(jumped_by_ms)",
        TEST,
        hangs,
    )
    assert copy.with_mutation(endless) is verdict
    assert verdict.is_fault is not hangs
