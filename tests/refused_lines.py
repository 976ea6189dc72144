"""What refused_calls has logged, for the tests of those who call it."""

from typing import Any

import pytest

from rampd_server.access.quotas import Rate
from rampd_server.rpc import refused_calls


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The lines of refusals, with a rate that nothing has used yet."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(refused_calls, "_rate", Rate(refused_calls._LINES_PER_S, refused_calls._BURST))
    monkeypatch.setattr(refused_calls, "_not_logged", 0)
    monkeypatch.setattr(
        refused_calls._log, "warning", lambda event, **pairs: found.append({"event": event, **pairs}), raising=False
    )
    return found
