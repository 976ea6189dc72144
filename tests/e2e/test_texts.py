"""What people write stands in sentences and logs as what it is: it forges no line and turns none around."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from rampd import v1
from rampd._contract.grammar import NOTE
from rampd._contract.wording import MISLEADING
from tests.servers import Stubs, metadata_of, rampd_server, stubs

C = "restyler"
FORGED = "2026-01-01 00:00:00 [info     ] change_committed verb=Finalize"
STORED = "".join(character for character in MISLEADING if NOTE.matches(f"a{character}b"))
TEXT = f"a{STORED}\r\n{FORGED}"
QUOTED = ("message", "held_reason", "end_reason")
"""Fields with sentences that quote; every other field has what somebody gave, as it was."""


def sentences(message: Message) -> Iterator[str]:
    """All that rampd says in an answer."""
    for field, value in message.ListFields():
        if field.name in QUOTED or field.full_name == "rampd.v1.HeldStatus.reason":
            yield value
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if isinstance(value, list) or hasattr(value, "add") else [value]:
                yield from sentences(each)


class Told:
    """Calls, and everything that was said in their answers and refusals."""

    def __init__(self, call: Stubs) -> None:
        self._call = call
        self.said: list[str] = []

    def __call__(self, method: str, **fields: object) -> None:
        try:
            answer = self._call(method, **fields)
            answers = [next(iter(answer))] if method == "WatchRelease" else [answer]
        except grpc.RpcError as error:
            answers = []
            self.said += [error.details(), *metadata_of(error).values()]
        self.said += [sentence for each in answers for sentence in sentences(each)]


def walk(told: Told) -> None:
    """Every field that takes a free text, in every verb, and every sentence that may quote it."""
    noted = {"component": C, "note": TEXT}
    told("Release", tag="t1", **noted, attributes={"why": TEXT})
    told("Release", tag="t2", **noted)
    told("Ramp", percent=50, **noted)
    told("Pause", **noted)
    told("Pause", **noted)
    told("WatchRelease", component=C, release=2)
    told("Resume", **noted)
    told("Rollback", tag="t2", **noted)
    told("Rollback", tag="t2", **noted)
    told("Confirm", component=C)
    told("Release", tag="t2", **noted)
    told("WatchRelease", component=C, release=2)
    told("Ramp", percent=50, **noted)
    for scope in ({"component": C}, {"all": True}):
        told("Freeze", **scope, note=TEXT)
        told("Ramp", percent=60, **noted)
        told("Finalize", **noted)
        told("Release", tag="t3", **noted)
        told("Unfreeze", **scope, note=TEXT)
    told("Quarantine", tag="x", **noted)
    told("Release", tag="x", **noted)
    told("Finalize", tag="t2", **noted)
    told("Release", tag="t4", **noted)
    told("CancelRelease", release=4, **noted)
    told("Abandon", tag="t3", quarantine=True, **noted)
    told("Revert", **noted)
    told("Revert", **noted)
    told("Revert", tag="t2", **noted)
    told("SetPolicy", **noted, policy=v1.Policy(checks=[v1.Check(name="c", query=f"up {TEXT}", max=1)]))
    told("SetOverride", repo="acme/app", tag="t1", **noted)
    told("DeleteOverride", repo="acme/app", **noted)
    told("BatchSetOverrides", overrides=[v1.OverrideChange(repo="acme/app", tag="t1")], **noted)
    # What no field takes is told, too.
    told("Release", component=C, tag=f"t{MISLEADING}")
    told("Release", component=C, tag="t9", attributes={f"k{MISLEADING}": f"v{MISLEADING}"})
    told("Ramp", component=C, note=f"n{MISLEADING}", percent=1)
    told("SetOverride", component=C, repo=f"r{MISLEADING}", tag="t1")
    for method in ("GetRollout", "ListReleases", "ListQuarantine", "ListEvents"):
        told(method, component=C)
    told("DeleteComponent", confirm=C, **noted)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_somebody_wrote_forges_no_line_of_a_log_and_turns_no_sentence_around(
    directory: Path, log_format: str
) -> None:
    assert {"\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\u061c"} < set(STORED)
    with rampd_server(directory, "--insecure-admin", "--log-format", log_format, "--log-level", "debug") as server:
        socket = f"unix:{server.socket}"
        with contextlib.ExitStack() as stack:
            call = stack.enter_context(stubs(socket))
            grpc.channel_ready_future(call.channel).result(30)
            told = Told(call)
            walk(told)
        assert server.stop() == 0

    quoting = [sentence for sentence in told.said if "u202e" in sentence]
    assert len(quoting) > 20
    misleading = set(MISLEADING)
    assert [sentence for sentence in told.said if set(sentence) & misleading] == []
    lines = [line for line in server.raw if "u202e" in line]
    assert len(lines) > 20
    for line in server.raw:
        assert not set(line) & misleading, line
        assert not line.startswith(FORGED)
    begin = re.compile(r"\{.*\}" if log_format == "json" else r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
    assert all(begin.match(line) for line in lines)
