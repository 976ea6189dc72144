"""The lines of an export that another program has written, or an editor has changed."""

from codecs import BOM_UTF8

import pytest

from rampd_server.backup import lines
from rampd_server.backup.lines import About, InputError, Writer
from rampd_server.ports import Override
from tests.rollouts import NOW, steady


def written(*, time_ms: int = NOW, repo: str = "acme/app") -> bytes:
    done: list[bytes] = []
    writer = Writer(done.append, About("blue", "epoch", "1-1", time_ms))
    writer.component(steady(), [(repo, Override(tag="A"))])
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


def test_an_export_behind_the_mark_of_an_editor_is_an_export_that_was_changed():
    content = BOM_UTF8 + written()
    assert lines.is_export(content)
    with pytest.raises(InputError, match="was changed or damaged"):
        lines.read(content)
