"""Texts from callers appear safely in sentences and logs: they forge no line, and they do not reverse the text around them."""

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
from tests.waiting import eventually

C = "restyler"
FORGED = "2026-01-01 00:00:00 [info     ] change_committed verb=Finalize"
STORED = "".join(character for character in MISLEADING if NOTE.matches(f"a{character}b"))
TEXT = f"a{STORED}\r\n{FORGED}"
QUOTED = ("message", "held_reason", "end_reason")
"""Fields with sentences that quote texts. Every other field holds a caller's text unchanged."""


def sentences(message: Message) -> Iterator[str]:
    """Yields all sentences of rampd in an answer."""
    for field, value in message.ListFields():
        if field.name in QUOTED or field.full_name == "rampd.v1.HeldStatus.reason":
            yield value
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if isinstance(value, list) or hasattr(value, "add") else [value]:
                yield from sentences(each)


class RecordedCalls:
    """Makes calls, and keeps the sentences of their answers and refusals."""

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


def walk(calls: RecordedCalls) -> None:
    """Gives a free text to every field of every verb that takes one, and asks for every sentence that may quote it."""
    noted = {"component": C, "note": TEXT}
    calls("Release", tag="t1", **noted, attributes={"why": TEXT})
    calls("Release", tag="t2", **noted)
    calls("Ramp", percent=50, **noted)
    calls("Pause", **noted)
    calls("Pause", **noted)
    calls("WatchRelease", component=C, release=2)
    calls("Resume", **noted)
    calls("Rollback", tag="t2", **noted)
    calls("Rollback", tag="t2", **noted)
    calls("Confirm", component=C)
    calls("Release", tag="t2", **noted)
    calls("WatchRelease", component=C, release=2)
    calls("Ramp", percent=50, **noted)
    for scope in ({"component": C}, {"all": True}):
        calls("Freeze", **scope, note=TEXT)
        calls("Ramp", percent=60, **noted)
        calls("Finalize", **noted)
        calls("Release", tag="t3", **noted)
        calls("Unfreeze", **scope, note=TEXT)
    calls("Quarantine", tag="x", **noted)
    calls("Release", tag="x", **noted)
    calls("Finalize", tag="t2", **noted)
    calls("Release", tag="t4", **noted)
    calls("CancelRelease", release=4, **noted)
    calls("Abandon", tag="t3", quarantine=True, **noted)
    calls("Revert", **noted)
    calls("Revert", **noted)
    calls("Revert", tag="t2", **noted)
    calls("SetPolicy", **noted, policy=v1.Policy(checks=[v1.Check(name="c", query=f"up {TEXT}", max=1)]))
    calls("SetOverride", repo="acme/app", tag="t1", **noted)
    calls("DeleteOverride", repo="acme/app", **noted)
    calls("BatchSetOverrides", overrides=[v1.OverrideChange(repo="acme/app", tag="t1")], **noted)
    # A refusal quotes the text that a field does not accept.
    calls("Release", component=C, tag=f"t{MISLEADING}")
    calls("Release", component=C, tag="t9", attributes={f"k{MISLEADING}": f"v{MISLEADING}"})
    calls("Ramp", component=C, note=f"n{MISLEADING}", percent=1)
    calls("SetOverride", component=C, repo=f"r{MISLEADING}", tag="t1")
    for method in ("GetRollout", "ListReleases", "ListQuarantine", "ListEvents"):
        calls(method, component=C)
    calls("DeleteComponent", confirm=C, **noted)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_text_from_a_caller_forges_no_log_line_and_reverses_no_sentence(directory: Path, log_format: str) -> None:
    assert {"\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\u061c"} < set(STORED)
    with rampd_server(directory, "--insecure-admin", "--log-format", log_format, "--log-level", "debug") as server:
        socket = f"unix:{server.socket}"
        with contextlib.ExitStack() as stack:
            call = stack.enter_context(stubs(socket))
            eventually(lambda: call("ListRollouts"), suppressed=grpc.RpcError)
            calls = RecordedCalls(call)
            walk(calls)
        assert server.stop() == 0

    quoting = [sentence for sentence in calls.said if "u202e" in sentence]
    assert len(quoting) > 20
    misleading = set(MISLEADING)
    assert [sentence for sentence in calls.said if set(sentence) & misleading] == []
    lines = [line for line in server.raw if "u202e" in line]
    assert len(lines) > 20
    for line in server.raw:
        assert not set(line) & misleading, line
        assert not line.startswith(FORGED)
    begin = re.compile(r"\{.*\}" if log_format == "json" else r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
    assert all(begin.match(line) for line in lines)
