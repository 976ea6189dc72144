"""The meaning of an answer of Prometheus to an instant query: a number, or why there is no number."""

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
    """The answer to the query of a check: a finite `value`; or None, and `error` says why there is no value."""

    value: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the source says about a query before the query is stored."""

    wrong: str = ""
    """Why the query never gives a valid answer: the source's error, or the kind of the result. Empty: it is accepted."""
    doubt: str = ""
    """Why the source could not be asked; empty if it was asked."""


def error(text: str) -> Answer:
    """Returns an answer without a value, because of `text`. The text is made printable, and short enough for the history."""
    return Answer(error=_printable(text))


def _printable(text: str) -> str:
    printable = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(printable) > _MAX_ERROR:
        printable = printable[: _MAX_ERROR - 1] + "…"
    return printable or "an error without a message"


def read_answer(body: object) -> Answer:
    """Reads any decoded JSON document. Only one finite number is a value."""
    match body:
        case {"status": "error", "error": said}:
            return error(f"Prometheus says: {said}")
        case {"status": "success", "warnings": [warning, *_]}:
            return error(f"Prometheus warns, so the value may not be complete: {warning}")
        case {"status": "success", "data": {"resultType": str(kind), "result": result}}:
            return _read_result(kind, result)
    return error(_NO_ANSWER)


def judge_answer(body: object, *, is_about_query: bool) -> Judgement:
    """Reads what a decoded JSON document says about the query itself. The value does not matter, because it may change.

    `is_about_query`: an error in the document is about the query, not about a temporary problem of the source.
    """
    match body:
        case {"status": "error", "error": said} if is_about_query:
            return Judgement(wrong=f"is not accepted by Prometheus: {_printable(str(said))}")
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
            return error(
                "the query gives a histogram, not a number: put histogram_quantile() or a similar function around it"
            )
        case "vector", [_, _, *_]:
            return error(f"the query finds {len(result):,} series, but one is needed: put sum() or max() around it")
    return error(_OTHER_RESULTS.get(kind, _NO_ANSWER))


def _read_number(text: str) -> Answer:
    if _NOT_FINITE.fullmatch(text):
        return error(f"the value is {text}: perhaps the query divides by zero")
    if not _NUMBER.fullmatch(text):
        return error(_NO_ANSWER)
    value = float(text)
    return Answer(value) if math.isfinite(value) else error("the value is too large to be a number")
