"""What the log says of a request that is refused before a handler has it."""

import pytest
from starlette.requests import Request

from rampd_server.domain.refusals import no_credentials
from rampd_server.http import call
from rampd_server.rpc import refused_calls
from rampd_server.rpc.call_error import CallError


async def test_a_path_of_any_length_takes_little_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a flag with a name of 16 KiB and no credential, expect a line of the log that is not much longer than others."""
    told: list[str] = []
    monkeypatch.setattr(refused_calls, "tell", lambda _refusal, method, *_: told.append(method))
    for path in ("/metrics", "/ofrep/v1/evaluate/flags/" + "x" * 16_000):
        request = Request({"type": "http", "method": "POST", "path": path, "headers": []})
        with pytest.raises(CallError):
            await call.refuse(no_credentials("none"), request)
    assert told[0] == "/metrics"
    assert told[1].startswith("/ofrep/v1/evaluate/flags/x")
    assert len(told[1]) < 300
