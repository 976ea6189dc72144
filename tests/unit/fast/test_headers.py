"""Headers and trailers of gRPC."""

import base64
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.fast.headers import ending, is_grpc, metadata, timeout_s


@pytest.mark.parametrize(
    ("kind", "is_one"),
    [
        (b"application/grpc", True),
        (b"Application/gRPC", True),
        (b"application/grpc+proto", True),
        (b"application/grpc; charset=x", True),
        (b"application/grpc+json", False),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_a_call_has_a_content_type_of_its_own(kind: bytes, is_one: bool) -> None:
    assert is_grpc(kind) is is_one


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"100m", 0.1),
        (b"250u", 0.00025),
        (b"5n", 5e-9),
        (b"99999999n", 0.099999999),
        (b"0S", 0),
    ],
)
def test_the_time_of_a_call_has_a_unit(text: bytes, seconds: float) -> None:
    assert timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", [b"", b"1", b"S", b"1s", b"-1S", b"1.5S", b"123456789S", b" 1S", b"1S\n", b"\xd9\xa1S"]
)
def test_another_time_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="grpc-timeout"):
        timeout_s(text)


def test_metadata_are_the_headers_that_are_not_of_the_protocol_in_their_order() -> None:
    headers = [
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"x-rampd-actor", b"ada"),
        (b"x-rampd-actor", b"eve"),
        (b"user-agent", b"grpc-python/1"),
        (b"host", b"localhost"),
    ]
    assert metadata(headers) == [("x-rampd-actor", "ada"), ("x-rampd-actor", "eve"), ("user-agent", "grpc-python/1")]


def test_binary_metadata_are_bytes_with_and_without_padding_and_several_in_one_header() -> None:
    assert metadata([(b"a-bin", b"AAE="), (b"a-bin", b"AAE"), (b"b-bin", b"AA==, AQ")]) == [
        ("a-bin", b"\0\1"),
        ("a-bin", b"\0\1"),
        ("b-bin", b"\0"),
        ("b-bin", b"\1"),
    ]


def test_what_is_no_base64_is_left_out() -> None:
    assert metadata([(b"a-bin", b"\xff!"), (b"b-bin", b"AAE=")]) == [("b-bin", b"\0\1")]


def test_an_ending_in_order_is_its_status_alone() -> None:
    assert ending(0) == [(b"grpc-status", b"0")]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_message_is_readable_ascii_and_comes_back(text: str) -> None:
    _, (name, value) = ending(5, text)
    assert name == b"grpc-message"
    assert value.decode().isascii()
    assert value.decode().isprintable()
    assert value == value.strip()
    assert unquote(value.decode()) == text


def test_a_message_of_plain_words_stays_as_it_is() -> None:
    assert ending(5, "There is no component 'x' (yet).")[1] == (b"grpc-message", b"There is no component 'x' (yet).")
    assert ending(5, " a ")[1] == (b"grpc-message", b"%20a%20"), "a header has no blank at its ends"


def test_half_of_a_pair_of_surrogates_is_no_defect() -> None:
    assert ending(5, "\ud800")[1] == (b"grpc-message", b"?")


def test_details_are_base64_without_padding() -> None:
    trailers = dict(ending(3, "wrong", b"\xff\xfe\xfd\xfc"))
    value = trailers[b"grpc-status-details-bin"]
    assert b"=" not in value
    assert base64.b64decode(value + b"==") == b"\xff\xfe\xfd\xfc"
