"""Texts of other people never reach a terminal as they are: they can't move its cursor, turn its text, or be its markup."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from rampd import v1
from rampd._contract.wording import MISLEADING
from tests.cli.conftest import AtTerminal, Run
from tests.cli_document import commands
from tests.rpc.scripted_server import METHODS, ScriptedServer, scripted_server, status

EVIL = "\x1b[2J\x1b]0;owned\x07\rroot\u202egnp\x9b31m\tx\ny [red]z[/red] :smile: \u2028"
TAME = r"\u001b[2J\u001b]0;owned\u0007\rroot\u202egnp\u009b31m\tx\ny [red]z[/red] :smile: \u2028"


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def evil(running: ScriptedServer, settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedServer:
    """A server whose every text is hostile."""
    monkeypatch.setenv("RAMPD_SERVER", running.target)
    monkeypatch.setenv("VISUAL", "cp p.yaml")
    (tmp_path / "o.csv").write_text("repo,tag\nacme/app,1.0\n")
    (tmp_path / "p.yaml").write_text("policies: {restyler: {alpha: 0.2}}\n")
    running.answers.clear()
    running.answers.update({method.name: [hostile(method.output_type)] for method in METHODS.values()})
    rollout = hostile(v1.Rollout.DESCRIPTOR)
    rollout.previous.add(tag="0.1")
    preview = v1.Preview(repos_seen=2, repos_moved=1, moves=[v1.RepoMove(repo=EVIL, before=EVIL, after=EVIL)])
    override = v1.Override(repo=EVIL, tag=EVIL, actor=EVIL, note=EVIL)
    override.create_time.FromDatetime(datetime(2026, 11, 26, tzinfo=UTC))
    running.answers.update(
        {
            "WhoAmI": [v1.WhoAmIResponse(flags=["dry_run"])],
            "Ramp": [v1.RampResponse(message=EVIL, changed=True, rollout=rollout, preview=preview)],
            "Revert": [v1.RevertResponse(message=EVIL, changed=True, rollout=rollout, preview=preview)],
            "GetRollout": [v1.GetRolloutResponse(rollout=rollout)],
            "ListOverrides": [v1.ListOverridesResponse(overrides=[override])],
            "ListQuarantine": [v1.ListQuarantineResponse(tags=[v1.QuarantinedTag(tag=EVIL, actor=EVIL, note=EVIL)])],
            "Pause": [status(grpc.StatusCode.FAILED_PRECONDITION, "TAG_QUARANTINED", EVIL, tag=EVIL)],
        }
    )
    return running


def hostile(described: Any) -> Any:
    """A message that has everything, and whose every text is hostile."""
    message: Any = GetMessageClass(described)()
    if described.full_name.startswith("google.protobuf."):
        if described.name in _SECONDS:
            message.seconds = _SECONDS[described.name]
        return message
    for field in described.fields:
        # Another page would follow without end, and of a damaged component only the damage is shown.
        if field.name in {"next_page_token", "damage"}:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[EVIL] = EVIL
        elif field.is_repeated:
            getattr(message, field.name).extend([_value(field)])
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(_value(field))
        else:
            setattr(message, field.name, _value(field))
    return message


_SECONDS = {"Timestamp": 1_795_000_000, "Duration": 600}


def _value(field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return hostile(field.message_type)
    if field.enum_type is not None:
        return field.enum_type.values[min(2, len(field.enum_type.values) - 1)].number
    return {"string": EVIL, "bool": True, "bytes": EVIL.encode()}.get(_TYPES.get(field.type, ""), 1)


_TYPES = {FieldDescriptor.TYPE_STRING: "string", FieldDescriptor.TYPE_BOOL: "bool", FieldDescriptor.TYPE_BYTES: "bytes"}


COMMANDS = [
    ["status"],
    ["status", "restyler"],
    ["history"],
    ["history", "restyler"],
    ["explain", "restyler", "acme/app"],
    ["plan", "restyler", "--jobs-per-hour", "10"],
    ["wait", "restyler", "--until", "held", "--timeout", "1s"],
    ["doctor"],
    ["release", "restyler", "1.0"],
    ["release", "restyler", "1.0", "--wait", "--timeout", "1s"],
    ["ramp", "restyler", "10"],
    ["ramp", "restyler", "10", "--dry-run"],
    ["confirm", "restyler"],
    ["pause", "restyler"],
    ["resume", "restyler"],
    ["finalize", "restyler"],
    ["rollback", "restyler"],
    ["revert", "restyler"],
    ["revert", "restyler", "--to", "0.1"],
    ["abandon", "restyler"],
    ["freeze", "restyler"],
    ["unfreeze", "restyler"],
    ["delete", "restyler"],
    ["quarantine", "add", "restyler", "1.0"],
    ["quarantine", "list", "restyler"],
    ["quarantine", "remove", "restyler", "1.0"],
    ["override", "set", "restyler", "acme/app", "--tag", "1.0"],
    ["override", "remove", "restyler", "acme/app"],
    ["override", "list", "restyler"],
    ["override", "import", "restyler", "o.csv", "--dry-run"],
    ["override", "import", "restyler", "o.csv", "--replace"],
    ["override", "export", "restyler", "--format", "jsonl"],
    ["policy", "show"],
    ["policy", "show", "restyler"],
    ["policy", "diff", "p.yaml", "--prune"],
    ["policy", "apply", "p.yaml", "--prune"],
    ["policy", "edit", "restyler"],
    ["queue", "list", "restyler"],
    ["queue", "cancel", "restyler", "1"],
]
"""What asks a server, and ends by itself."""

SILENT = (["delete", "restyler"], ["override", "import"])
"""Without a terminal, these say nothing that the server has said."""


def test_every_command_that_asks_a_server_is_tried() -> None:
    asking = {name for name, _ in commands() if not name.startswith(("rampd config", "rampd completion"))}
    tried = {" ".join(["rampd", *words]) for words in COMMANDS}

    assert {name for name in asking if not any(each.startswith(name) for each in tried)} == {"rampd policy schema"}


WORDS = [
    ["ramp", "restyler", "10"],
    ["ramp", "restyler", "10", "--dry-run"],
    ["override", "list", "restyler"],
    ["quarantine", "list", "restyler"],
    ["queue", "list", "restyler"],
    ["pause", "restyler"],
]


def harmful(text: str, *, but: str) -> set[str]:
    return {character for character in text if character in MISLEADING} - set(but)


@pytest.mark.parametrize("words", [each for each in COMMANDS if each[:2] not in SILENT], ids=" ".join)
@pytest.mark.parametrize(("output", "but"), [("plain", "\n\t"), ("json", "\n"), ("yaml", "\n")])
def test_a_pipe_gets_escapes(run: Run, evil: ScriptedServer, words: list[str], output: str, but: str) -> None:
    ran = run(*words, "-o", output)

    assert harmful(ran.out + ran.err, but=but) == set()
    assert "gnp" in ran.out + ran.err


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_row_stays_a_row(run: Run, evil: ScriptedServer, words: list[str]) -> None:
    ran = run(*words)

    assert len(ran.rows) == (0 if words[0] == "pause" else 1)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_terminal_gets_escapes(
    at_terminal: AtTerminal, evil: ScriptedServer, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # so that no style hides an escape

    screen = at_terminal(*words, typed="restyler\n" if words[0] == "delete" else "y\n")

    assert harmful(screen.raw, but="\n") == set()
    assert "gnp" in screen.raw


def test_a_terminal_shows_what_was_written(at_terminal: AtTerminal, evil: ScriptedServer) -> None:
    screen = at_terminal("ramp", "restyler", "10")

    assert " ".join(screen.text.splitlines()).startswith(TAME)


def test_a_program_reads_what_was_written(run: Run, evil: ScriptedServer) -> None:
    import yaml

    assert run("ramp", "restyler", "10", "-o", "json").json["message"] == EVIL
    assert yaml.safe_load(run("ramp", "restyler", "10", "-o", "yaml").out)["message"] == EVIL
