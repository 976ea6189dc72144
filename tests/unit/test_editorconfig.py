"""The tree follows `.editorconfig`, so an editor that applies it changes nothing."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = {".py", ".pyi", ".lua", ".proto", ".md", ".toml", ".json", ".js", ".yaml", ""}


def texts() -> list[Path]:
    below = [path for name in ("client", "server", "proto", "tests", "docs") for path in (ROOT / name).rglob("*")]
    return sorted(path for path in [*below, *ROOT.iterdir()] if path.is_file() and path.suffix in TEXTS)


@pytest.fixture(scope="module")
def rules() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    return parser


def test_every_text_follows_the_general_rules(rules: configparser.ConfigParser) -> None:
    assert dict(rules["*"]) == {
        "charset": "utf-8",
        "end_of_line": "lf",
        "insert_final_newline": "true",
        "trim_trailing_whitespace": "true",
        "indent_style": "space",
        "indent_size": "4",
    }
    wrong = []
    for path in texts():
        data = path.read_bytes()
        lines = data.decode().split("\n")
        if b"\r" in data or lines[-1] or any(line != line.rstrip(" \t") for line in lines):
            wrong.append(str(path.relative_to(ROOT)))
    assert len(texts()) > 400
    assert wrong == []


def test_scripts_and_messages_are_indented_by_two(rules: configparser.ConfigParser) -> None:
    assert rules["*.{lua,proto,js,json,md,yaml}"]["indent_size"] == "2"
    firsts = {
        path.name: re.search("^( +)[^ ]", path.read_text(), re.MULTILINE)
        for path in texts()
        if path.suffix in {".lua", ".proto"}
    }
    assert len(firsts) > 20
    assert {name for name, first in firsts.items() if first and len(first[1]) != 2} == set()


def test_only_the_makefile_is_indented_by_tabs(rules: configparser.ConfigParser) -> None:
    assert rules["Makefile"]["indent_style"] == "tab"
    code = [path for path in texts() if path.suffix != ".md"]  # a document quotes other languages
    assert [path.name for path in code if "\n\t" in path.read_text()] == ["Makefile"]
