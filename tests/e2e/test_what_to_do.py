"""Types each command of the table "What to do when" of docs/operations.md, in the situation that its row names."""

import re
import subprocess
from collections.abc import Iterator

import grpc
import pytest

from rampd import v1
from tests.e2e.test_operations_document import DOCUMENT, Admin
from tests.e2e.test_runbook import C, Host, prepare, typing_at
from tests.servers import Stubs, require, short_directory
from tests.waiting import eventually

TABLE = DOCUMENT.partition("| what happens | what to type | more |")[2].partition("\n\n")[0]
SITUATIONS = dict(re.findall(r"^\| ([^|]+) \| `([^`]+)` \|", TABLE, re.MULTILINE))
EXPORT = next(command for command in SITUATIONS.values() if " export " in command).replace(
    "before.jsonl", "rampd.jsonl"
)


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[Host, Stubs]]:
    with short_directory() as folder, typing_at(Admin(folder)) as found:
        yield found


def begin(at: Host, call: Stubs, command: str) -> None:
    """Makes the situation."""
    call("Unfreeze", all=True)
    prepare(call, "", command)
    if command.startswith("rampd revert "):
        call("Finalize", component=C, force=True)
    elif command.startswith("rampd unfreeze "):
        call("Freeze", all=True)
    elif " revoke " in command:
        at.types("rampd-server token create grace --role operator --access-file /etc/rampd/access.toml")
    elif " import --merge " in command:
        at.types(EXPORT)
        call("Ramp", component=C, percent=20)
    elif " import " in command or " adopt " in command:
        at.types(EXPORT)
        subprocess.run([require("redis-cli"), "-s", at.store.url.removeprefix("unix://"), "FLUSHALL"], check=True)


def test_the_table_has_a_command_in_each_row() -> None:
    assert len(SITUATIONS) == len(TABLE.strip().splitlines()) - 1 > 15


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_command_works_in_its_situation(situation: str, host: tuple[Host, Stubs]) -> None:
    at, call = host
    command = SITUATIONS[situation]
    begin(at, call, command)
    said = at.types(command)

    def rollout() -> v1.Rollout:
        found: v1.Rollout = call("GetRollout", component=C).rollout
        return found

    if command.startswith("rampd rollback "):
        assert rollout().next_percent == 0
    elif command.startswith("rampd revert "):
        assert rollout().current.tag == "t1"
    elif "freeze --all" in command:
        assert bool(rollout().frozen) is command.startswith("rampd freeze ")
    elif " import --merge " in command:
        assert "next_percent: 20 -> 10" in said
        assert rollout().next_percent == 20
    elif " import " in command:
        eventually(lambda: rollout().next_percent == 10, suppressed=grpc.RpcError)
    elif " adopt " in command:
        eventually(lambda: not call("ListRollouts").rollouts, suppressed=grpc.RpcError)
    elif command.startswith("rampd explain "):
        assert "(10 % of 10,000): " in said
