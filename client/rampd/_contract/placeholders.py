r"""`{{component}}`, `{{tag}}` and `{{channel}}` in the PromQL query of a check. Pure.

A placeholder stands in a string, alone or beside other text, and its value matches only itself there. So the value is
escaped for the kind of string. If the string is a regular expression (of RE2), it is escaped for that too: the right side of
`=~` and `!~`, and the last argument of `label_replace`. The same scan checks a query before it is stored and fills it later.
So a stored query can always be filled, and no query is sent with unfilled braces.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

NAMES = ("component", "tag", "channel")


class QueryError(ValueError):
    """Raised when a query can't be filled. The text continues after the field's name: `has {{commit}} at character 8 …`."""


def wrong(query: str) -> str:
    """Returns what is wrong with a query, as far as rampd can know without Prometheus. Empty if nothing is wrong."""
    try:
        _scan(query)
    except QueryError as error:
        return str(error)
    return ""


def fill(query: str, *, component: str, tag: str, channel: str) -> str:
    """Returns the query with the values of all placeholders. Raises QueryError exactly if `wrong` finds something."""
    values = {"component": component, "tag": tag, "channel": channel}
    return "".join(piece if isinstance(piece, str) else _written(piece, values) for piece in _scan(query))


class _Kind(Enum):
    """How Prometheus uses a string."""

    TEXT = auto()
    EXPRESSION = auto()
    """A regular expression."""
    REPLACEMENT = auto()
    """The text of `label_replace` in which `$1` is a group of the regular expression."""


class _Placeholder(NamedTuple):
    name: str
    kind: _Kind
    is_repeated: bool
    """Whether `*`, `+`, `?` or `{` of a regular expression follows. It must apply to the whole value."""


class _String(NamedTuple):
    """A string with placeholders."""

    quote: str
    parts: list[str | _Placeholder]
    """The text between the quotes, as it is written."""


class _Open:
    """A bracket that is not closed yet."""

    def __init__(self, bracket: str, at: int, place: int, function: str) -> None:
        self.bracket = bracket
        self.at = at
        self.place = place
        """The index among all tokens that are neither space nor comment."""
        self.function = function
        self.commas = 0


class _Read(NamedTuple):
    """A token that is neither space nor comment."""

    kind: str
    text: str
    opened_at: int | None
    """For a closing bracket: the index of the opening bracket."""


_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>\#[^\n]*)
    | (?P<string> "(?:\\[^\n]|[^"\\\n])*" | '(?:\\[^\n]|[^'\\\n])*' | `[^`]*` )
    | (?P<quote>["'`])
    | (?P<braces>\{\{|\}\})
    | (?P<opening>[({\[])
    | (?P<closing>[)}\]])
    | (?P<comma>,)
    | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<other>=~|!~|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = r"\{\{(?P<name>[^{}]*)\}\}(?!\})"
_OUTSIDE = re.compile(r"\{\{(?P<name>[^{}]*)\}\}")
_PART = {
    "`": re.compile(rf"{_PLACEHOLDER}|(?P<braces>\{{\{{|\}}\}})|[{{}}]|[^{{}}]+"),
    '"': re.compile(rf"\\[^{{}}]|{_PLACEHOLDER}|(?P<braces>\\[{{}}]|\{{\{{|\}}\}})|[{{}}]|[^\\{{}}]+", re.DOTALL),
}
_PART["'"] = _PART['"']
_CLOSES = {"(": ")", "[": "]", "{": "}"}
_EXPRESSIONS = ("=~", "!~")
_ARGUMENTS = {"label_replace": {2: _Kind.REPLACEMENT, 4: _Kind.EXPRESSION}}
_OPEN_GROUP = re.compile(r"(?<!\$)(?:\$\$)*\$[A-Za-z0-9_]*\Z")


def _scan(query: str) -> list[str | _String]:
    pieces: list[str | _String] = []
    opened: list[_Open] = []
    read: list[_Read] = []
    for token in _TOKEN.finditer(query):
        text, at = token[0], token.start()
        piece: str | _String = text
        match token.lastgroup:
            case "space":
                pieces.append(text)
                continue
            case "comment":
                _refuse_braces(text, at, "in a comment, where nothing is filled: leave it out")
                pieces.append(text)
                continue
            case "string":
                piece = _string(text, at, _kind(read[-1].text if read else "", opened))
            case "quote":
                raise QueryError(f"has a string that begins at character {at + 1} and does not end: {text} is missing")
            case "braces":
                _refuse_braces(query[at:], at, 'outside of a string: put it in quotes, such as tag="{{tag}}"')
            case "opening":
                function = read[-1].text if text == "(" and read and read[-1].kind == "word" else ""
                opened.append(_Open(text, at, len(read), function))
            case "closing":
                if not opened or _CLOSES[opened[-1].bracket] != text:
                    raise QueryError(f"has {text} at character {at + 1}, which closes nothing")
            case "comma" if opened:
                opened[-1].commas += 1
        pieces.append(piece)
        read.append(_Read(token.lastgroup or "", text, opened.pop().place if token.lastgroup == "closing" else None))
    if opened:
        raise QueryError(f"has {opened[-1].bracket} at character {opened[-1].at + 1}, which is not closed")
    _refuse_no_single_value(read)
    return pieces


def _refuse_no_single_value(read: list[_Read]) -> None:
    first, last = 0, len(read) - 1
    while first < last and read[last].opened_at == first and read[first].text == "(":
        first, last = first + 1, last - 1
    if first > last:
        raise QueryError("is empty: a query in PromQL is needed")
    # Only a range ends with ], and no operator accepts a range.
    if read[last].text == "]" or (first == last and read[first].kind == "string"):
        raise QueryError("gives no single value: a number, or a vector with one element, is needed")


def _kind(before: str, opened: list[_Open]) -> _Kind:
    if before in _EXPRESSIONS:
        return _Kind.EXPRESSION
    # An argument may be inside further brackets.
    call = next((each for each in reversed(opened) if each.bracket != "(" or each.function), None)
    return _ARGUMENTS.get(call.function, {}).get(call.commas, _Kind.TEXT) if call else _Kind.TEXT


def _string(text: str, at: int, kind: _Kind) -> str | _String:
    quote, body = text[0], text[1:-1]
    parts: list[str | _Placeholder] = []
    said = ""
    for match in _PART[quote].finditer(body):
        where = at + 2 + match.start()
        name = match["name"]
        if match["braces"]:
            raise QueryError(_stray(match[0], where))
        if name is None:
            parts.append(match[0])
            is_escape = quote != "`" and match[0].startswith("\\")
            said += match[0][1:] if is_escape else match[0]
            continue
        name = _known(match[0], name, where)
        _refuse_place(kind, said, match[0], where)
        follows = body[match.end() : match.end() + 2]
        parts.append(_Placeholder(name, kind, follows[:1] in ("*", "+", "?", "{") and follows != "{{"))
        said += "x"
    return _String(quote, parts) if any(isinstance(part, _Placeholder) for part in parts) else text


def _known(written: str, name: str, where: int) -> str:
    name = name.strip(" \t")
    if name not in NAMES:
        names = ", ".join(f"{{{{{each}}}}}" for each in NAMES)
        raise QueryError(f"has {_shown(written)} at character {where}, which is none of {names}")
    return name


def _stray(written: str, where: int) -> str:
    if written.startswith("\\"):
        return f"has {written} at character {where}, which is no escape in a string: write \\{written} for a backslash and {written[1:]}"
    return (
        f"has {written} at character {where}, which belongs to no placeholder: write {{{{tag}}}}, or for braces that mean "
        f"themselves {''.join(f'{chr(92)}x{ord(brace):x}' for brace in written)} in double quotes"
    )


def _is_whole_expression(said: str) -> bool:
    r"""Whether the text before a placeholder leaves the meaning of its value unchanged: no class and no \Q is open, and it does
    not end with a backslash. Follows RE2. It uses no pattern, because CPython 3.11.2 has a bug in atomic groups and
    possessive quantifiers.
    """
    at = 0
    while 0 <= at < len(said):
        if said.startswith("\\Q", at):
            at = _behind("\\E", said, at + 2)
        elif said[at] == "[":
            at = _behind_class(said, at + 1)
        else:
            at += 2 if said[at] == "\\" else 1
    return at == len(said)


def _behind_class(said: str, at: int) -> int:
    """Returns the index after a class whose inside begins at `at`, -1 if it does not end."""
    at += said.startswith("^", at)
    at += said.startswith("]", at)
    while at < len(said) and said[at] != "]":
        named = _behind(":]", said, at + 2) if said.startswith("[:", at) else -1
        at = named if named >= 0 else at + (2 if said[at] == "\\" else 1)
    return at + 1 if at < len(said) else -1


def _behind(end: str, said: str, at: int) -> int:
    found = said.find(end, at)
    return -1 if found < 0 else found + len(end)


def _refuse_place(kind: _Kind, said: str, written: str, where: int) -> None:
    if kind is _Kind.EXPRESSION and not _is_whole_expression(said):
        raise QueryError(
            f"has {written} at character {where}, in [ ], in \\Q or after a backslash of a regular expression, where its "
            "value would mean something else: move it out of there"
        )
    if kind is _Kind.REPLACEMENT and _OPEN_GROUP.search(said):
        raise QueryError(
            f"has {written} at character {where}, after a $, which its value would turn into another name: write ${{1}} "
            "in place of $1, or $$ for a dollar sign"
        )


def _refuse_braces(text: str, at: int, why: str) -> None:
    stray = re.search(r"\{\{|\}\}", text)
    if stray is None:
        return
    where = at + 1 + stray.start()
    placeholder = _OUTSIDE.match(text, stray.start())
    if placeholder is not None:
        _known(placeholder[0], placeholder["name"], where)
    raise QueryError(f"has {placeholder[0] if placeholder else stray[0]} at character {where}, {why}")


def _shown(written: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in written)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _written(string: _String, values: Mapping[str, str]) -> str:
    filled = [part if isinstance(part, str) else _value(part, values) for part in string.parts]
    quote = string.quote
    if quote != "`":
        parts = [
            text if isinstance(part, str) else _escaped(text, quote)
            for part, text in zip(string.parts, filled, strict=True)
        ]
        return f"{quote}{''.join(parts)}{quote}"
    text = "".join(filled)
    # A string in backquotes can't contain a backquote. The same text in double quotes can.
    return f'"{_escaped(text, chr(34))}"' if "`" in text else f"`{text}`"


def _value(placeholder: _Placeholder, values: Mapping[str, str]) -> str:
    value = values[placeholder.name]
    match placeholder.kind:
        case _Kind.EXPRESSION:
            quoted = re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", value)
            return f"(?:{quoted})" if placeholder.is_repeated else quoted
        case _Kind.REPLACEMENT:
            return value.replace("$", "$$")
    return value


def _escaped(text: str, quote: str) -> str:
    return text.replace("\\", "\\\\").replace(quote, f"\\{quote}").replace("\n", "\\n")
