"""The grammar of names, tags, repos and texts. Pure, and the only copy: server and client both use it.

Every pattern is ASCII and must match the whole string.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Violation: TypeAlias = tuple[str, str]
"""The path of a field (`overrides[3].repo`), and a text: what is expected and what is wrong."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""The largest request or answer that servers and clients accept."""
MAX_BATCH = 1000
"""The largest number of entries in a batch: jobs to resolve, overrides, outcomes."""
MAX_PAGE = 1000
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTES_BYTES = 16 * 1024
MAX_VALUE_BYTES = 1024
MAX_NOTE = 500
MAX_ACTOR = 128
_SHOWN = 40
"""How many characters of a text a message shows."""


class Flaw(NamedTuple):
    """The first thing that is wrong with a text: its place, and a description."""

    at: int
    what: str


@dataclass(frozen=True, slots=True)
class Word:
    """A kind of text: whether a string matches it, and a description of it for people."""

    matches: Callable[[str], object]
    expected: str
    flaw: Callable[[str], Flaw | None]
    """Returns what is wrong with a string. None if it matches."""
    pattern: str = ""
    """What the whole string must match, as a regular expression of any language; empty where none says it all."""

    def told(self, text: str) -> str:
        """Returns a string for a message, on one line and in ASCII: the wrong part of it, its place, and the reason."""
        flaw = self.flaw(text)
        return shown(text) if flaw is None else f"{_shown_at(text, flaw.at)}: {flaw.what}"


def _name(*, first: str = "", rest: str, last: str = "", most: int, expected: str, escape: str = "") -> Word:
    """A name of at most `most` characters. `first`, `rest` and `last` are the characters that are allowed there, written as
    in the brackets of a regular expression. An empty `first` or `last` means `rest`. `escape` is the character with which
    all other characters can be encoded, as URLs do with `%`.
    """
    first, last = first or rest, last or rest
    begins, ends = (re.compile(f"[{allowed}]").match for allowed in (first, last))
    other = re.compile(f"[^{rest}]").search

    def flaw(text: str) -> Flaw | None:
        if (found := other(text)) is not None:
            at = found.start()
            # An encoded character begins with the escape. A name may not be allowed to begin with the escape.
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
    return Word(re.compile(pattern).fullmatch, expected, flaw, f"^{pattern}$")


def _text(*, most: int, most_bytes: int | None = None, expected: str) -> Word:
    """A text of at most `most` characters. It may contain line ends and tabs, but no other control characters and no lone
    surrogates.
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


# A carriage return is allowed only in a line end. Alone, it hides the text before it on the line.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]|\r(?!\n)")


def _place(text: str, at: int) -> str:
    return f"{text[at]!a} at character {at + 1}"


def _encoded(character: str, escape: str) -> str:
    if not escape or "\ud800" <= character <= "\udfff":
        return ""
    how = "" if escape == "%" else f" with {escape} for %"
    return f"; percent-encode it{how}: " + "".join(f"{escape}{byte:02X}" for byte in character.encode())


def is_percent(percent: float) -> bool:
    """Whether it is 0 to 100 with at most two decimals. `percent * 100 == int(percent * 100)` refuses 1,146 valid values."""
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
"""`%` is not allowed, so that a tag can be percent-encoded in URLs. `=` takes its place as the escape."""
REPO = _name(rest="!-~", most=255, expected="1 to 255 printable ASCII characters without a space", escape="%")
KEY = _name(rest="A-Za-z0-9._-", most=64, expected="1 to 64 of A-Z a-z 0-9 . _ -")
"""An idempotency key, or a client's own id."""
OPAQUE = _name(rest="!-~", most=1024, expected="the value of the last answer, unchanged")
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

EVENT_ID = "[0-9]{1,18}-[0-9]{1,18}"
"""The id of an event in a history, as a regular expression."""

# At least one path segment, and the last one not empty. `https://example.org/*` is valid. `/*` and `a//*` match no repo.
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
"""A repo or a prefix, to set an override for. Deleting accepts any REPO, because old overrides may break this rule."""


def shown(value: object) -> str:
    """Returns a value for a message: short, on one line, in ASCII."""
    if isinstance(value, str):
        return _shown_at(value, 0) + (f" ({len(value)} characters)" if len(value) > _SHOWN else "")
    text = " ".join(ascii(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."


def _shown_at(text: str, at: int) -> str:
    """Returns the text around a character, always including that character."""
    room = _SHOWN
    while True:
        begin = max(0, min(at - room // 2, len(text) - room))
        part = ascii(text[begin : begin + room])
        # An escaped character takes up to ten characters.
        if len(part) <= 2 * _SHOWN or room < 4:
            return f"{'...' if begin else ''}{part}{'...' if begin + room < len(text) else ''}"
        room //= 2


def word_violation(word: Word, value: object, *, required: bool) -> str | None:
    """Returns what is wrong with a value, None if it is valid. An empty value counts as absent."""
    if not isinstance(value, str):
        return f"must be a string, {word.expected}; got {shown(value)}"
    if not value:
        return f"is required: {word.expected}" if required else None
    return None if word.matches(value) else f"must be {word.expected}; got {word.told(value)}"


# Valid names of components. They are few and come again with every job, and a look-up costs a tenth of a match. When it
# is full, it takes no more names, and every other name costs a match.
_valid_components: set[str] = set()
_MAX_VALID_COMPONENTS = 4096


def check_resolve(component: str, repo: str, job_id: str = "") -> list[Violation]:
    """Returns what is wrong with the arguments of Resolve, empty if they are valid. Takes any value, never raises.

    For hot paths: valid arguments cost about 0.2 µs.
    """
    try:
        # Methods of str cost half of a regular expression.
        if (
            component in _valid_components
            and repo.isascii()
            and repo.isprintable()
            and 0 < len(repo) <= 255
            and " " not in repo
            and (
                job_id == "" or (job_id.isascii() and job_id.isprintable() and len(job_id) <= 255 and " " not in job_id)
            )
        ):
            return []
    except (AttributeError, TypeError):  # not a string: the full check says so
        pass
    return _check_resolve_in_full(component, repo, job_id)


def _check_resolve_in_full(component: str, repo: str, job_id: str) -> list[Violation]:
    asked = (("component", COMPONENT, component, True), ("repo", REPO, repo, True), ("job_id", REPO, job_id, False))
    found = [
        (field, wrong)
        for field, word, value, required in asked
        if (wrong := word_violation(word, value, required=required)) is not None
    ]
    if not found and len(_valid_components) < _MAX_VALID_COMPONENTS:
        _valid_components.add(component)
    return found
