"""The rows of a file with overrides, each with its line, as changes of the API."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rampd_cli.failures import of_newer_server

if TYPE_CHECKING:
    from rampd import v1

CSV: Final = "csv"
JSON_LINES: Final = "jsonl"
FORMATS: Final = (CSV, JSON_LINES)
COLUMNS: Final = ("repo", "channel", "tag", "expire_time", "delete")
MOST_BYTES: Final = 64 * 1024 * 1024
"""The largest file that is read."""
_CHANNELS: Final = ("current", "next")
_PREFIX: Final = "channel_"
_TRUTHS: Final = {"": False, "false": False, "true": True}
"""Whether a row of CSV deletes. JSON has true and false."""
_FORMULA: Final = tuple("=+-@")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is right."""

    line: int
    change: "v1.OverrideChange"


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is wrong."""

    line: int
    text: str


class UnreadableError(Exception):
    """Raised when nobody can say which rows a file has: its header is wrong, or it can't be read from a line on."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line
        self.text = text


def format_of_name(name: str) -> str:
    """Returns the format by the ending of the name. Empty if the name does not say it."""
    if name.endswith(".csv"):
        return CSV
    return JSON_LINES if name.endswith((".jsonl", ".ndjson", ".json")) else ""


def format_of(name: str, content: bytes) -> str:
    """Returns the format by the ending of the name, or by the first character."""
    return format_of_name(name) or (JSON_LINES if content.lstrip()[:1] == b"{" else CSV)


def read_rows(
    content: bytes, form: str, tell: Callable[[int], None] = lambda _line: None
) -> tuple[list[Row], list[Refused]]:
    """Returns the rows that are right and those that are wrong. A repo that is there twice is wrong the second time. `tell` gets
    the number of each line that is read. Raises UnreadableError.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(content[: error.start].count(b"\n") + 1, "The text is not UTF-8") from error
    right, wrong = [], []
    first: dict[str, int] = {}
    for line, found in _of_csv(text) if form == CSV else _of_json(text):
        tell(line)
        row = found if isinstance(found, str) else _row(line, found)
        if isinstance(row, str):
            wrong.append(Refused(line, row))
        elif (before := first.setdefault(row.change.repo, line)) != line:
            wrong.append(Refused(line, f"{row.change.repo} is already on line {before}"))
        else:
            right.append(row)
    return right, wrong


def _of_csv(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Yields each row with its line: its values, or what is wrong with it. Raises UnreadableError."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    line = 0
    try:
        for values in reader:
            begins, line = line + 1, reader.line_num
            if not values:
                continue
            if not header:
                header = [name.strip() for name in values]
                if wrong := _wrong_header(header):
                    raise UnreadableError(begins, wrong)
            elif len(values) != len(header):
                yield begins, f"has {len(values)} value{'s' * (len(values) != 1)}, and the header has {len(header)}"
            else:
                row: dict[str, Any] = dict(zip(header, values, strict=True))
                delete = row.get("delete", "")
                yield begins, row | {"delete": _TRUTHS.get(delete.strip().lower(), delete)}
    except csv.Error as error:
        raise UnreadableError(line + 1, f"The text is not CSV: {error}") from error
    if not header:
        raise UnreadableError(1, f"The file is empty. Its first line must be the header: {','.join(COLUMNS)}")


def _wrong_header(header: list[str]) -> str:
    if "repo" not in header or len(set(header)) != len(header) or not set(header) <= set(COLUMNS):
        return f"The first line must be the header, with columns of: {','.join(COLUMNS)}; got {','.join(header)[:200]}"
    return ""


def _of_json(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    # Not splitlines, which also splits at characters that JSON allows in a text.
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        try:
            # An object becomes a tuple of its pairs, so that no name hides another one.
            found = json.loads(written, object_pairs_hook=tuple)
        except (ValueError, RecursionError) as error:
            yield line, f"is not JSON: {error}"
            continue
        if not isinstance(found, tuple):
            yield line, 'is not a change, such as {"repo": "acme/app", "tag": "1.0"}'
            continue
        pairs = [("expire_time" if name == "expireTime" else name, value) for name, value in found]
        named = dict(pairs)
        if unknown := sorted(named.keys() - set(COLUMNS)):
            yield line, f"has no field {unknown[0]!r}. It has: {', '.join(COLUMNS)}"
        elif len(named) != len(pairs):
            twice = next(name for name in named if [each for each, _ in pairs].count(name) > 1)
            yield line, f"has {twice} twice"
        else:
            yield line, named


def _row(line: int, values: Mapping[str, Any]) -> Row | str:
    """Returns a row, or what is wrong with it."""
    from rampd import v1  # noqa: PLC0415 - it is slow to import
    from rampd._contract.validation import violations  # noqa: PLC0415

    texts = {name: value for name, value in values.items() if name != "delete" and value is not None}
    if wrong := next((name for name, value in texts.items() if not isinstance(value, str)), ""):
        return f"{wrong} must be a text"
    channel = texts.get("channel", "").strip().lower().removeprefix(_PREFIX)
    if channel not in {"", "unspecified", *_CHANNELS}:
        return f"channel must be {' or '.join(_CHANNELS)}; got {channel[:40]!r}"
    delete = values.get("delete")
    if not isinstance(delete, bool | None):
        return "delete must be true or false"
    change = v1.OverrideChange(
        repo=texts.get("repo", ""),
        channel=f"{_PREFIX}{channel}".upper() if channel in _CHANNELS else None,
        tag=texts.get("tag", ""),
        delete=delete or False,
    )
    if expire := texts.get("expire_time", "").strip():
        time = _time(expire)
        if time is None:
            return f"expire_time must be a time with a zone, such as 2026-12-01T09:00:00Z; got {expire[:40]!r}"
        change.expire_time.FromDatetime(time)
    if found := violations(change):
        return "; ".join(f"{field} {text}" for field, text in found)
    return Row(line, change)


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else None
    except (ValueError, OverflowError):  # also for times near the ends of the calendar
        return None


def written(overrides: Iterable["v1.Override"], form: str) -> Iterator[str]:
    """Yields the lines of a file that has overrides, with their line ends. Raises UnimplementedError for an override of a later
    server: no other one may stand in its place.
    """
    if form == CSV:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in overrides:
            values = _values(each)
            writer.writerow([values.get(name, "") for name in COLUMNS])
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
        yield buffer.getvalue()
    else:
        for each in overrides:
            values = _values(each)
            if "expire_time" in values:
                values["expireTime"] = values.pop("expire_time")
            if "channel" in values:
                values["channel"] = f"{_PREFIX}{values['channel']}".upper()
            yield json.dumps(values) + "\n"


def _values(override: "v1.Override") -> dict[str, str]:
    values = {"repo": override.repo}
    if override.tag:
        values["tag"] = override.tag
    elif 0 < override.channel <= len(_CHANNELS):
        values["channel"] = _CHANNELS[override.channel - 1]
    else:
        raise of_newer_server(f"The override of {override.repo} is of a kind")
    if override.HasField("expire_time"):
        values["expire_time"] = override.expire_time.ToJsonString()
    return values


def is_formula(override: "v1.Override") -> bool:
    """Whether a spreadsheet takes a value for a formula."""
    return override.repo.startswith(_FORMULA) or override.tag.startswith(_FORMULA)
