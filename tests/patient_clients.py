"""Clients that wait longer than in production, because the machine of a test may be busy."""

from typing import Any

import pytest

from rampd import Admin, AsyncAdmin
from rampd._calls.timeout import RESOLVE_TIMEOUT_S
from rampd._reporting import report_thread
from tests.waiting import PATIENCE_S


def make_clients_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose test says nothing of its time-out has patience. `monkeypatch.undo()` gives the defaults back."""
    of_resolvers: Any = RESOLVE_TIMEOUT_S
    for mode in of_resolvers:
        monkeypatch.setitem(of_resolvers, mode, PATIENCE_S)
    of_admins: tuple[Any, ...] = (Admin.__init__.__kwdefaults__, AsyncAdmin.__init__.__kwdefaults__)
    for defaults in of_admins:
        monkeypatch.setitem(defaults, "timeout", PATIENCE_S)
    monkeypatch.setattr(report_thread, "_CALL_S", PATIENCE_S)
