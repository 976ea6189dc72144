"""What names, tags, repos and texts may look like."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd import grammar
from rampd.grammar import Word, check_resolve, is_percent, shown

LOWER = string.ascii_lowercase + string.digits
ALNUM = string.ascii_letters + string.digits

RIGHT: list[tuple[Word, list[str]]] = [
    (grammar.COMPONENT, ["a", "0", "restyler", "a.b_c-d", "a" * 63, "a--b", "9..9"]),
    (
        grammar.TAG,
        ["20200301", "pb/secret-branch", "_", "v1.2+x", "ghcr.io/a/b:1@sha256:" + "0" * 64, "A" * 255, "a" + "@" * 254],
    ),
    (grammar.REPO, ["acme/app", "acme/*", "*", "/", "!", "~", "x" * 255, "a/b/c", "{}"]),
    (grammar.KEY, ["a", "A-z._9", "." * 64]),
    (grammar.ATTRIBUTE_KEY, ["a", "image", "a/b.c-d_e", "9", "a" * 63, "a-"]),
    (grammar.ATTRIBUTE_VALUE, ["", "any text, naïve 🚀", "x" * 1024, "é" * 512, "\u202e"]),
    (grammar.NOTE, ["", "because it is late", "é" * 500, "🚀" * 500]),
    (grammar.QUERY, ["sum(rate(x[5m]))\n\t/ 2", "é"]),
    (grammar.ACTOR, ["ci", "Ada Lovelace <ada@example.org>", "x" * 128]),
]
WRONG: list[tuple[Word, list[str]]] = [
    (grammar.COMPONENT, ["", "A", "-a", "a-", ".a", "a.", "a" * 64, "a b", "a/b", "a:b", "ä", "a\n", "a\0"]),
    (grammar.TAG, ["", "-a", ".a", "/a", ":a", "a" * 256, "a b", "a\n", "ä", "a{}", "a,b", "\0"]),
    (grammar.REPO, ["", " ", "a b", "a\n", "\x7f", "é", "x" * 256, "a\0", "\u3000", "a\u200b"]),
    (grammar.KEY, ["", "a/b", "a b", "a" * 65, "a\n", "é"]),
    (grammar.ATTRIBUTE_KEY, ["", "A", ".a", "-a", "/a", "a" * 64, "a b", "a\n"]),
    (grammar.ATTRIBUTE_VALUE, ["\n", "a\0", "\x7f", "\x85", "x" * 1025, "é" * 513, "\ud800"]),
    (grammar.NOTE, ["\n", "\t", "a\x1b[1m", "x" * 501, "\udfff"]),
    (grammar.QUERY, ["a\0", "\x1b", "x" * 4097, "\ud800", "\r"]),
    (grammar.ACTOR, ["", " ci", "ci ", "é", "a\nb", "x" * 129]),
]


@pytest.mark.parametrize(("word", "text"), [(word, text) for word, texts in RIGHT for text in texts])
def test_a_right_text_matches(word: Word, text: str) -> None:
    assert word.matches(text)


@pytest.mark.parametrize(("word", "text"), [(word, text) for word, texts in WRONG for text in texts])
def test_a_wrong_text_does_not_match(word: Word, text: str) -> None:
    assert not word.matches(text)


TEXTS = st.one_of(st.text(max_size=70), st.text(alphabet=LOWER + "._-", max_size=66))


@given(TEXTS)
def test_a_component_is_what_its_sentence_says(text: str) -> None:
    says = 1 <= len(text) <= 63 and set(text) <= set(LOWER + "._-") and text[0] in LOWER and text[-1] in LOWER
    assert bool(grammar.COMPONENT.matches(text)) == says


@given(st.one_of(st.text(max_size=260), st.text(alphabet=ALNUM + "._/:@+-", max_size=260)))
def test_a_tag_is_what_its_sentence_says(text: str) -> None:
    says = 1 <= len(text) <= 255 and set(text) <= set(ALNUM + "._/:@+-") and text[0] in ALNUM + "_"
    assert bool(grammar.TAG.matches(text)) == says


@given(TEXTS, st.text(max_size=260), st.text(max_size=260))
def test_the_quick_check_of_a_question_says_what_the_words_say(component: str, repo: str, job_id: str) -> None:
    wrong = {
        field
        for field, right in (
            ("component", grammar.COMPONENT.matches(component)),
            ("repo", grammar.REPO.matches(repo)),
            ("job_id", not job_id or grammar.REPO.matches(job_id)),
        )
        if not right
    }
    assert {field for field, _ in check_resolve(component, repo, job_id)} == wrong
    assert {field for field, _ in check_resolve("restyler", repo, job_id)} == wrong - {"component"}


@pytest.mark.parametrize("component", ["restyler", None])
@pytest.mark.parametrize(
    "hostile", [None, 0, 1.5, b"acme/app", [], {}, object(), "", " ", "\0", "\ud800", "x" * 1_000_000, "a\n"]
)
def test_whatever_is_asked_is_told_and_nothing_is_raised(hostile: object, component: object) -> None:
    assert check_resolve("restyler", "acme/app", "42") == []
    found = dict(check_resolve(component, hostile, "42"))  # type: ignore[arg-type]
    assert set(found) == {"repo"} | ({"component"} if component is None else set())
    assert all(len(text) < 250 for text in found.values())
    assert {field for field, _ in check_resolve("restyler", "a", hostile)} == (set() if hostile == "" else {"job_id"})  # type: ignore[arg-type]


def test_names_beyond_those_that_are_remembered_are_right_as_well() -> None:
    for number in range(5000):
        assert check_resolve(f"component-{number}", "acme/app") == []


def test_every_percent_in_hundredths_is_right_and_no_other() -> None:
    assert all(is_percent(basis_points / 100) for basis_points in range(10_001))
    assert not any(is_percent(basis_points / 100 + 0.001) for basis_points in range(10_001))


@pytest.mark.parametrize("percent", [float("nan"), float("inf"), float("-inf"), -0.01, 100.01, 1e300, 5e-324])
def test_what_is_no_share_is_no_percent(percent: float) -> None:
    assert not is_percent(percent)


@given(st.one_of(st.text(), st.integers(), st.binary(), st.lists(st.text())))
def test_a_value_is_shown_short_in_ascii_and_on_one_line(value: object) -> None:
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 450


def test_a_long_value_is_cut_and_its_length_is_told() -> None:
    assert shown("a" * 1_000_000) == "'" + "a" * 40 + "'... (1000000 characters)"
