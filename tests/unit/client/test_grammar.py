"""The grammar of names, tags, repos and texts."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._contract import grammar
from rampd._contract.grammar import Word, check_resolve, is_percent, shown, word_violation

LOWER = string.ascii_lowercase + string.digits
ALNUM = string.ascii_letters + string.digits

RIGHT: list[tuple[Word, list[str]]] = [
    (grammar.COMPONENT, ["a", "0", "restyler", "a.b_c-d", "a" * 63, "a--b", "9..9"]),
    (
        grammar.TAG,
        [
            *("20200301", "pb/secret-branch", "_", "v1.2+x", "ghcr.io/a/b:1@sha256:" + "0" * 64, "A" * 255),
            *("@scope/pkg@1.2.3", "pkg==1.0", "feat(x)/y", "fix/#42~2", "a" + "@" * 254, "@", "a=20b"),
        ],
    ),
    (grammar.REPO, ["acme/app", "acme/*", "*", "/", "!", "~", "x" * 255, "a/b/c", "{}"]),
    (
        grammar.PINNED,
        ["acme/app", "plain", "/", "acme/*", "a/b/c/*", "https://example.org/group/*", "/srv/*", "a" * 253 + "/*"],
    ),
    (grammar.KEY, ["a", "A-z._9", "." * 64]),
    (grammar.ATTRIBUTE_KEY, ["a", "image", "a/b.c-d_e", "9", "a" * 63, "a-"]),
    (grammar.ATTRIBUTE_VALUE, ["", "any text, naïve 🚀", "x" * 1024, "é" * 512, "\u202e", "\n", "a\r\n\tb"]),
    (grammar.NOTE, ["", "because it is late", "fix: x\n\n\t- y\r\n", "\n", "\t", "é" * 500, "🚀" * 500]),
    (grammar.QUERY, ["sum(rate(x[5m]))\n\t/ 2", "x\r\n/ 2", "é"]),
    (grammar.ACTOR, ["ci", "Ada Lovelace <ada@example.org>", "x" * 128]),
]
WRONG: list[tuple[Word, list[str]]] = [
    (grammar.COMPONENT, ["", "A", "-a", "a-", ".a", "a.", "a" * 64, "a b", "a/b", "a:b", "ä", "a\n", "a\0"]),
    (grammar.TAG, ["", "-a", ".a", "/a", "=a", "#a", "(a", "a" * 256, "a b", "a\n", "ä", "a{}", "a,b", "a%b", "\0"]),
    (grammar.REPO, ["", " ", "a b", "a\n", "\x7f", "é", "x" * 256, "a\0", "\u3000", "a\u200b"]),
    (
        grammar.PINNED,
        [
            *(
                "",
                "a b",
                "é/*",
                "x" * 254 + "/*",
                "*",
                "/*",
                "//*",
                "a//*",
                "a*",
                "a/b*",
                "*/a",
                "a/*/b",
                "a/**",
                "*/*",
            ),
            *("a/*/*", "a/*/", "a/*b"),
        ],
    ),
    (grammar.KEY, ["", "a/b", "a b", "a" * 65, "a\n", "é"]),
    (grammar.ATTRIBUTE_KEY, ["", "A", ".a", "-a", "/a", "a" * 64, "a b", "a\n"]),
    (grammar.ATTRIBUTE_VALUE, ["\r", "a\rb", "\x0b", "a\0", "\x7f", "\x85", "x" * 1025, "é" * 513, "\ud800"]),
    (grammar.NOTE, ["\r", "\n\r", "\x0c", "a\x1b[1m", "x" * 501, "\udfff"]),
    (grammar.QUERY, ["a\0", "\x1b", "x" * 4097, "\ud800", "\r"]),
    (grammar.ACTOR, ["", " ci", "ci ", "é", "a\nb", "x" * 129]),
]


@pytest.mark.parametrize(("word", "text"), [(word, text) for word, texts in RIGHT for text in texts])
def test_a_valid_text_matches(word: Word, text: str) -> None:
    assert word.matches(text)


@pytest.mark.parametrize(("word", "text"), [(word, text) for word, texts in WRONG for text in texts])
def test_an_invalid_text_does_not_match(word: Word, text: str) -> None:
    assert not word.matches(text)


TEXTS = st.one_of(st.text(max_size=70), st.text(alphabet=LOWER + "._-", max_size=66))


@given(TEXTS)
def test_the_sentence_about_a_component_describes_its_grammar(text: str) -> None:
    says = 1 <= len(text) <= 63 and set(text) <= set(LOWER + "._-") and text[0] in LOWER and text[-1] in LOWER
    assert bool(grammar.COMPONENT.matches(text)) == says


@given(st.one_of(st.text(max_size=260), st.text(alphabet=ALNUM + "._/:@+=#~()-", max_size=260)))
def test_the_sentence_about_a_tag_describes_its_grammar(text: str) -> None:
    says = 1 <= len(text) <= 255 and set(text) <= set(ALNUM + "._/:@+=#~()-") and text[0] in ALNUM + "_@"
    assert bool(grammar.TAG.matches(text)) == says


WORDS = [word for word, _ in RIGHT]


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.expected)
@given(st.one_of(st.text(max_size=70), st.text(alphabet="aA=/*-_. \n\r\t\0é", max_size=300)))
def test_only_a_text_that_does_not_match_has_a_flaw(word: Word, text: str) -> None:
    assert bool(word.matches(text)) == (word.flaw(text) is None)


@pytest.mark.parametrize(
    ("word", "text", "told"),
    [
        (grammar.TAG, "a" * 42 + "%b", "'%' at character 43 is not allowed; percent-encode it with = for %: =25"),
        (grammar.TAG, "pb/my branch", "' ' at character 6 is not allowed; percent-encode it with = for %: =20"),
        (grammar.TAG, " pb", "' ' at character 1 is not allowed"),
        (grammar.TAG, "-pb", "'-' at character 1 can't be the first"),
        (grammar.TAG, "x" * 256, "it has 256 characters"),
        (grammar.REPO, "acme/my app", "' ' at character 8 is not allowed; percent-encode it: %20"),
        (grammar.REPO, "acmé", "'\\xe9' at character 4 is not allowed; percent-encode it: %C3%A9"),
        (grammar.REPO, "\ud800", "'\\ud800' at character 1 is not allowed"),
        (grammar.COMPONENT, "Restyler", "'R' at character 1 is not allowed"),
        (grammar.COMPONENT, "restyler-", "'-' at character 9 can't be the last"),
        (grammar.KEY, "a/b", "'/' at character 2 is not allowed"),
        (grammar.ATTRIBUTE_KEY, "Memory", "'M' at character 1 is not allowed"),
        (grammar.ATTRIBUTE_VALUE, "é" * 513, "it has 1026 bytes"),
        (grammar.NOTE, "late\n\x1b[1m", "'\\x1b' at character 6 is not allowed"),
        (grammar.NOTE, "x" * 501, "it has 501 characters"),
        (grammar.ACTOR, "ci ", "' ' at character 3 can't be the last"),
        (grammar.PINNED, "group/su*", "'*' at character 9 works only as the whole last segment, after one that is not empty"),
        (grammar.PINNED, "*", "'*' at character 1 works only as the whole last segment, after one that is not empty"),
    ],
)  # fmt: skip
def test_a_refusal_says_which_character_is_wrong_and_why(word: Word, text: str, told: str) -> None:
    wrong = word_violation(word, text, required=True)
    assert wrong is not None
    assert wrong.startswith(f"must be {word.expected}; got ")
    assert wrong.endswith(f": {told}")


@pytest.mark.parametrize("word", [grammar.TAG, grammar.REPO])
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_the_text_that_a_refusal_proposes_is_valid(word: Word, text: str) -> None:
    text = f"a{text}"
    while (flaw := word.flaw(text)) is not None:
        text = text[: flaw.at] + flaw.what.rpartition(": ")[2] + text[flaw.at + 1 :]
    assert word.matches(text)


@pytest.mark.parametrize("at", [0, 20, 43, 199, 200])
def test_the_text_around_the_wrong_character_is_shown(at: int) -> None:
    text = "a" * at + "=" + "b" * (200 - at)
    shown_part = grammar.COMPONENT.told(text).partition(": ")[0]
    assert "a" * min(at, 19) + "=" + "b" * min(200 - at, 19) in shown_part
    assert len(shown_part) <= 48


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from([grammar.NOTE, grammar.TAG, grammar.REPO]))
def test_the_part_that_is_wrong_is_never_cut(before: str, after: str, word: Word) -> None:
    text = f"{before}\0{after}"
    flaw, told = word.flaw(text), word.told(text)
    assert flaw is not None
    assert told.isascii()
    assert told.isprintable()
    assert ascii(text[flaw.at])[1:-1] in told.rpartition(f": {flaw.what}")[0].strip(".")[1:-1]
    assert len(told) < 250


@given(TEXTS, st.text(max_size=260), st.text(max_size=260))
def test_the_quick_check_of_a_resolve_agrees_with_the_grammar(component: str, repo: str, job_id: str) -> None:
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
def test_the_quick_check_describes_any_wrong_value_and_raises_nothing(hostile: object, component: object) -> None:
    assert check_resolve("restyler", "acme/app", "42") == []
    found = dict(check_resolve(component, hostile, "42"))  # type: ignore[arg-type]
    assert set(found) == {"repo"} | ({"component"} if component is None else set())
    assert all(len(text) < 250 for text in found.values())
    assert {field for field, _ in check_resolve("restyler", "a", hostile)} == (set() if hostile == "" else {"job_id"})  # type: ignore[arg-type]


def test_more_names_than_the_cache_holds_are_checked_correctly() -> None:
    for number in range(5000):
        assert check_resolve(f"component-{number}", "acme/app") == []


def test_a_percent_is_valid_only_in_whole_hundredths() -> None:
    assert all(is_percent(basis_points / 100) for basis_points in range(10_001))
    assert not any(is_percent(basis_points / 100 + 0.001) for basis_points in range(10_001))


@pytest.mark.parametrize("percent", [float("nan"), float("inf"), float("-inf"), -0.01, 100.01, 1e300, 5e-324])
def test_a_value_that_is_not_a_share_is_not_a_valid_percent(percent: float) -> None:
    assert not is_percent(percent)


@given(st.one_of(st.text(), st.integers(), st.binary(), st.lists(st.text())))
def test_a_value_is_shown_in_short_ascii_on_one_line(value: object) -> None:
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 450


def test_a_long_value_is_cut_and_its_length_is_shown() -> None:
    assert shown("a" * 1_000_000) == "'" + "a" * 40 + "'... (1000000 characters)"
