"""Words that a tired reader whose first language is not English may not know, each with the ordinary word for it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOLDERS = ("client", "server", "proto", "docs", "examples", "tests")
SUFFIXES = {".py", ".pyi", ".proto", ".md", ".lua", ".toml", ".js", ".css", ".html", ".go", ".yml", ".yaml"}
INSTEAD = {
    "anew": "again",
    "lest": "so that … not",
    "hangs on": "depends on",
    "by whomever": "by whoever, or the name",
    "notwithstanding": "although",
    "henceforth": "from now on",
    "thereof": "of it",
}
_RARE = re.compile(rf"\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)


def rare_words(text: str) -> list[str]:
    return [word.lower() for word in _RARE.findall(text)]


def test_no_text_has_a_word_that_few_people_know() -> None:
    texts = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    found = []
    for path in [*texts, *ROOT.glob("*.md"), ROOT / "Makefile"]:
        if path != Path(__file__) and "node_modules" not in path.parts:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                place = f"{path.relative_to(ROOT)}:{number}"
                found += [f"{place}: write {INSTEAD[word]!r} for {word!r}" for word in rare_words(line)]
    assert not found


@pytest.mark.parametrize(
    ("line", "words"),
    [("Made anew, lest it hangs on.", ["anew", "lest", "hangs on"]), ("A new test at least hangs.", [])],
)
def test_a_word_is_found_as_a_whole_word(line: str, words: list[str]) -> None:
    assert rare_words(line) == words
