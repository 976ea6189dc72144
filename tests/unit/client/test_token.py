"""The form of a token: what a secret scanner knows, and what tells a cut one from a wrong one."""

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._contract.token import PREFIX, TOKEN, digest_of, is_whole, new_token

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def value_of(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 62 + DIGITS.index(digit)
    return value


def test_a_new_token_has_its_form_and_is_whole() -> None:
    for _ in range(200):
        token = new_token()
        assert len(token) == 55
        assert TOKEN.fullmatch(token)
        assert is_whole(token)


def test_tokens_are_256_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def randbits(number: int) -> int:
        asked.append(number)
        return (1 << number) - 1

    monkeypatch.setattr("secrets.randbits", randbits)
    secret = new_token()[len(PREFIX) : -6]
    assert asked == [256]
    assert value_of(secret) == (1 << 256) - 1


def test_the_checksum_is_the_crc_32_of_the_secret_in_base_62() -> None:
    token = new_token()
    assert value_of(token[-6:]) == zlib.crc32(token[len(PREFIX) : -6].encode())


def test_no_two_tokens_are_equal() -> None:
    assert len({new_token() for _ in range(1000)}) == 1000


@given(st.data())
def test_a_token_that_is_cut_or_has_one_wrong_character_is_not_whole(data: st.DataObject) -> None:
    token = new_token()
    index = data.draw(st.integers(len(PREFIX), len(token) - 1))
    other = data.draw(st.sampled_from([digit for digit in DIGITS if digit != token[index]]))
    assert not is_whole(token[:index])
    assert not is_whole(token[:index] + other + token[index + 1 :])
    assert not is_whole(token[:index] + token[index + 1 :])


@pytest.mark.parametrize("text", ["", "rampd_", "rampd_" + "0" * 49, "ghp_" + "0" * 51, "rampd_" + "ä" * 49])
def test_what_is_no_token_is_not_whole(text: str) -> None:
    assert not is_whole(text)


@pytest.mark.parametrize("around", ["{}\n", " {}", "{}x", "x{}"])
def test_a_token_with_something_around_it_is_not_whole(around: str) -> None:
    assert not is_whole(around.format(new_token()))


def test_a_server_keeps_the_sha_256_of_the_whole_token() -> None:
    token = new_token()
    assert digest_of(token) == f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"
