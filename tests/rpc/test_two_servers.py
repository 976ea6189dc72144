"""Many writers over two servers: what they were answered is one history, and the state machine comes to the same."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from rampd import v1
from rampd_server.domain import commands
from rampd_server.domain.model import Absent, Rollout
from rampd_server.domain.moves import Context
from rampd_server.domain.transition import transition
from rampd_server.ports import Namespace
from rampd_server.rpc.convert import milliseconds, rollout_message
from tests.servers import Stubs

C = "restyler"
WRITERS, COMMANDS = 32, 10


@dataclass(frozen=True, slots=True)
class Answered:
    command: commands.Command
    changed: bool
    revision: int
    rollout: v1.Rollout


def draw(chance: random.Random, name: str) -> tuple[commands.Command, str, dict[str, Any]]:
    """A command, the method that stands for it, and its fields."""
    percent = chance.randrange(101)
    return chance.choice(
        [
            (commands.Ramp(percent * 100), "Ramp", {"percent": percent}),
            (commands.Rollback(), "Rollback", {}),
            (commands.Pause(), "Pause", {}),
            (commands.Resume(), "Resume", {}),
            (commands.Abandon(), "Abandon", {}),
            (commands.Finalize(force=True), "Finalize", {"force": True}),
            (commands.Release(name), "Release", {"tag": name}),
            (commands.Release(name, expedite=True), "Release", {"tag": name, "expedite": True}),
        ]
    )


def write(call: Stubs, seed: int) -> list[Answered]:
    """Commands one after the other; those that the state refuses are left out."""
    chance = random.Random(seed)
    answers = []
    for number in range(COMMANDS):
        command, method, fields = draw(chance, f"{seed}.{number}")
        try:
            answer = call(method, component=C, **fields)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION, error  # noqa: PT017 - and none gave up
        else:
            answers.append(Answered(command, answer.changed, answer.revision, answer.rollout))
    return answers


def test_of_32_writers_over_two_servers_none_gives_up_and_their_history_is_that_of_the_state_machine(
    call: Stubs, second: Stubs
) -> None:
    begun = call("Release", component=C, tag="first")
    with ThreadPoolExecutor(WRITERS) as pool:
        found = [
            answer
            for answers in pool.map(lambda n: write((call, second)[n % 2], n), range(WRITERS))
            for answer in answers
        ]
    changes = sorted((answer for answer in found if answer.changed), key=lambda answer: answer.revision)
    assert [answer.revision for answer in changes] == list(range(2, len(changes) + 2))
    assert len(changes) > WRITERS

    rollout: Rollout | Absent = Absent(C)
    told = {1: begun.rollout}
    for answer in [Answered(commands.Release("first"), True, 1, begun.rollout), *changes]:
        now_ms = milliseconds(answer.rollout.update_time)
        rollout = transition(rollout, answer.command, Context(now_ms)).after
        assert isinstance(rollout, Rollout)
        told[answer.revision] = rollout_message(rollout, Namespace(), now_ms)
        assert answer.rollout == told[answer.revision]
    for answer in found:
        assert answer.rollout == told[answer.revision]

    events = call("ListEvents", component=C, page_size=1000).events
    assert [event.revision for event in events] == list(range(len(changes) + 1, 0, -1))
