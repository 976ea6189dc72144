"""The error of a write whose time is over: its own deadline, a store that does not answer, or contention."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest

from rampd_server.domain.errors import DeadlineError, Reason, RefusedError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.ports import Author, ConflictError, FeedEntry
from rampd_server.service import line as lines
from rampd_server.service import service as module
from rampd_server.service.service import Service
from rampd_server.storage.store import RedisStore
from tests.contract.conftest import silent
from tests.contract.driving import ADA, COMPONENT
from tests.contract.test_freezes import following
from tests.stores import REDIS, StoreServer, store_server

WRITERS = 30


@pytest.fixture
def own_server() -> Iterator[StoreServer]:
    """A server that a test may stop."""
    with store_server(REDIS) as server:
        yield server


@pytest.fixture
async def service(own_store: RedisStore) -> AsyncIterator[Service]:
    async with following(own_store) as replica:
        yield Service(own_store, replica)


@pytest.fixture
def stopped(own_server: StoreServer, own_store: RedisStore, service: Service) -> Iterator[None]:
    with silent(own_server, own_store):
        yield


async def write(service: Service, number: int = 1, timeout_s: float | None = None) -> object:
    """Returns the error with which a write ends."""
    try:
        return await service.execute(COMPONENT, commands.Ramp(number), ADA, timeout_s=timeout_s)
    except (RefusedError, StoreUnavailableError, DeadlineError) as error:
        return error


@pytest.mark.usefixtures("stopped")
async def test_writers_that_wait_for_a_write_fail_with_it_if_the_store_does_not_answer(
    service: Service, own_store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Expect that one write is sent, so that nobody waits for the time-outs of all the others."""
    commit, sent = own_store.commit, []

    async def send(*arguments: object, **options: object) -> FeedEntry:
        sent.append(arguments)
        return await commit(*arguments, **options)  # type: ignore[arg-type,return-value]

    monkeypatch.setattr(own_store, "commit", send)
    ends = await asyncio.gather(*(write(service, number) for number in range(1, WRITERS + 1)))

    assert {type(end) for end in ends} == {StoreUnavailableError}
    assert len(sent) == 1
    not_sent = [end for end in ends if "so this write was not sent" in str(end)]
    assert len(not_sent) == WRITERS - 1


@pytest.mark.usefixtures("stopped")
async def test_a_caller_whose_deadline_has_passed_gets_deadline_exceeded(service: Service):
    first, second = await asyncio.gather(write(service, 1, timeout_s=0.01), write(service, 2, timeout_s=0.02))

    for end in (first, second):
        assert isinstance(end, DeadlineError)
        assert str(end).startswith("The deadline of this call ran out before restyler was changed")


async def test_a_write_that_fails_at_once_does_not_fail_the_writers_behind_it(
    service: Service, own_store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given a connection that breaks during one of many writes that have waited long, expect that only this write fails."""
    commit, commits = own_store.commit, iter(range(WRITERS))

    async def cut_once(*arguments: object, **options: object) -> FeedEntry:
        if next(commits) == 1:
            raise StoreUnavailableError("The link was cut.")
        return await commit(*arguments, **options)  # type: ignore[arg-type]

    now_s = 0.0
    monkeypatch.setattr(lines, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(own_store, "commit", cut_once)
    holder = service._lines.setdefault(COMPONENT, lines.Line())
    async with holder._lock:
        writing = [asyncio.create_task(write(service, number)) for number in range(1, 5)]
        # Each of them is in the line then.
        await asyncio.sleep(0)
        now_s = lines._PATIENCE_S
    ends = await asyncio.gather(*writing)

    assert [isinstance(end, StoreUnavailableError) for end in ends] == [False, True, False, False]


async def test_a_caller_without_a_deadline_gets_an_error_about_contention(
    service: Service, own_store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    async def commit(*_arguments: object, **_options: object) -> FeedEntry:
        raise ConflictError("another writer was first")

    monkeypatch.setattr(own_store, "commit", commit)
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    end = await write(service)

    assert isinstance(end, RefusedError)
    assert end.reason is Reason.CONTENTION
    assert str(end).startswith("Others kept changing restyler for 0.05 s.")
    with pytest.raises(RefusedError, match="Others kept changing restyler"):
        await service.execute(COMPONENT, commands.Pause(), Author("bob", "Pause"))
