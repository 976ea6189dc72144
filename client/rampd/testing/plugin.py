"""The pytest plugin of rampd: the fixture `rampd_server`.

Every run of pytest imports this, so it imports nothing large until a test asks for the fixture.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rampd.testing._server import RampdServer


@pytest.fixture
def rampd_server() -> "Iterator[RampdServer]":
    """A real rampd server, empty, on an embedded store in a temporary folder. Each test gets a new one.

    def test_my_launcher(rampd_server):
        rampd_server.admin().release("restyler", "20200301")
        assert launch(rampd_server.resolver()) == "20200301"
    """
    from rampd.testing._server import ServerNotInstalledError, running_server  # noqa: PLC0415 - see the top

    try:
        with running_server() as server:
            yield server
    except ServerNotInstalledError as error:
        pytest.fail(str(error), pytrace=False)
