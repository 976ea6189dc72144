"""What names, tags, repos and texts may look like. Pure, and the one copy: server and client refuse by it.

Every pattern is ASCII and must match the whole string.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Violation: TypeAlias = tuple[str, str]
"""A field's path (`overrides[3].repo`), and what is wrong with it and what is expected."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a request, and of an answer. Servers and clients take no more."""
MAX_BATCH = 1000
"""Entries of a batch: jobs to resolve, overrides, outcomes."""
MAX_PAGE = 1000
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTES_BYTES = 16 * 1024
MAX_VALUE_BYTES = 1024
MAX_NOTE = 500
MAX_ACTOR = 128
_SHOWN = 40
"""Characters of a text that a message has room for."""


class Flaw(NamedTuple):
    """The first thing that is wrong with a text: where, and what."""

    at: int
    what: str


@dataclass(frozen=True, slots=True)
class Word:
    """A kind of text: whether a string is one, and how to say what it has to be."""

    matches: Callable[[str], object]
    expected: str
    flaw: Callable[[str], Flaw | None]
    """What is wrong with a string that is none; None for one that is."""

    def told(self, text: str) -> str:
        """A string for a message, on one line and in ASCII: the part of it that is wrong, where that is, and why."""
        flaw = self.flaw(text)
        return shown(text) if flaw is None else f"{_shown_at(text, flaw.at)}: {flaw.what}"


def _name(*, first: str = "", rest: str, last: str = "", most: int, expected: str, escape: str = "") -> Word:
    """A name of at most `most` characters. `first`, `rest` and `last` are what may stand there, as in the brackets of a
    regular expression; without the first or the last, the rest may. `escape` is what every other character can be encoded
    with, as URLs do with `%`.
    """
    first, last = first or rest, last or rest
    begins, ends = (re.compile(f"[{allowed}]").match for allowed in (first, last))
    other = re.compile(f"[^{rest}]").search

    def flaw(text: str) -> Flaw | None:
        if (found := other(text)) is not None:
            at = found.start()
            # What is encoded begins with the escape, which may be nothing to begin a name with.
            instead = _encoded(text[at], escape) if at or begins(escape) else ""
            return Flaw(at, f"{_place(text, at)} is not allowed{instead}")
        if not text:
            return Flaw(0, "it is empty")
        if not begins(text[0]):
            return Flaw(0, f"{_place(text, 0)} can't be the first")
        if len(text) > most:
            return Flaw(0, f"it has {len(text)} characters")
        if not ends(text[-1]):
            return Flaw(len(text) - 1, f"{_place(text, len(text) - 1)} can't be the last")
        return None

    pattern = f"[{first}](?:[{rest}]{{0,{most - 2}}}[{last}])?"
    return Word(re.compile(pattern).fullmatch, expected, flaw)


def _text(*, most: int, most_bytes: int | None = None, expected: str) -> Word:
    """A text of at most `most` characters with nothing in it but what can be encoded and printed, line ends and tabs: no
    other control characters, no lone surrogates.
    """

    def flaw(text: str) -> Flaw | None:
        if (found := _UNPRINTABLE.search(text)) is not None:
            return Flaw(found.start(), f"{_place(text, found.start())} is not allowed")
        if len(text) > most:
            return Flaw(0, f"it has {len(text)} characters")
        if most_bytes is not None and len(text.encode()) > most_bytes:
            return Flaw(0, f"it has {len(text.encode())} bytes")
        return None

    return Word(lambda text: flaw(text) is None, expected, flaw)


# A carriage return is half of a line end; alone it goes back to the begin of the line, and hides what stands there.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]|\r(?!\n)")


def _place(text: str, at: int) -> str:
    return f"{text[at]!a} at character {at + 1}"


def _encoded(character: str, escape: str) -> str:
    if not escape or "\ud800" <= character <= "\udfff":
        return ""
    how = "" if escape == "%" else f" with {escape} for %"
    return f"; percent-encode it{how}: " + "".join(f"{escape}{byte:02X}" for byte in character.encode())


def is_percent(percent: float) -> bool:
    """Whether it is 0 to 100 in hundredths. The obvious `percent * 100 == int(percent * 100)` refuses 1,146 legal ones."""
    return 0 <= percent <= 100 and percent == round(percent * 100) / 100


COMPONENT = _name(
    first="a-z0-9",
    rest="a-z0-9._-",
    last="a-z0-9",
    most=63,
    expected="1 to 63 of a-z 0-9 . _ - that begin and end with a letter or a digit",
)
TAG = _name(
    first="A-Za-z0-9_@",
    rest="A-Za-z0-9._/:@+=#~()-",
    most=255,
    expected="1 to 255 of A-Z a-z 0-9 . _ / : @ + = # ~ ( ) - that begin with a letter, a digit, _ or @",
    escape="=",
)
"""`%` is none of them, so that a tag can be encoded once more wherever it goes; `=` does for it."""
REPO = _name(rest="!-~", most=255, expected="1 to 255 printable ASCII characters without a space", escape="%")
KEY = _name(rest="A-Za-z0-9._-", most=64, expected="1 to 64 of A-Z a-z 0-9 . _ -")
"""An idempotency key, or a client's own id."""
OPAQUE = _name(rest="!-~", most=1024, expected="what the last answer said, as it was")
"""A page token or a cursor."""
ATTRIBUTE_KEY = _name(
    first="a-z0-9",
    rest="a-z0-9._/-",
    most=63,
    expected="1 to 63 of a-z 0-9 . _ / - that begin with a letter or a digit",
)
ATTRIBUTE_VALUE = _text(
    most=MAX_VALUE_BYTES,
    most_bytes=MAX_VALUE_BYTES,
    expected="at most 1 KiB of text without control characters, line ends and tabs aside",
)
NOTE = _text(
    most=MAX_NOTE, expected=f"at most {MAX_NOTE} characters without control characters, line ends and tabs aside"
)
CHECK_NAME = COMPONENT
QUERY = _text(most=4096, expected="1 to 4096 characters without control characters, line ends and tabs aside")
ACTOR = _name(
    first="!-~",
    rest=" -~",
    last="!-~",
    most=MAX_ACTOR,
    expected=f"1 to {MAX_ACTOR} printable ASCII characters without a space at either end",
)
ACTOR_KEY = "x-rampd-actor"
"""The metadata key under which a caller says who it is; its value is an `ACTOR`."""

# At least one path segment, the last of them not empty: `https://example.org/*` is one, `/*` and `a//*` would pin nobody.
_is_prefix = re.compile(r"[^*]*[^*/]/\*").fullmatch


def _is_pinned(text: str) -> bool:
    return bool(REPO.matches(text)) and ("*" not in text or bool(_is_prefix(text)))


def _flaw_of_pinned(text: str) -> Flaw | None:
    if _is_pinned(text):
        return None
    at = text.find("*")
    why = "works only as the whole last segment, after one that is not empty"
    return REPO.flaw(text) or Flaw(at, f"{_place(text, at)} {why}")


PINNED = Word(
    _is_pinned,
    "a repo, 1 to 255 printable ASCII characters without a space, or a prefix of whole path segments: acme/* or group/sub/*",
    _flaw_of_pinned,
)
"""What an override can be set for. What was set before there was this rule can still be deleted: that takes any REPO."""


def shown(value: object) -> str:
    """A value for a message: short, on one line, in ASCII."""
    if isinstance(value, str):
        return _shown_at(value, 0) + (f" ({len(value)} characters)" if len(value) > _SHOWN else "")
    text = " ".join(ascii(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."


def _shown_at(text: str, at: int) -> str:
    """What stands around a character, and that character for sure."""
    room = _SHOWN
    while True:
        begin = max(0, min(at - room // 2, len(text) - room))
        part = ascii(text[begin : begin + room])
        # A character that is not printed as itself takes up to ten.
        if len(part) <= 2 * _SHOWN or room < 4:
            return f"{'...' if begin else ''}{part}{'...' if begin + room < len(text) else ''}"
        room //= 2


def word_violation(word: Word, value: object, *, required: bool) -> str | None:
    """What is wrong with a value that ought to be a word; None where nothing is. An empty one is an absent one."""
    if not isinstance(value, str):
        return f"must be a string, {word.expected}; got {shown(value)}"
    if not value:
        return f"is required: {word.expected}" if required else None
    return None if word.matches(value) else f"must be {word.expected}; got {word.told(value)}"


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
