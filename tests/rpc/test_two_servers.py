"""Many writers over two servers: their answers form one history, and the state machine gives the same states."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from rampd import v1
from rampd_server import testing
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Namespace
from rampd_server.rpc.messages.convert import milliseconds, rollout_message
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer

C = "restyler"
WRITERS, COMMANDS = 32, 10


@dataclass(frozen=True, slots=True)
class Answered:
    command: commands.Command
    changed: bool
    revision: int
    rollout: v1.Rollout


def draw(chance: random.Random, name: str) -> tuple[commands.Command, str, dict[str, Any]]:
    """Returns a random command, its method, and the fields of its request."""
    percent = chance.randrange(101)
    return chance.choice(
        [
            (commands.Ramp(percent * 100), "Ramp", {"percent": percent}),
            (commands.Rollback(), "Rollback", {}),
            (commands.Revert(), "Revert", {}),
            (commands.Pause(), "Pause", {}),
            (commands.Resume(), "Resume", {}),
            (commands.Abandon(), "Abandon", {}),
            (commands.Finalize(force=True), "Finalize", {"force": True}),
            (commands.Release(name), "Release", {"tag": name}),
            (commands.Release(name, expedite=True), "Release", {"tag": name, "expedite": True}),
        ]
    )


def write(call: Stubs, seed: int) -> list[Answered]:
    """Makes random commands one after the other. Returns the answers, without the refused commands."""
    chance = random.Random(seed)
    answers = []
    for number in range(COMMANDS):
        command, method, fields = draw(chance, f"{seed}.{number}")
        try:
            answer = call(method, component=C, **fields)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION, error  # noqa: PT017 - no writer gave up
        else:
            answers.append(Answered(command, answer.changed, answer.revision, answer.rollout))
    return answers


def test_32_writers_over_two_servers_all_finish_and_their_history_is_that_of_the_state_machine(
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
    expected = {1: begun.rollout}
    for answer in [Answered(commands.Release("first"), True, 1, begun.rollout), *changes]:
        now_ms = milliseconds(answer.rollout.update_time)
        rollout = transition(rollout, answer.command, Context(now_ms)).after
        assert isinstance(rollout, Rollout)
        expected[answer.revision] = rollout_message(rollout, Namespace(), now_ms)
        assert answer.rollout == expected[answer.revision]
    for answer in found:
        assert answer.rollout == expected[answer.revision]

    events = call("ListEvents", component=C, page_size=1000).events
    assert [event.revision for event in events] == list(range(len(changes) + 1, 0, -1))


def test_two_reverts_at_once_on_two_servers_go_back_once(call: Stubs, second: Stubs) -> None:
    for tag in ("t1", "t2", "t3", "t4"):
        call("Release", component=C, tag=tag, expedite=True)
    with ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(lambda n: (call, second)[n % 2]("Revert", component=C), range(WRITERS)))
    assert sum(answer.changed for answer in answers) == 1
    assert {answer.rollout.current.tag for answer in answers} == {"t3"}
    assert [mark.tag for mark in call("ListQuarantine", component=C).tags] == ["t4"]
    [late] = {answer.message.partition(" ago")[0].rpartition(" to t3")[0] for answer in answers if not answer.changed}
    assert late == "Nothing changed. anonymous reverted restyler from t4"


def test_a_server_that_starts_later_knows_that_current_came_from_a_revert(
    call: Stubs, store_process: StoreServer, namespace: str
) -> None:
    for tag in ("t1", "t2", "t3"):
        call("Release", component=C, tag=tag, expedite=True)
    call("Revert", component=C, note="corrupts files")
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as running,
        stubs(running) as later,
    ):
        again = later("Revert", component=C)
        assert (again.changed, again.rollout.current.tag) == (False, "t2")
        assert "corrupts files. Everybody gets t2. Revert with `tag` t1 goes further back." in again.message
        assert later("Revert", component=C, tag="t1").rollout.current.tag == "t1"
