"""A dry run is never sent to a server that would make the change."""

from collections.abc import Iterator

import grpc
import pytest

from rampd import Admin, AsyncAdmin, v1
from rampd.errors import UnavailableError, UnimplementedError
from tests.rpc.scripted_server import ScriptedServer, scripted_server, status

KNOWS = v1.WhoAmIResponse(flags=["all", "dry_run"])
OLD = v1.WhoAmIResponse(flags=["all", "expedite", "force"])
ANCIENT = status(grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
"""A server without WhoAmI."""


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.answers.clear()
    running.asked.clear()
    return running


@pytest.mark.parametrize("answer", [OLD, ANCIENT, grpc.StatusCode.UNIMPLEMENTED], ids=["old", "ancient", "other"])
def test_an_old_server_gets_no_dry_run(server: ScriptedServer, answer: object) -> None:
    server.answers["WhoAmI"] = [answer]  # type: ignore[list-item]

    with Admin(server.target) as admin, pytest.raises(UnimplementedError, match="Nothing was sent"):
        admin.ramp("restyler", 10, dry_run=True)

    assert [asked.method for asked in server.asked] == ["WhoAmI"]


async def test_an_old_server_gets_no_dry_run_of_asyncio(server: ScriptedServer) -> None:
    server.answers["WhoAmI"] = [OLD]

    async with AsyncAdmin(server.target) as admin:
        with pytest.raises(UnimplementedError):
            await admin.ramp("restyler", 10, dry_run=True)

    assert server.requests("Ramp") == []


def test_a_server_that_can_not_say_what_it_knows_gets_no_dry_run(server: ScriptedServer) -> None:
    server.answers["WhoAmI"] = [status(grpc.StatusCode.UNAVAILABLE, "NO_SNAPSHOT")]

    with Admin(server.target, timeout=1) as admin, pytest.raises(UnavailableError):
        admin.delete_component("restyler", confirm="restyler", dry_run=True)

    assert server.requests("DeleteComponent") == []


def test_a_server_is_asked_before_each_dry_run(server: ScriptedServer) -> None:
    """Another server may answer at the same address by then."""
    server.answers["WhoAmI"] = [KNOWS, OLD]

    with Admin(server.target) as admin:
        admin.ramp("restyler", 10, dry_run=True)
        with pytest.raises(UnimplementedError):
            admin.ramp("restyler", 20, dry_run=True)

    assert [request.percent for request in server.requests("Ramp")] == [10]
    assert server.requests("Ramp")[0].dry_run


def test_a_change_needs_no_question_before_it(server: ScriptedServer) -> None:
    server.answers["WhoAmI"] = [OLD]

    with Admin(server.target) as admin:
        admin.ramp("restyler", 10)

    assert [asked.method for asked in server.asked] == ["Ramp"]
