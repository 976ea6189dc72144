"""Which node has a slot, by the answers of several nodes of a cluster."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.process.cluster_url import ClusterUrl
from rampd_server.storage.cluster import Cluster
from rampd_server.storage.cluster_finders import MemberFinder, SlotFinder
from rampd_server.storage.connection import connect
from rampd_server.storage.finding import Node
from rampd_server.storage.redis_errors import ElsewhereError
from rampd_server.storage.shards import Shards
from rampd_server.storage.slots import Claim, merged, owners_by, read_claims, slot_of
from tests.in_background import in_background
from tests.waiting import eventually_async

A, B, C, D = (Node("10.0.0.1", port) for port in (1, 2, 3, 4))
AWAY = StoreUnavailableError("it is away")
SLOT = 5


def claim(node: Node, number: int, *slots: tuple[int, int], own: bool = False) -> Claim:
    return Claim(f"id{node.port}", number, own, node, slots)


THREE = (claim(A, 1, (0, 5460)), claim(B, 2, (5461, 10922)), claim(C, 3, (10923, 16383)))


class FakeNode:
    """Answers what a test gives it."""

    def __init__(self) -> None:
        self.answer: Sequence[Claim] | StoreUnavailableError = THREE
        self.asked = 0
        self.is_closed = False

    async def ask(self) -> Sequence[Claim]:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, StoreUnavailableError):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        self.is_closed = True


class World:
    """A cluster whose first node is in the URL, and a clock that a test moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.nodes = {node: FakeNode() for node in (A, B, C, D)}
        self.cluster = Cluster({A: self.nodes[A]}, self.nodes.__getitem__, monotonic=self._tick)
        self.finder = SlotFinder(self.cluster, SLOT)
        self.left = 0
        self.finder.subscribe(self._leave)

    def _tick(self) -> float:
        self.now_s += 0.001
        return self.now_s

    async def _leave(self) -> None:
        self.left += 1

    def answer(self, *claims: Claim, by: Sequence[Node] = (A, B, C, D)) -> None:
        for node in by:
            self.nodes[node].answer = claims

    def lose(self, *nodes: Node) -> None:
        for node in nodes:
            self.nodes[node].answer = AWAY

    async def address(self) -> Node:
        """The address after a doubt."""
        self.now_s += 1
        self.finder.doubt("a test")
        return await self.finder.address()


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        # One node has heard of the failover before the others.
        ([[claim(A, 1, (0, 9))], [claim(B, 4, (0, 9))], [claim(A, 1, (0, 9))]], B),
        ([[claim(B, 4, (0, 9)), claim(A, 1, (0, 9))]], B),
        # A slot was moved, and a node still believes the claim of before.
        ([[claim(A, 1, (0, 9)), claim(B, 4)], [claim(A, 1, (0, 4)), claim(B, 5, (5, 9))]], B),
        # The source says itself that it has given the slot away. Another node knows its new number, and not that.
        ([[claim(A, 9, (0, 9))], [claim(A, 9, (0, 4), own=True), claim(B, 5, (5, 9))]], B),
        ([[claim(A, 9, (0, 4), own=True), claim(B, 5, (5, 9))], [claim(A, 9, (0, 9))]], B),
    ],
)
def test_the_latest_claim_counts(views: list[list[Claim]], expected: Node) -> None:
    assert owners_by(merged(views, {}).values())[SLOT] == expected


async def test_who_is_cut_off_with_the_old_primary_is_not_believed() -> None:
    world = World()
    world.answer(*THREE[1:], claim(D, 4, (0, 5460)))
    await world.address()
    world.answer(*THREE)
    world.lose(B, C)
    assert await world.address() == D


async def test_a_cluster_that_was_made_again_is_believed_although_it_counts_from_0() -> None:
    world = World()
    world.answer(*THREE[1:], claim(D, 4, (0, 5460)))
    await world.address()
    world.answer(claim(A, 0, (0, 16383)), by=[B, C])
    world.lose(D)
    assert await world.address() == A


async def test_a_change_is_counted_logged_and_told_and_the_first_look_is_none() -> None:
    world = World()
    with structlog.testing.capture_logs() as lines:
        assert await world.address() == A
        assert (world.finder.primary.changes.value, world.left, lines) == (0, 0, [])
        world.answer(*THREE, claim(D, 4, (0, 5460)), by=[B])
        assert await world.address() == D
    assert (world.finder.primary.changes.value, world.left) == (1, 1)
    [line] = lines
    assert (line["event"], line["before"], line["after"], line["why"]) == (
        "store_primary_changed",
        "10.0.0.1:1",
        "10.0.0.1:4",
        "a test",
    )


async def test_a_change_of_another_slot_is_no_change() -> None:
    world = World()
    await world.address()
    world.answer(*THREE, claim(D, 4, (5461, 10922)))
    assert await world.address() == A
    assert world.cluster.owner(6000) == D
    assert (world.finder.primary.changes.value, world.left) == (0, 0)


async def test_after_the_first_look_the_primaries_are_asked_and_not_the_url() -> None:
    world = World()
    world.answer(*THREE[1:], claim(D, 4, (0, 5460)))
    await world.address()
    await world.address()
    assert [world.nodes[node].asked for node in (A, B, C, D)] == [1, 1, 1, 1]


async def test_of_many_primaries_each_look_asks_some() -> None:
    nodes = [Node("10.0.0.2", port) for port in range(20)]
    asked = {node: FakeNode() for node in [A, *nodes]}
    for each in asked.values():
        each.answer = [claim(node, place, (place, place)) for place, node in enumerate(nodes)]
    now_s = iter(range(100))
    cluster = Cluster({A: asked[A]}, asked.__getitem__, monotonic=lambda: float(next(now_s)))
    await cluster.all_primaries()
    for _ in range(5):
        cluster.doubt("a test")
        await cluster.all_primaries()
    assert sorted(asked[node].asked for node in nodes) == [2] * 20


async def test_if_no_node_answers_what_is_known_stays_and_then_those_of_the_url_are_asked_too() -> None:
    world = World()
    world.answer(*THREE[1:], claim(D, 4, (0, 5460)))
    await world.address()
    with structlog.testing.capture_logs() as lines:
        world.lose(B, C, D)
        assert await world.address() == D
        assert world.nodes[A].asked == 1
        world.answer(claim(A, 1, (0, 16383)), by=[A])
        assert await world.address() == D
        world.answer(claim(A, 5, (0, 16383)), by=[A])
        assert await world.address() == A
    lost = {line["node"] for line in lines if line["event"] == "cluster_node_lost"}
    assert lost == {"10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"}
    # Nodes that are no primaries any more are not asked any more.
    assert [world.nodes[node].is_closed for node in (A, B, C, D)] == [False, True, True, True]


async def test_without_any_answer_the_error_says_why_of_each_node() -> None:
    world = World()
    world.lose(A)
    with pytest.raises(StoreUnavailableError, match=r"No node of the cluster answers\. it is away"):
        await world.address()
    world.nodes[A].answer = StoreMisconfiguredError("wrong password")
    with pytest.raises(StoreMisconfiguredError):
        await world.address()


async def test_a_slot_that_no_node_has_is_an_error_that_names_it() -> None:
    world = World()
    world.answer(*THREE[1:])
    with pytest.raises(StoreUnavailableError, match="No node of the cluster has slot 5, which rampd needs"):
        await world.address()


@pytest.mark.parametrize("was_known", [False, True])
async def test_a_cluster_without_any_slot_is_asked_until_it_has_some(was_known: bool) -> None:
    world = World()
    if was_known:
        await world.address()
    world.answer()
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="No node of the cluster has slot 5, which rampd needs"):
            await world.address()
    world.answer(*THREE)
    assert await world.address() == A


async def test_the_cluster_is_followed_also_while_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rampd_server.storage.doubts._EVERY_S", 0.001)
    world = World()
    async with in_background(world.finder.follow()):
        await eventually_async(lambda: world.nodes[C].asked > 0)
        world.answer(*THREE, claim(D, 4, (0, 5460)))
        await eventually_async(lambda: world.left == 1)


async def test_a_call_right_after_a_look_that_was_due_may_cause_one_too() -> None:
    world = World()
    async with in_background(world.finder.follow()):
        await eventually_async(lambda: world.cluster.owner(SLOT) == A)
        world.answer(*THREE, claim(D, 4, (0, 5460)))
        world.finder.doubt("a test")
        assert await world.finder.address() == D


async def test_a_client_of_a_node_without_slots_sends_its_calls_elsewhere() -> None:
    world = World()
    await world.address()
    member = MemberFinder(world.cluster, A)
    assert await member.address() == A
    world.answer(*THREE, claim(D, 4, (0, 5460)))
    await world.address()
    with pytest.raises(ElsewhereError):
        await member.address()


class FakeClient:
    """A client of one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.connection_pool = self
        self.has_left = False

    async def leave(self) -> None:
        self.has_left = True


def key_on(node: Node) -> str:
    [owned] = [each.slots[0] for each in THREE if each.node == node]
    return next(key for key in map(str, range(1000)) if owned[0] <= slot_of(key) <= owned[1])


async def test_each_node_gets_its_calls_at_once_and_one_that_is_away_fails_only_its_own() -> None:
    world = World()
    shards = Shards(world.cluster, lambda node, _finder: FakeClient(node))
    calls = [[1, key_on(node), number] for number, node in enumerate((B, A, C, A, B))]
    sent: list[list[Any]] = []

    async def send(part: Sequence[Sequence[Any]]) -> list[Any]:
        sent.append([number for *_, number in part])
        if part[0][1] == key_on(B):
            raise AWAY
        return [f"answer {number}" for *_, number in part]

    assert await shards.spread(calls, send) == [AWAY, "answer 1", "answer 2", "answer 3", AWAY]
    assert sorted(sent) == [[0, 4], [1, 3], [2]]


async def test_clients_are_kept_as_long_as_their_node_has_slots() -> None:
    world = World()
    shards = Shards(world.cluster, lambda node, _finder: FakeClient(node))
    first, other = await shards.client_of(key_on(A)), await shards.client_of(key_on(B))
    assert await shards.client_of(key_on(A)) is first
    world.answer(*THREE, claim(D, 4, (0, 5460)))
    await world.address()
    assert [each.node for each in await shards.every_client(but=B)] == [D, C]
    assert (first.has_left, other.has_left) == (True, False)


NODES = """\
07c3 10.0.0.9:30004@31004 slave e7d1 0 1426238317239 4 connected
67ed 10.0.0.1:30002@31002,two master - 0 1426238316232 2 connected 5461-10922
292f 10.0.0.1:30003@31003,,shard-id=1 master - 0 1426238318243 3 connected 10923-16383
6ec2 :0@0 master,noaddr - 1426238317741 0 7 disconnected 7
e7d1 :30001@31001,one myself,master - 0 0 1 connected 0-5459 5460 [93-<-292f] [77->-e7d1]
"""


@pytest.mark.parametrize(
    ("is_tls", "names"), [(False, ["10.0.0.1", "10.0.0.1", "asked"]), (True, ["two", "10.0.0.1", "one"])]
)
def test_the_answer_of_a_node_has_the_primaries_and_with_tls_their_names(is_tls: bool, names: list[str]) -> None:
    found = read_claims(NODES, Node("asked", 1), is_tls=is_tls)
    assert [(each.id, each.number, each.is_own) for each in found] == [
        ("67ed", 2, False),
        ("292f", 3, False),
        ("e7d1", 1, True),
    ]
    assert [each.node for each in found] == [
        Node(name, 30000 + number) for name, number in zip(names, (2, 3, 1), strict=True)
    ]
    assert [each.slots for each in found] == [((5461, 10922),), ((10923, 16383),), ((0, 5459), (5460, 5460))]


def test_a_url_gives_each_node_the_user_the_password_and_the_options() -> None:
    url = ClusterUrl.parse("rediss+cluster://ada:p%2Fw@a,[::1]:7?ssl_cert_reqs=none")
    assert url.hosts == ("a:6379", "[::1]:7")
    for place, (host, port) in {"a:6379": ("a", 6379), "[::1]:7": ("::1", 7)}.items():
        kwargs = connect(url.at(place), timeout_s=1, max_connections=1).connection_pool.connection_kwargs
        assert (kwargs["host"], kwargs["port"], kwargs["username"], kwargs["password"]) == (host, port, "ada", "p/w")
        assert kwargs["ssl_cert_reqs"] == "none"
    assert ClusterUrl.parse("redis+cluster://a/0").at("b:1") == "redis://b:1"
