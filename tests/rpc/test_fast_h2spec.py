"""h2spec asks the fast listener for each rule of HTTP/2 that it knows, in plain text and over TLS."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest

from rampd_server.fast import app
from rampd_server.rpc.certificates import Certificates
from tests.authority import Authority
from tests.fast import Fast, fast, require_served
from tests.servers import require

NUMBER = 146
"""How many cases h2spec 2.2.1 has, with those of --strict."""
WAIT_S = 5
"""How long h2spec waits for an answer. A case that fails because nothing comes takes so long."""
PRIORITY = "RFC 9113 has removed priorities (section 5.3.2): a server reads over them, and looks at no dependency"


class Case(NamedTuple):
    """A case of h2spec: its section, and what is sent."""

    section: str
    sent: str


EXPECTED = {
    Case("http2/5.3.1", "Sends HEADERS frame that depend on itself"): PRIORITY,
    Case("http2/5.3.1", "Sends PRIORITY frame that depend on itself"): PRIORITY,
}
"""The cases that fail, each with the reason."""


ANSWER_S = 0.1
"""How long an answer takes. All that h2spec sends about a call must come before its end, or there is no call that it could end."""


@pytest.fixture(autouse=True)
def _answers_late(monkeypatch: pytest.MonkeyPatch) -> None:
    real = app._refuse

    async def late(*args: Any) -> None:
        await asyncio.sleep(ANSWER_S)
        await real(*args)

    monkeypatch.setattr(app, "_refuse", late)


@pytest.fixture(params=["plain", "TLS"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fast]:
    pair = Authority().issue("127.0.0.1").write(tmp_path, "server") if request.param == "TLS" else None
    async with fast(certificates=pair and Certificates(*pair)) as found:
        yield found


async def test_every_rule_of_http_2_is_kept_but_those_that_have_been_removed(served: Fast, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    process = await asyncio.create_subprocess_exec(
        *(require("h2spec"), "--strict", "--timeout", str(WAIT_S), "--junit-report", str(report)),
        *("--host", "127.0.0.1", "--port", str(served.address.port)),
        *(("--tls", "--insecure") if served.address.is_tls else ()),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 1, "h2spec ends with 1 where a case fails"
    passed, failed = results(report)
    assert failed == EXPECTED.keys()
    assert len(passed) + len(failed) == NUMBER
    if not served.address.is_tls:
        await require_served(served)


def results(report: Path) -> tuple[list[Case], set[Case]]:
    """Returns the cases that passed, and those that did not."""
    passed, failed = [], set()
    # What came may be any bytes, and h2spec writes them as they are.
    text = re.sub(r"[^\t\n\x20-\x7e]", "?", report.read_text("ascii", errors="replace"))
    for each in ET.fromstring(text).iter("testcase"):
        case = Case(str(each.get("package")), str(each.get("classname")))
        if len(each):
            failed.add(case)
        else:
            passed.append(case)
    return passed, failed
