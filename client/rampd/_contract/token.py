"""Tokens: 256 random bits and a checksum, in a form that secret scanners find. Pure. Server and client share it.

A token is `rampd_`, then the secret in 43 characters, then its CRC-32 in 6. Both are in base 62, as in GitHub's tokens. The
checksum shows whether a token was cut or mistyped, so that a message need not call such a token unknown.
"""

import base64
import binascii
import hashlib
import json
import re
import secrets
import string
import zlib
from typing import Final

PREFIX: Final = "rampd_"
TOKEN: Final = re.compile(r"rampd_[0-9A-Za-z]{49}")
"""The pattern for a secret scanner."""

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_BITS: Final = 256
_SECRET_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6


class Secret(str):
    """A text that `repr()` does not show. Some libraries put the repr of their arguments into their errors."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


def new_token() -> str:
    """Returns a new token."""
    secret = _in_base_62(secrets.randbits(_SECRET_BITS), _SECRET_LENGTH)
    return f"{PREFIX}{secret}{_checksum(secret)}"


def is_whole(token: str) -> bool:
    """Returns whether a text has the form of a token and the right checksum."""
    if TOKEN.fullmatch(token) is None:
        return False
    secret = token[len(PREFIX) : -_CHECKSUM_LENGTH]
    return token.endswith(_checksum(secret))


def token_violation(text: object) -> str | None:
    """Returns what is wrong with a text that a client is to send as a token. The answer does not show the text."""
    if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable() or " " in text:
        return "must be a token: printable ASCII without spaces"
    if text.startswith(PREFIX) and not is_whole(text):
        return "is a token that was cut or mistyped: its checksum does not fit"
    return None


def end_of(token: str) -> float | None:
    """Returns when a JSON web token says that it ends, in seconds since 1970. None if it does not say so, or if the text is no
    JSON web token.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, binascii.Error):
        return None


def digest_of(token: str) -> str:
    """Returns the digest of a token, which a server keeps: `sha256:` and 64 hexadecimal digits. A secret of 256 random bits
    needs no salt.
    """
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def _checksum(secret: str) -> str:
    return _in_base_62(zlib.crc32(secret.encode()), _CHECKSUM_LENGTH)


def _in_base_62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
