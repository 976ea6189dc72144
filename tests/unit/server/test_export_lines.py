"""The lines of an export that another program has written, or an editor has changed."""

from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rampd_server.backup import lines
from rampd_server.backup.lines import About, InputError, Writer
from rampd_server.ports import Override
from tests.rollouts import NOW, steady

EVENT = dict.fromkeys(("actor", "action", "note", "request_id"), "") | {"time": str(NOW), "claimed": "0"}


def written(*, time_ms: int = NOW, repo: str = "acme/app", entry: str = "", events: Sequence[str] = ()) -> bytes:
    done: list[bytes] = []
    writer = Writer(done.append, About("blue", "epoch", "1-1", time_ms))
    writer.component(replace(steady(), entry=entry), [(repo, Override(tag="A"))])
    writer.events("restyler", [(each, EVENT) for each in events])
    writer.end()
    return b"".join(done)


def test_what_is_right_is_read():
    [(rollout, overrides)] = lines.read(written()).components
    assert (rollout.component, dict(overrides)) == ("restyler", {"acme/app": Override(tag="A")})


@pytest.mark.parametrize("repo", ["acme app", "acme/app\n", "ä", "", "a" * 256])
def test_a_repo_that_no_call_could_name_is_refused(repo: str):
    with pytest.raises(InputError, match=r"overrides of restyler: .*1 to 255 printable ASCII characters"):
        lines.read(written(repo=repo))


@pytest.mark.parametrize("time_ms", [10**17, 10**20, -1])
def test_a_moment_that_is_none_is_refused(time_ms: int):
    with pytest.raises(InputError, match="is not what rampd wrote"):
        lines.read(written(time_ms=time_ms))


def test_a_history_whose_events_are_in_order_is_read():
    content = lines.read(written(entry="7-3", events=["7-1", "7-2", "7-3"]))
    assert [entry_id for entry_id, _ in content.events["restyler"]] == ["7-1", "7-2", "7-3"]


@pytest.mark.parametrize("events", [["7-2", "7-1"], ["7-1", "7-1"], ["8-1", "7-2"]])
def test_a_history_whose_events_are_not_in_order_is_refused(events: list[str]):
    with pytest.raises(InputError, match=r"history of restyler: .* is not later than the event before it"):
        lines.read(written(events=events))


@pytest.mark.parametrize(
    "where", [{"entry": "999999999999999999-1"}, {"entry": f"{1 << 53}-1"}, {"events": ["7-999999999999999999"]}]
)
def test_an_id_after_which_the_store_could_not_go_on_is_refused(where: dict[str, Any]):
    with pytest.raises(InputError, match="is later than any clock"):
        lines.read(written(**where))


def test_an_export_behind_the_mark_of_an_editor_is_an_export_that_was_changed():
    content = BOM_UTF8 + written()
    assert lines.is_export(content)
    with pytest.raises(InputError, match="was changed or damaged"):
        lines.read(content)
