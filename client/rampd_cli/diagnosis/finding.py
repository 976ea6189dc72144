"""What a check says."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """How well it is, from well to bad."""

    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should change something."""
    PROBLEM = "problem"
    """Something does not work, or will harm somebody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says."""

    check: str
    """The name of the check. It stays the same from version to version."""
    result: Result
    message: str
    advice: str = ""
    """What to do: empty if all is well."""
    server: str = ""
    """The address of the server. Empty: about several servers together."""


def ok(check: str, message: str) -> Finding:
    """Returns what a check says if all is well."""
    return Finding(check, Result.OK, message)


def warning(check: str, message: str, advice: str) -> Finding:
    """Returns what a check says if somebody should change something."""
    return Finding(check, Result.WARNING, message, advice)


def problem(check: str, message: str, advice: str) -> Finding:
    """Returns what a check says if something does not work."""
    return Finding(check, Result.PROBLEM, message, advice)
