"""Writes the result of a check as one text, and reads it back.

The text is `<when the check was asked> <scope> <counts, JSON>`. Scripts read the first two parts.
"""

import math
from dataclasses import asdict
from typing import Any

from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.storage.codec import texts


def write_counts(asked_ms: int, counts: CheckCounts) -> str:
    """Returns the text. Equal counts have equal texts."""
    fields = asdict(counts)
    scope = fields.pop("scope")
    del fields["asked_ms"]
    return f"{asked_ms} {scope} {texts.write_json(fields)}"


def read_counts(text: str) -> CheckCounts:
    """Reads a text of `write_counts`. Raises ValueError."""
    try:
        asked_ms, scope, fields = text.split(" ", 2)
        counts = CheckCounts(scope, **texts.read_object(fields), asked_ms=int(asked_ms))
        is_well_formed = _is_well_formed(counts) and write_counts(int(asked_ms), counts) == text
    except (ValueError, TypeError, RecursionError) as exc:
        raise ValueError(f"has a result that rampd did not write: {exc}") from exc
    if not is_well_formed:
        raise ValueError("has a result that is not in the form that rampd writes")
    return counts


def _is_well_formed(counts: CheckCounts) -> bool:
    return (
        (counts.hold_ms is None or _is_count(counts.hold_ms))
        and _is_count(counts.failures)
        and _is_count(counts.errors)
        and isinstance(counts.has_passed, bool)
        and (counts.value is None or (isinstance(counts.value, float) and math.isfinite(counts.value)))
        and isinstance(counts.error, str)
    )


def _is_count(value: Any) -> bool:  # noqa: ANN401 - it comes from JSON
    return type(value) is int and value >= 0
