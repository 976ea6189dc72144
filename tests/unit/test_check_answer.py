"""The answers of Prometheus: one finite number is a value, and any other answer is an error with its reason."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.domain.automation.check_answer import Answer, error, read_answer


def success(kind: str, result: object, **more: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def vector(*values: str) -> dict[str, object]:
    return success("vector", [{"metric": {"tag": str(i)}, "value": [1.5, text]} for i, text in enumerate(values)])


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("-0.25", -0.25), ("1e-05", 1e-05), ("1.5E+3", 1500.0), (".5", 0.5), ("5.", 5.0), ("+2", 2.0)],
)
def test_a_scalar_and_a_vector_of_one_are_values(text: str, value: float):
    assert read_answer(success("scalar", [1700000000.1, text])) == Answer(value)
    assert read_answer(vector(text)) == Answer(value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (vector(), "no data"),
        (vector("1", "2"), "2 series"),
        (vector("NaN"), "the value is NaN"),
        (vector("+Inf"), "the value is +Inf"),
        (success("scalar", [1, "-Inf"]), "the value is -Inf"),
        (vector("1e999"), "too large"),
        (vector("1_000"), "not of the form"),
        (vector("٣"), "not of the form"),
        (vector(" 1"), "not of the form"),
        (vector(""), "not of the form"),
        (success("vector", [{"metric": {}, "value": [1, 1.0]}]), "not of the form"),
        (success("vector", [{"metric": {}, "histogram": [1, {}]}]), "a histogram"),
        (success("vector", {"value": [1, "1"]}), "not of the form"),
        (success("matrix", [{"values": [[1, "1"]]}]), "a range of values"),
        (success("string", [1, "text"]), "a string"),
        (success("streams", []), "not of the form"),
        ({**vector("1"), "warnings": ["remote read: a store is away"]}, "a store is away"),
        ({"status": "error", "errorType": "timeout", "error": "query timed out"}, "Prometheus says: query timed out"),
        ({"status": "error", "error": None}, "Prometheus says: None"),
        ({"status": "error"}, "not of the form"),
        ({"status": "success"}, "not of the form"),
        ({}, "not of the form"),
        ([], "not of the form"),
        (None, "not of the form"),
        ("up", "not of the form"),
    ],
)
def test_any_other_answer_is_an_error(body: object, words: str):
    answer = read_answer(body)

    assert answer.value is None
    assert words in answer.error


def test_notes_that_are_not_warnings_change_nothing():
    assert read_answer({**vector("1"), "infos": ["metric might not be a counter"], "warnings": []}) == Answer(1.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "data", "resultType", "result", "value", "warnings"]), inner)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
)
SHAPED = st.builds(success, st.sampled_from(["scalar", "vector", "matrix", "string"]) | st.text(), JSON) | st.builds(
    vector, st.text() | st.floats().map(str)
)


@given(JSON | SHAPED)
def test_any_answer_is_a_finite_value_or_a_printable_error(body: object):
    answer = read_answer(body)

    assert (answer.value is None) == bool(answer.error)
    assert answer.value is None or math.isfinite(answer.value)
    assert answer.error.isprintable()
    assert len(answer.error) <= 200


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_with_all_digits_is_read_back_unchanged(value: float):
    assert read_answer(json.loads(json.dumps(vector(repr(value))))) == Answer(value)


def test_an_error_is_printable_and_short():
    assert error("a\nb\x00\ud800 c").error == "a b c"
    assert error("").error == "an error without a message"
    assert len(error("x" * 1000).error) == 200
