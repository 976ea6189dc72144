"""`/readyz` over a copy that a test makes: what is shown, and to whom."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from rampd_server.domain.errors import RampdError, StoreUnavailableError
from rampd_server.http import health
from rampd_server.http.health import Health

SERVES = {"status": "SERVING"}


@dataclass
class Copy:
    """What health looks at of a replica."""

    is_confirmed: bool = True
    trouble: RampdError | None = None
    damaged: dict[str, object] = field(default_factory=dict)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)


def copy(*, answers: bool = True, **fields: Any) -> Copy:
    made = Copy(**fields)
    if answers:
        made.answers.set()
        made.loaded.set()
    return made


async def asked(found: Health, path: str = "/readyz") -> tuple[int, Any]:
    application = Starlette(routes=health.routes(found))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as http:
        answer = await http.get(path)
    return answer.status_code, answer.json()


LOST = StoreUnavailableError("Redis at 10.1.2.3:6379 can't be reached.")


async def test_a_server_that_serves_everything_is_ready() -> None:
    parts = {"reads": SERVES, "writes": SERVES, "components": SERVES}
    assert await asked(Health(copy())) == (200, {**SERVES, "parts": parts})


async def test_a_damaged_component_is_shown_without_its_name_and_the_server_is_ready() -> None:
    found = Health(copy(damaged={"secret-project": object()}))
    status, answer = await asked(found)
    assert (status, answer["status"], answer["parts"]["components"]["reason"]) == (200, "SERVING", "STORE_CORRUPT")
    assert (await asked(found, "/readyz/components"))[0] == 503
    assert "secret-project" not in str(answer)


@pytest.mark.parametrize(("is_open", "is_named"), [(True, True), (False, False)])
async def test_health_names_the_store_only_to_those_who_may_read_everything(is_open: bool, is_named: bool) -> None:
    found = Health(copy(is_confirmed=False, trouble=LOST), is_open=is_open)
    status, answer = await asked(found)
    assert (status, answer["parts"]["writes"]["reason"]) == (503, "STORE_UNAVAILABLE")
    assert ("10.1.2.3" in str(answer)) is is_named


async def test_reads_go_on_without_the_store_and_writes_do_not() -> None:
    found = Health(copy(is_confirmed=False, trouble=LOST))
    assert [(await asked(found, f"/readyz/{part}"))[0] for part in ("reads", "writes", "components")] == [200, 503, 200]
    assert (await asked(found, "/healthz")) == (200, SERVES)


async def test_before_the_first_state_nothing_is_served() -> None:
    found = Health(copy(answers=False, is_confirmed=False))
    assert [(await asked(found, f"/readyz/{part}"))[0] for part in ("reads", "writes", "components")] == [503] * 3


async def test_a_stopping_server_is_not_ready_and_still_works() -> None:
    found = Health(copy())
    found.is_stopping = True
    assert [(await asked(found, path))[0] for path in ("/readyz", "/readyz/reads", "/healthz")] == [503, 503, 200]
