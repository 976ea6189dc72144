"""The list of mutations fits the code: a row that changes nothing would be noticed by nobody, or by everybody."""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest
from lupa.lua51 import LuaRuntime

from tests.mutants import __main__
from tests.mutants.mutations import ROOT, Mutation, load
from tests.mutants.trying import Verdict

MUTATIONS = load()


def test_the_list_is_as_long_as_it_was_promised() -> None:
    assert len(MUTATIONS) >= 40


def text_of(mutation: Mutation) -> str:
    return (ROOT / mutation.file).read_text("utf-8")


def test_each_line_is_there_exactly_once() -> None:
    stale = [
        f"{each.file} has {each.old!r} {text_of(each).count(each.old)} times: correct tests/mutants/mutations.toml"
        for each in MUTATIONS
        if each.is_stale(text_of(each))
    ]
    assert not stale, "\n".join(stale)


def test_what_is_made_wrong_is_another_text_and_still_code() -> None:
    for mutation in MUTATIONS:
        text = mutation.apply(text_of(mutation))
        assert text != text_of(mutation), mutation
        if mutation.file.endswith(".lua"):
            LuaRuntime().compile(text)
        else:
            compile(text, mutation.file, "exec")


def test_each_test_that_must_notice_is_there() -> None:
    for mutation in MUTATIONS:
        file, *names = mutation.test.partition("[")[0].split("::")
        assert names, f"{mutation.test} is a file of tests: name one of them"
        inside: ast.Module | ast.ClassDef = ast.parse((ROOT / file).read_text("utf-8"))
        for name in names:
            found = [each for each in inside.body if getattr(each, "name", "") == name]
            assert found, f"there is no {mutation.test}"
            inside = found[0]


def test_no_row_is_there_twice() -> None:
    for what in ("protects", "new and old"):
        seen = Counter(each.protects if what == "protects" else (each.file, each.old) for each in MUTATIONS)
        assert [one for one, times in seen.items() if times > 1] == []


def test_only_code_that_people_run_is_made_wrong() -> None:
    assert {Path(each.file).parts[0] for each in MUTATIONS} <= {"client", "server"}


def test_what_fails_the_night() -> None:
    assert {verdict for verdict in Verdict if verdict.is_fault} == {Verdict.SURVIVED, Verdict.STALE, Verdict.BROKEN}


def test_a_text_that_no_row_has_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mutants", "--only", "no" + "such"])
    assert __main__.main() == 1
    assert capsys.readouterr().out == "No row has 'nosuch': look into tests/mutants/mutations.toml.\n"
