"""The log of the client library."""

import logging

import pytest

from rampd._contract.wording import MISLEADING
from rampd._runtime.log import log


def test_quoted_text_in_the_log_is_one_line_without_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rampd"):
        log.warning("nobody gets next any more: %s", f"a{MISLEADING}b")
        log.warning("%s is away", "a server")
    misleading, plain = caplog.records
    assert not set(misleading.getMessage()) & set(MISLEADING)
    assert misleading.getMessage().startswith(r"nobody gets next any more: a\u0000")
    # Programs group lines by the message without its arguments.
    assert (plain.msg, plain.args) == ("%s is away", ("a server",))
