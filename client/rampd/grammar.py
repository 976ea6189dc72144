"""What names, tags, repos and texts may look like. Pure, and the one copy: server and client refuse by it.

Every pattern is ASCII and must match the whole string.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

Violation: TypeAlias = tuple[str, str]
"""A field's path (`overrides[3].repo`), and what is wrong with it and what is expected."""

MAX_BATCH = 1000
"""Entries of a batch: jobs to resolve, overrides, outcomes."""
MAX_PAGE = 1000
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTES_BYTES = 16 * 1024
MAX_VALUE_BYTES = 1024
MAX_NOTE = 500
MAX_ACTOR = 128


@dataclass(frozen=True, slots=True)
class Word:
    """A kind of text: whether a string is one, and how to say what it has to be."""

    matches: Callable[[str], object]
    expected: str


def is_text(text: str, *, max_characters: int, max_bytes: int | None = None) -> bool:
    """Whether there is nothing in it but what can be encoded and printed: no control characters, no lone surrogates."""
    return (
        len(text) <= max_characters
        and not _UNPRINTABLE.search(text)
        and (max_bytes is None or len(text.encode()) <= max_bytes)
    )


def is_percent(percent: float) -> bool:
    """Whether it is 0 to 100 in hundredths. The obvious `percent * 100 == int(percent * 100)` refuses 1,146 legal ones."""
    return 0 <= percent <= 100 and percent == round(percent * 100) / 100


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNPRINTABLE_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

COMPONENT = Word(
    re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?").fullmatch,
    "1 to 63 of a-z 0-9 . _ - that begin and end with a letter or a digit",
)
TAG = Word(
    re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/:@+-]{0,254}").fullmatch,
    "1 to 255 of A-Z a-z 0-9 . _ / : @ + - that begin with a letter, a digit or _",
)
REPO = Word(re.compile(r"[!-~]{1,255}").fullmatch, "1 to 255 printable ASCII characters without a space")
KEY = Word(re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch, "1 to 64 of A-Z a-z 0-9 . _ -")
"""An idempotency key, or a client's own id."""
OPAQUE = Word(re.compile(r"[!-~]{1,1024}").fullmatch, "what the last answer said, as it was")
"""A page token or a cursor."""
ATTRIBUTE_KEY = Word(
    re.compile(r"[a-z0-9][a-z0-9._/-]{0,62}").fullmatch,
    "1 to 63 of a-z 0-9 . _ / - that begin with a letter or a digit",
)
ATTRIBUTE_VALUE = Word(
    partial(is_text, max_characters=MAX_VALUE_BYTES, max_bytes=MAX_VALUE_BYTES),
    "at most 1 KiB of text without control characters",
)
NOTE = Word(partial(is_text, max_characters=MAX_NOTE), f"at most {MAX_NOTE} characters without control characters")
CHECK_NAME = Word(COMPONENT.matches, COMPONENT.expected)
QUERY = Word(
    lambda text: len(text) <= 4096 and not _UNPRINTABLE_LINES.search(text),
    "1 to 4096 characters without control characters, line ends and tabs aside",
)
ACTOR = Word(
    lambda text: 1 <= len(text) <= MAX_ACTOR and text.isascii() and text.isprintable() and text == text.strip(),
    f"1 to {MAX_ACTOR} printable ASCII characters without a space at either end",
)


def shown(value: object) -> str:
    """A value for a message: short, on one line, in ASCII."""
    if isinstance(value, str):
        return ascii(value) if len(value) <= 40 else f"{value[:40]!a}... ({len(value)} characters)"
    text = " ".join(ascii(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."


def word_violation(word: Word, value: object, *, required: bool) -> str | None:
    """What is wrong with a value that ought to be a word; None where nothing is. An empty one is an absent one."""
    if not isinstance(value, str):
        return f"must be a string, {word.expected}; got {shown(value)}"
    if not value:
        return f"is required: {word.expected}" if required else None
    return None if word.matches(value) else f"must be {word.expected}; got {shown(value)}"


# Names of components that were found right. They are few and they come again with every job, and a look-up costs a
# tenth of a match. Full, it takes no more: whoever resolves this many names pays for the match.
_right_components: set[str] = set()
_MAX_RIGHT_COMPONENTS = 4096


def check_resolve(component: str, repo: str, job_id: str = "") -> list[Violation]:
    """What is wrong with the question which version a job runs; empty where nothing is. Takes anything, never raises.

    Meant for hot paths: a good question costs about 0.2 µs.
    """
    try:
        # The string's own methods cost half of what a regular expression does.
        if (
            component in _right_components
            and repo.isascii()
            and repo.isprintable()
            and 0 < len(repo) <= 255
            and " " not in repo
            and (
                job_id == "" or (job_id.isascii() and job_id.isprintable() and len(job_id) <= 255 and " " not in job_id)
            )
        ):
            return []
    except (AttributeError, TypeError):  # not a string; the long way says so
        pass
    return _check_resolve_in_full(component, repo, job_id)


def _check_resolve_in_full(component: str, repo: str, job_id: str) -> list[Violation]:
    asked = (("component", COMPONENT, component, True), ("repo", REPO, repo, True), ("job_id", REPO, job_id, False))
    found = [
        (field, wrong)
        for field, word, value, required in asked
        if (wrong := word_violation(word, value, required=required)) is not None
    ]
    if not found and len(_right_components) < _MAX_RIGHT_COMPONENTS:
        _right_components.add(component)
    return found
