"""What the answer of Prometheus to an instant query says: a number, or why it says nothing."""

import math
import re
from dataclasses import dataclass

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_MAX_ERROR = 200
_NO_ANSWER = "the answer is not of the form that Prometheus gives to a query"
_OTHER_RESULTS = {
    "matrix": "the query gives a range of values, not one: put a function such as rate() around it",
    "string": "the query gives a string, not a number",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """To the query of a check: a `value`, which is finite; or None, and the `error` says why there is none."""

    value: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of a query that is to be stored, by the source that will be asked."""

    wrong: str = ""
    """Why it is never an answer: what the source says, or what kind of result it is. Empty: it is taken."""
    doubt: str = ""
    """Why nobody could be asked; empty where somebody was."""


def error(text: str) -> Answer:
    """No value, because of `text`: printable in the end, and of a length that the history bears."""
    return Answer(error=_printable(text))


def _printable(text: str) -> str:
    printable = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(printable) > _MAX_ERROR:
        printable = printable[: _MAX_ERROR - 1] + "…"
    return printable or "an error without words"


def read_answer(body: object) -> Answer:
    """What a decoded JSON document, whatever is in it, says. Only one finite number is a value."""
    match body:
        case {"status": "error", "error": said}:
            return error(f"Prometheus says: {said}")
        case {"status": "success", "warnings": [warning, *_]}:
            return error(f"Prometheus warns, so that the value may not be the whole one: {warning}")
        case {"status": "success", "data": {"resultType": str(kind), "result": result}}:
            return _read_result(kind, result)
    return error(_NO_ANSWER)


def judge_answer(body: object, *, is_its_word: bool) -> Judgement:
    """What a decoded JSON document says of the query itself; what it finds does not matter, for that may change.

    `is_its_word`: an error is about the query, and not about what the source lacks just now.
    """
    match body:
        case {"status": "error", "error": said} if is_its_word:
            return Judgement(wrong=f"is not taken by Prometheus: {_printable(str(said))}")
        case {"status": "success", "data": {"resultType": "scalar" | "vector"}}:
            return Judgement()
        case {"status": "success", "data": {"resultType": "matrix" | "string"}}:
            return Judgement(wrong="gives no single value: a number, or a vector with one element, is needed")
    return Judgement(doubt=read_answer(body).error)


def _read_result(kind: str, result: object) -> Answer:
    match kind, result:
        case ("scalar", [_, str(text)]) | ("vector", [{"value": [_, str(text)]}]):
            return _read_number(text)
        case "vector", []:
            return error("there is no data: the query finds no series")
        case "vector", [{"histogram": _}]:
            return error("the query gives a histogram, not a number: put histogram_quantile() or the like around it")
        case "vector", [_, _, *_]:
            return error(f"the query finds {len(result):,} series, and one is needed: put sum() or max() around it")
    return error(_OTHER_RESULTS.get(kind, _NO_ANSWER))


def _read_number(text: str) -> Answer:
    if _NOT_FINITE.fullmatch(text):
        return error(f"the value is {text}: there is nothing to divide by, perhaps")
    if not _NUMBER.fullmatch(text):
        return error(_NO_ANSWER)
    value = float(text)
    return Answer(value) if math.isfinite(value) else error("the value is too large to be a number")
