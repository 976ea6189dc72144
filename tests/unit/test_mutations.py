"""The list of mutations fits the code: no test, or every test, would notice a row that changes nothing."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from lupa.lua51 import LuaRuntime

from tests.mutants import __main__
from tests.mutants.mutations import ROOT, Mutation, load
from tests.mutants.trying import Verdict

MUTATIONS = load()


def test_the_list_has_at_least_the_promised_length() -> None:
    assert len(MUTATIONS) >= 40


def text_of(mutation: Mutation) -> str:
    return (ROOT / mutation.file).read_text("utf-8")


def test_each_quoted_text_is_in_its_file_exactly_once() -> None:
    stale = [
        f"{each.file} has {each.old!r} {text_of(each).count(each.old)} times: correct tests/mutants/mutations.toml"
        for each in MUTATIONS
        if each.is_stale(text_of(each))
    ]
    assert not stale, "\n".join(stale)


def test_each_mutation_changes_the_text_and_is_still_valid_code() -> None:
    for mutation in MUTATIONS:
        text = mutation.apply(text_of(mutation))
        assert text != text_of(mutation), mutation
        if mutation.file.endswith(".lua"):
            LuaRuntime().compile(text)
        elif mutation.file.endswith(".py"):  # of the page, a browser runs the rest
            compile(text, mutation.file, "exec")


def test_each_named_test_exists() -> None:
    """Expect of each row one test, with its case if it names one: pytest runs nothing if one name is wrong."""
    tests = sorted({each.test for each in MUTATIONS})
    assert [test for test in tests if "::test_" not in test] == []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_no_row_is_repeated() -> None:
    for what in ("protects", "new and old"):
        seen = Counter(each.protects if what == "protects" else (each.file, each.old) for each in MUTATIONS)
        assert [one for one, times in seen.items() if times > 1] == []


def test_only_code_of_client_and_server_is_mutated() -> None:
    assert {Path(each.file).parts[0] for each in MUTATIONS} <= {"client", "server"}


def test_the_verdicts_that_fail_the_nightly_run() -> None:
    assert {verdict for verdict in Verdict if verdict.is_fault} == {
        Verdict.HUNG,
        Verdict.SURVIVED,
        Verdict.STALE,
        Verdict.BROKEN,
    }


def test_a_text_that_no_row_has_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mutants", "--only", "no" + "such"])
    assert __main__.main() == 1
    assert capsys.readouterr().out == "No row has 'nosuch': look into tests/mutants/mutations.toml.\n"
