"""Texts of other people never reach a terminal as they are: they can't move its cursor, turn its text, or be its markup."""

from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import pytest

from rampd import v1
from rampd._contract.wording import MISLEADING
from tests.cli.conftest import AtTerminal, Run
from tests.rpc.scripted_server import ScriptedServer, scripted_server, status

EVIL = "\x1b[2J\x1b]0;owned\x07\rroot\u202egnp\x9b31m\tx\ny [red]z[/red] :smile: \u2028"
TAME = r"\u001b[2J\u001b]0;owned\u0007\rroot\u202egnp\u009b31m\tx\ny [red]z[/red] :smile: \u2028"


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def evil(running: ScriptedServer, settings: None, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """A server whose every text is hostile."""
    monkeypatch.setenv("RAMPD_SERVER", running.target)
    running.answers.clear()
    rollout = v1.Rollout(
        component=EVIL,
        current=v1.Release(tag=EVIL),
        next=v1.Release(tag=EVIL),
        next_percent=10,
        queue=[v1.Release(number=3, tag=EVIL, actor=EVIL, note=EVIL)],
        previous=[v1.Release(tag=f"{EVIL}2"), v1.Release(tag="0.1")],
    )
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


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
@pytest.mark.parametrize(("output", "but"), [("plain", "\n\t"), ("json", "\n"), ("yaml", "\n")])
def test_a_pipe_gets_escapes(run: Run, evil: ScriptedServer, words: list[str], output: str, but: str) -> None:
    ran = run(*words, "-o", output)

    assert harmful(ran.out + ran.err, but=but) == set()
    assert "gnp" in ran.out + ran.err


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_row_stays_a_row(run: Run, evil: ScriptedServer, words: list[str]) -> None:
    ran = run(*words)

    assert len(ran.rows) == (0 if words[0] == "pause" else 1)


@pytest.mark.parametrize("words", [*WORDS, ["revert", "restyler", "--to", "0.1"]], ids=" ".join)
def test_a_terminal_gets_escapes(
    at_terminal: AtTerminal, evil: ScriptedServer, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")  # so that no style hides an escape

    screen = at_terminal(*words, typed="y\n" if words[0] == "revert" else "")

    assert harmful(screen.raw, but="\n") == set()
    assert "gnp" in screen.raw


def test_a_terminal_shows_what_was_written(at_terminal: AtTerminal, evil: ScriptedServer) -> None:
    screen = at_terminal("ramp", "restyler", "10")

    assert " ".join(screen.text.splitlines()).startswith(TAME)


def test_a_program_reads_what_was_written(run: Run, evil: ScriptedServer) -> None:
    import yaml

    assert run("ramp", "restyler", "10", "-o", "json").json["message"] == EVIL
    assert yaml.safe_load(run("ramp", "restyler", "10", "-o", "yaml").out)["message"] == EVIL
