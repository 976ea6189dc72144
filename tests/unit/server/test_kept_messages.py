"""The messages of a list are kept, and are as if each was made again."""

from dataclasses import replace
from typing import Any, cast

import pytest

from rampd import v1
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.ports import FeedEntry, Namespace
from rampd_server.replica.replica import Replica
from rampd_server.rpc import kept_messages
from rampd_server.rpc.kept_messages import KeptMessages
from rampd_server.rpc.messages.convert import rollout_message
from tests.rollouts import NOW, rolling_out

HOUR_MS = 3_600_000
ALL = Freeze("ada", "all", NOW, NOW + HOUR_MS)
OWN = Freeze("bob", "own", NOW, NOW + 2 * HOUR_MS)


class Known:
    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout


class Copy:
    """A copy with the components that the test gives it."""

    def __init__(self, *rollouts: Rollout) -> None:
        self.known: dict[str, Known] = {}
        self.put(*rollouts)

    def put(self, *rollouts: Rollout) -> None:
        self.known |= {rollout.component: Known(rollout) for rollout in rollouts}

    def get(self, component: str) -> Known | None:
        return self.known.get(component)

    def subscribe(self, _listener: object) -> None:
        pass


def named(component: str, **fields: Any) -> Rollout:
    return replace(rolling_out(), component=component, **fields)


def made(copy: Copy, **options: int) -> KeptMessages:
    return KeptMessages(cast("Replica", copy), **options)


@pytest.fixture
def makes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The components whose messages are made, in order."""
    found: list[str] = []

    def noting(rollout: Rollout, namespace: Namespace, now_ms: int) -> v1.Rollout:
        found.append(rollout.component)
        return rollout_message(rollout, namespace, now_ms)

    monkeypatch.setattr(kept_messages, "rollout_message", noting)
    return found


def test_a_kept_message_is_as_if_it_was_made_now(makes: list[str]) -> None:
    rollout = named("a", freeze=OWN)
    messages = made(Copy(rollout))
    for namespace, hours in [(None, 0), (ALL, 0), (ALL, 0.5), (ALL, 1.5), (None, 1.5), (ALL, 2.5), (None, 2.5)]:
        for _ in range(2):
            moment = Namespace(namespace), NOW + round(hours * HOUR_MS)
            assert messages.message(rollout, *moment) == rollout_message(rollout, *moment)
    assert len(makes) == 4


def test_a_message_is_the_callers_own(makes: list[str]) -> None:
    rollout = named("a")
    messages = made(Copy(rollout))
    for _ in range(3):
        message = messages.message(rollout, Namespace(), NOW)
        assert not message.damage.problem
        message.damage.problem = "changed"
    assert makes == ["a"]


def test_only_messages_of_components_of_the_copy_are_kept(makes: list[str]) -> None:
    """Given a component as the store has it, which the copy has in another state or not at all, expect that each caller has it made."""
    known = named("a")
    messages = made(Copy(known))
    for rollout in (known, named("a", basis_points=known.basis_points + 100), named("b")):
        for _ in range(2):
            assert messages.message(rollout, Namespace(), NOW) == rollout_message(rollout, Namespace(), NOW)
    assert makes == ["a", "a", "a", "b", "b"]


def test_a_message_is_forgotten_when_its_component_changes_and_by_a_reading_that_does_not_keep_it(
    makes: list[str],
) -> None:
    one, two, three = named("a"), named("b"), named("c")
    copy = Copy(one, two, three)
    messages = made(copy, max_bytes=3 * len(rollout_message(one, Namespace(), NOW).SerializeToString()))
    for each in (one, two, three):
        messages.message(each, Namespace(), NOW)
    messages.applied(FeedEntry("2-0", "1-0", "a", 9), None, None)
    again = named("b")
    copy.put(again)
    del copy.known["c"]
    for _ in messages.reloaded():
        pass
    # There is room for three again.
    copy.put(four := named("d"))
    makes.clear()
    for _ in range(2):
        for each in (one, again, four):
            messages.message(each, Namespace(), NOW)
    assert makes == ["a", "b", "d"]


def test_kept_messages_stay_within_their_limit_of_bytes(makes: list[str]) -> None:
    some = [named(f"c{number}") for number in range(4)]
    size = len(rollout_message(some[0], Namespace(), NOW).SerializeToString())
    messages = made(Copy(*some), max_bytes=2 * size)
    for _ in range(2):
        for each in some:
            assert messages.message(each, Namespace(), NOW) == rollout_message(each, Namespace(), NOW)
    assert makes == ["c0", "c1", "c2", "c3", "c2", "c3"]
