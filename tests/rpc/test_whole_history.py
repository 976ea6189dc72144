"""ListEvents over all components, and who set an override: over a real channel, and from two servers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from rampd import Admin, AsyncAdmin, InvalidArgumentError, v1
from rampd_server.storage.store import RedisStore
from tests.servers import Stubs, reason_of
from tests.stores import StoreServer

C = "restyler"


@pytest.fixture
async def store(store_process: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """A store to damage data with, as a person with redis-cli would."""
    made = store_process.store(namespace)
    yield made
    await made.close()


@pytest.fixture
def admin(target: str) -> Iterator[Admin]:
    with Admin(target, actor="ada") as made:
        yield made


def whole(call: Stubs, **fields: Any) -> Any:
    return call("ListEvents", every_component=True, **fields)


def order(event: v1.Event) -> tuple[int, int]:
    milliseconds, _, sequence = event.id.partition("-")
    return int(milliseconds), int(sequence)


def test_the_list_has_the_events_of_each_component_and_of_the_namespace(call: Stubs) -> None:
    call("Release", component=C, tag="t1", note="first")
    call("Freeze", all=True, note="for the night")
    call("Release", component="hlint", tag="t1")

    page = whole(call)

    assert [(event.component, event.action) for event in page.events] == [
        ("hlint", "Release"),
        ("", "Freeze"),
        (C, "Release"),
    ]
    assert page.next_page_token == ""
    assert list(page.damage) == []
    for event in page.events:
        assert call("ListEvents", component=event.component).events[0] == event
        assert event.id.partition("-")[0] == str(event.time.ToMilliseconds())
    assert len({event.id for event in page.events}) == 3


def test_two_servers_give_the_pages_of_one_list_while_both_write(call: Stubs, second: Stubs) -> None:
    """Given pages from two servers in turn, and changes between them, expect each earlier event once."""
    for name in ("a", "b", C):
        for tag in ("t1", "t2"):
            call("Release", component=name, tag=tag)
            second("SetOverride", component=name, repo="acme/app", tag=tag)
    call("DeleteComponent", component="b", confirm="b")
    before = sorted(
        (event for name in ("a", "b", C, "") for event in call("ListEvents", component=name).events),
        key=order,
        reverse=True,
    )
    found, token = [], ""
    for number in range(100):
        reader, writer = (call, second) if number % 2 else (second, call)
        page = whole(reader, page_size=2, page_token=token)
        found += page.events
        writer("SetOverride", component="a", repo=f"acme/{number}", tag="t1")
        writer("Release", component=f"new-{number}", tag="t1")
        if number == 2:
            writer("DeleteComponent", component=C, confirm=C)
            writer("Release", component="b", tag="t3")
        if not (token := page.next_page_token):
            break
    assert found == before


def test_a_caller_follows_the_history_without_a_gap(call: Stubs, second: Stubs) -> None:
    call("Release", component=C, tag="t1")
    last = whole(call, page_size=1).events[0].id
    assert list(whole(second, after=last).events) == []
    followed = []
    for number in range(6):
        (call if number % 2 else second)("Release", component=f"c{number % 3}", tag=f"t{number}")
        new = whole(second if number % 2 else call, after=last).events
        assert [event.component for event in new] == [f"c{number % 3}"]
        followed += new
        last = new[0].id
    assert followed == list(whole(call).events)[-2::-1]
    assert [event.id for event in call("ListEvents", component="c1", after=followed[1].id).events] == [followed[4].id]
    assert list(call("ListEvents", component="c1", after=last).events) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"component": C, "every_component": True}, "component"),
        *(
            ({"every_component": True, "page_token": token}, "page_token")
            for token in ("x", "1", "(1-1", "1-1-1", "9" * 19 + "-1")
        ),
        *(({"every_component": every, "after": "0x1-1"}, "after") for every in (True, False)),
        *(
            ({"every_component": True, "after": after}, "after")
            for after in ("-", "+", "1-", "9" * 19 + "-1", "1-1\n", "\u0663-1")
        ),
        ({"every_component": True, "page_size": 1001}, "page_size"),
    ],
)
def test_a_request_that_is_not_valid_names_its_field(call: Stubs, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call("ListEvents", **fields)
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert field in str(caught.value.details())


@pytest.mark.parametrize("token", ["0-0", "00000000000000001-000000000000000001", "9" * 18 + "-" + "9" * 18])
def test_a_token_of_any_place_is_answered(call: Stubs, token: str) -> None:
    call("Release", component=C, tag="t1")
    is_late = token.startswith("9")
    assert len(whole(call, page_token=token).events) == is_late
    assert len(whole(call, after=token).events) == (not is_late)


async def test_a_damaged_history_is_named_beside_the_events_of_the_others(
    call: Stubs, second: Stubs, store: RedisStore
) -> None:
    for name in ("a", C, "z"):
        call("Release", component=name, tag="t1")
    key = store.keys.component(C).history
    await store.client.delete(key)
    await store.client.set(key, "x")
    bad = await store.client.xadd(store.keys.component("a").history, {"odd": b"\xff"})
    call("Release", component="a", tag="t2")

    for server in (call, second):
        page = whole(server)
        assert [event.component for event in page.events] == ["a", "z", "a"]
        by_key = {damage.key: damage.problem for damage in page.damage}
        assert by_key.keys() == {key, store.keys.component("a").history}
        assert bad in by_key[store.keys.component("a").history]
        with pytest.raises(grpc.RpcError) as caught:
            server("ListEvents", component=C)
        assert reason_of(caught.value) == "STORE_CORRUPT"


def test_an_admin_lists_and_follows_everything(admin: Admin) -> None:
    for name in ("a", "b"):
        admin.release(name, "t1")
        admin.release(name, "t2")
    everything = list(admin.list_events(every_component=True, page_size=1))
    assert [event.component for event in everything] == ["b", "b", "a", "a"]
    assert list(admin.list_events(every_component=True, after=everything[0].id)) == []
    admin.freeze(all=True)
    assert [event.action for event in admin.list_events(every_component=True, after=everything[0].id)] == ["Freeze"]
    assert [event.id for event in admin.list_events("a", after=everything[3].id)] == [everything[2].id]
    with pytest.raises(InvalidArgumentError, match="every_component"):
        admin.list_events("a", every_component=True)
    with pytest.raises(InvalidArgumentError, match="after"):
        admin.list_events(after="yesterday")


async def test_an_async_admin_lists_everything(target: str, call: Stubs) -> None:
    await asyncio.to_thread(call, "Release", component=C, tag="t1")
    async with AsyncAdmin(target) as admin:
        events = [event async for event in admin.list_events(every_component=True)]
        assert [event.component for event in events] == [C]
        assert [event async for event in admin.list_events(every_component=True, after=events[0].id)] == []


def test_an_override_says_who_set_it_and_since_when_on_every_server(call: Stubs, second: Stubs, admin: Admin) -> None:
    admin.release(C, "t1")
    admin.set_override(C, "acme/app", tag="t1", note="a pilot\nof two lines")
    event = next(admin.list_events(C))
    admin.set_override(C, "acme/app", tag="t1", note="the same again")
    second("SetOverride", component=C, repo="beta/web", channel=v1.CHANNEL_CURRENT)

    for server in (call, second):
        ada, nobody = server("ListOverrides", component=C).overrides
        assert (ada.actor, ada.actor_claimed, ada.note) == ("ada", True, "a pilot\nof two lines")
        assert ada.create_time == event.time
        assert (nobody.actor, nobody.actor_claimed, nobody.note) == ("anonymous", False, "")
        assert nobody.create_time.ToMilliseconds() >= ada.create_time.ToMilliseconds()


async def test_an_override_of_an_earlier_version_is_listed_without_its_origin(call: Stubs, store: RedisStore) -> None:
    call("Release", component=C, tag="t1")
    call("SetOverride", component=C, repo="acme/app", tag="t1", note="why")
    await store.client.delete(store.keys.component(C).overrides_origin)

    [override] = call("ListOverrides", component=C).overrides
    assert override == v1.Override(repo="acme/app", tag="t1")


def test_a_page_of_overrides_is_read_in_pieces_without_a_gap(call: Stubs) -> None:
    """Given more overrides than one read has, set by several changes, expect each of them once with its own origin."""
    call("Release", component=C, tag="t1")
    for first in range(0, 250, 50):
        overrides = [v1.OverrideChange(repo=f"acme/{number:03}", tag="t1") for number in range(first, first + 50)]
        call("BatchSetOverrides", component=C, overrides=overrides, note=f"from {first}")

    listed = call("ListOverrides", component=C, page_size=240)

    assert [each.repo for each in listed.overrides] == [f"acme/{number:03}" for number in range(240)]
    assert [each.note for each in listed.overrides] == [f"from {number // 50 * 50}" for number in range(240)]
    rest = call("ListOverrides", component=C, page_size=240, page_token=listed.next_page_token)
    assert [each.repo for each in rest.overrides] == [f"acme/{number:03}" for number in range(240, 250)]
