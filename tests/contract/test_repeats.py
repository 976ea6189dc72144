"""A request that comes twice at the same time, from a client that lost its connection. Both copies get one answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from rampd_server.domain.errors import InvalidRequestError, Reason, RefusedError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import QueueMode
from rampd_server.ports import Author, Override
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Answer, Service
from rampd_server.storage.store import RedisStore
from tests.contract.driving import COMPONENT, do
from tests.contract.test_freezes import following

OWN = Author("ada", "Finalize", request_id="ci-42", digest="d1g35t")
OTHER = Author("ada", "Finalize", request_id="ci-42", digest="an0th3r")
PINNED = {"acme/app": Override(tag="t")}

Ask = Callable[[Service, Author], Coroutine[Any, Any, Answer]]


@pytest.fixture
async def service(store: RedisStore) -> AsyncIterator[Service]:
    """A server with a rollout at revision 3 and an override at revision 4."""
    await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(1000))
    async with following(store) as replica:
        made = Service(store, replica)
        await made.set_overrides(COMPONENT, PINNED, Author("ada", "SetOverride"))
        yield made


def execute(command: commands.Command, expected_revision: int | None = None) -> Ask:
    return lambda service, author: service.execute(COMPONENT, command, author, expected_revision=expected_revision)


REFUSED_AFTER_ITSELF = {
    "NO_ROLLOUT": execute(commands.Finalize(force=True)),
    "REVISION_MISMATCH": execute(commands.Ramp(2000), 4),
    "COMPONENT_NOT_FOUND": execute(commands.DeleteComponent()),
    "REVISION_MISMATCH of overrides": lambda service, author: service.set_overrides(
        COMPONENT, {"acme/app": Override(tag="u")}, author, expected_revision=4
    ),
    "OVERRIDE_NOT_FOUND": lambda service, author: service.set_overrides(
        COMPONENT, {"acme/app": None}, author, must_exist=True
    ),
}


@pytest.mark.parametrize("ask", REFUSED_AFTER_ITSELF.values(), ids=REFUSED_AFTER_ITSELF)
async def test_a_second_copy_of_a_running_request_gets_the_answer_of_the_first(service: Service, ask: Ask):
    answers = await asyncio.gather(*(ask(service, OWN) for _ in range(3)))

    assert [answer.result for answer in answers] == [answers[0].result] * 3
    assert sorted(answer.is_replayed for answer in answers) == [False, True, True]


async def test_another_request_with_the_id_of_a_running_one_is_refused_as_a_reuse(service: Service):
    answers = await asyncio.gather(
        *(execute(commands.Finalize(force=True))(service, author) for author in (OWN, OTHER)),
        return_exceptions=True,
    )

    assert [isinstance(answer, Answer) for answer in answers].count(True) == 1
    [refused] = [answer for answer in answers if isinstance(answer, RefusedError)]
    assert refused.reason is Reason.REQUEST_ID_REUSED


@pytest.mark.parametrize(
    "ask",
    [
        execute(commands.Ramp(2000)),
        execute(commands.Ramp(1000)),
        lambda service, author: service.set_overrides(COMPONENT, {"acme/app": Override(tag="u")}, author),
        lambda service, author: service.freeze_all(None, author),
    ],
    ids=["a change", "no change", "an override", "a freeze of all"],
)
async def test_only_the_script_of_a_commit_looks_whether_its_request_was_applied(
    store: RedisStore, service: Service, monkeypatch: pytest.MonkeyPatch, ask: Ask
):
    """Given that nobody can read the record of a request alone, expect the first answer, its repeat, and a refusal of a reuse."""

    async def request_record(_request_id: str) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(store, "request_record", request_record)
        first, again = [await ask(service, OWN) for _ in range(2)]
    with pytest.raises(RefusedError) as caught:
        await ask(service, OTHER)

    assert (again.is_replayed, again.result) == (True, first.result)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_refusal_without_an_earlier_copy_stays_a_refusal(service: Service):
    with pytest.raises(RefusedError) as caught:
        await execute(commands.Ramp(2000), 1)(service, OWN)
    assert caught.value.reason is Reason.REVISION_MISMATCH


async def test_a_repeat_is_answered_without_asking_the_source_again(service: Service):
    """Given a source that accepts a policy first, and refuses the repeat or does not answer, expect the first answer."""
    asked: list[str] = []

    async def takes() -> None:
        asked.append("first")

    async def refuses() -> None:
        asked.append("again")
        raise InvalidRequestError([("policy.checks[0].query", "is not taken")])

    def ask(judge: Callable[[], Awaitable[None]], author: Author = OWN) -> Coroutine[Any, Any, Answer]:
        return service.execute(COMPONENT, commands.SetPolicy({"queue_mode": QueueMode.LATEST}, {}), author, judge=judge)

    first = await ask(takes)
    again = await ask(refuses)
    assert (again.is_replayed, again.result, asked) == (True, first.result, ["first"])
    with pytest.raises(RefusedError) as caught:
        await ask(takes, OTHER)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    with pytest.raises(InvalidRequestError, match="is not taken"):
        await ask(refuses, Author("ada", "SetPolicy"))


async def test_a_copy_of_a_running_request_gets_its_answer_though_the_source_refuses_it_meanwhile(service: Service):
    command = commands.SetPolicy({"queue_mode": QueueMode.LATEST}, {})
    asked, done = asyncio.Event(), asyncio.Event()

    async def refuses() -> None:
        asked.set()
        await done.wait()
        raise InvalidRequestError([("policy.checks[0].query", "is not taken")])

    async def first() -> Answer:
        await asked.wait()
        answer = await service.execute(COMPONENT, command, OWN)
        done.set()
        return answer

    one, other = await asyncio.gather(first(), service.execute(COMPONENT, command, OWN, judge=refuses))
    assert (other.is_replayed, other.result) == (True, one.result)


@pytest.mark.parametrize("what", ["override", "freeze", "freeze of all"])
async def test_a_repeat_after_its_expiry_gets_the_first_answer(service: Service, what: str):
    """Given a repeat after the expiry in the request, expect the first answer, and no error about the time."""
    replica = service._replica
    ask, first, expire_ms = await asked_in_time(service, what)
    await past(replica, expire_ms)

    again = await ask(service, OWN)
    assert (again.is_replayed, again.result) == (True, first.result)
    with pytest.raises(InvalidRequestError, match="is not in the future"):
        await ask(service, Author("ada", "Freeze"))


async def asked_in_time(service: Service, what: str) -> tuple[Ask, Answer, int]:
    """Asks for something that soon expires. A busy machine may need more time than the first tries give."""
    for life_ms in (100, 1_000, 10_000):
        expire_ms = service._replica.now_ms() + life_ms
        ask = asking(what, expire_ms)
        with contextlib.suppress(InvalidRequestError):
            return ask, await ask(service, OWN), expire_ms
    pytest.fail("10 s were over before the request was looked at")


def asking(what: str, expire_ms: int) -> Ask:
    asks: dict[str, Ask] = {
        "override": lambda service, author: service.set_overrides(
            COMPONENT, {"acme/app": Override(tag="x", expire_ms=expire_ms)}, author
        ),
        "freeze": execute(commands.Freeze(expire_ms)),
        "freeze of all": lambda service, author: service.freeze_all(expire_ms, author),
    }
    return asks[what]


async def past(replica: Replica, time_ms: int) -> None:
    while replica.now_ms() <= time_ms:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.005)
