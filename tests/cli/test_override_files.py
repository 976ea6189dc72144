"""`rampd override export` and `rampd override import`."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rampd import Resolver, v1
from rampd.errors import InvalidArgumentError, UnavailableError
from rampd.testing import RampdServer
from rampd_cli.commands import override_export, override_import
from rampd_cli.override_files import sending
from rampd_cli.override_files.rows import CSV, JSON_LINES, UnreadableError, read_rows
from tests.cli.conftest import AtTerminal, Run, piped
from tests.cli.terminal import CURSOR, on_terminal, program_on_terminal
from tests.rpc.scripted_server import scripted_server
from tests.waiting import eventually

LATER = datetime(2126, 12, 1, 9, 30, 0, 250_000, tzinfo=UTC)
HEADER = "repo,channel,tag,expire_time,delete\n"


@pytest.fixture
def admin(rampd: Run, rampd_server: RampdServer) -> Any:
    rampd("release", "restyler", "1.0")
    return rampd_server.admin()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(text: str, name: str = "o.csv") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write


def overrides(admin: Any) -> list[tuple[str, int, str]]:
    return [(each.repo, each.channel, each.tag) for each in admin.list_overrides("restyler")]


@pytest.mark.parametrize("name", ["all.csv", "all.jsonl"])
def test_what_was_exported_can_be_imported_to_the_same_state(rampd: Run, admin: Any, name: str, tmp_path: Path) -> None:
    admin.set_override("restyler", "acme/*", tag="@1.4.2")
    admin.set_override("restyler", '=cmd|"/c",b', channel="NEXT", expire_time=LATER)
    admin.set_override("restyler", "acme/app", channel="CURRENT")
    before = [each.SerializeToString() for each in stripped(admin)]

    exported = rampd("override", "export", "restyler", name)
    assert (exported.code, exported.out) == (0, "")
    assert "2 of these rows for formulas" in exported.err

    same = rampd("override", "import", "restyler", name)
    assert same.rows == [["restyler", "0", "0", "3", "0", "0", "4"]]
    for each in list(admin.list_overrides("restyler")):
        admin.delete_override("restyler", each.repo)
    again = rampd("override", "import", "restyler", name)

    assert again.rows == [["restyler", "3", "0", "0", "0", "0", "8"]]
    assert [each.SerializeToString() for each in stripped(admin)] == before
    first = (tmp_path / name).read_text()
    rampd("override", "export", "restyler", name)
    assert (tmp_path / name).read_text() == first


def stripped(admin: Any) -> list[v1.Override]:
    """The overrides, without who set them and when."""
    return [
        v1.Override(
            repo=each.repo,
            channel=each.channel,
            tag=each.tag,
            expire_time=each.expire_time if each.HasField("expire_time") else None,
        )
        for each in admin.list_overrides("restyler")
    ]


def test_without_a_file_the_export_is_on_stdout(rampd: Run, admin: Any) -> None:
    admin.set_override("restyler", "acme/app", channel="NEXT", expire_time=LATER)

    assert rampd("override", "export", "restyler").out == HEADER + "acme/app,next,,2126-12-01T09:30:00.250Z,\n"
    assert json.loads(rampd("override", "export", "restyler", "--format", "jsonl").out) == {
        "repo": "acme/app",
        "channel": "CHANNEL_NEXT",
        "expireTime": "2126-12-01T09:30:00.250Z",
    }


def test_the_export_is_json_lines_for_a_program_unless_the_name_says_csv(
    rampd: Run, admin: Any, tmp_path: Path
) -> None:
    admin.set_override("restyler", "acme/app", channel="NEXT")
    line = '{"repo": "acme/app", "channel": "CHANNEL_NEXT"}\n'

    for words, written in (
        ((), line),
        (("--format", "csv"), HEADER + "acme/app,next,,,\n"),
        (("o.txt",), line),
        (("o.csv",), HEADER + "acme/app,next,,,\n"),
    ):
        ran = rampd("override", "export", "restyler", *words, "-o", "json")
        assert (ran.code, ran.out or (tmp_path / words[0]).read_text()) == (0, written)


def test_a_full_disk_has_one_code_for_an_export_and_a_wrong_path_another(rampd: Run, admin: Any) -> None:
    admin.set_override("restyler", "acme/app", channel="NEXT")
    full = rampd("override", "export", "restyler", "/dev/full", "-o", "json")
    wrong = rampd("override", "export", "restyler", "none/o.csv")

    assert (full.code, json.loads(full.err)["reason"]) == (74, "NOT_WRITTEN")
    assert "/dev/full can't be written: No space left on device." in full.err
    assert wrong.code == 2


def test_overrides_are_not_written_as_yaml(rampd: Run, admin: Any) -> None:
    ran = rampd("override", "export", "restyler", "-o", "yaml")

    assert (ran.code, ran.out, "--format csv, or --format jsonl" in ran.err) == (2, "", True)
    assert rampd("override", "export", "restyler", "--format", "csv", "-o", "yaml").code == 0


def test_a_thousand_and_more_rows_are_set_in_batches(rampd: Run, admin: Any, file: Any) -> None:
    rows = "".join(f"acme/{number:05},next,,,\n" for number in range(2_500))

    ran = rampd("override", "import", "restyler", file(HEADER + rows), "--note", "move")

    assert ran.rows == [["restyler", "2500", "0", "0", "0", "0", "4"]]
    assert ran.err.splitlines() == [
        "Imported overrides: 1,000 of 2,500",
        "Imported overrides: 2,000 of 2,500",
        "Imported overrides: 2,500 of 2,500",
    ]
    assert [(event.count, event.note) for event in admin.list_events("restyler")][:3] == [
        (500, "move"),
        (1000, "move"),
        (1000, "move"),
    ]


def test_an_import_that_was_interrupted_goes_on_where_it_was(
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a server that goes away after the first batch, expect that the second run sends the rest only."""
    name = file(HEADER + "".join(f"acme/{number:05},next,,,\n" for number in range(1_500)))
    sent = []

    def only_one(session: Any, wanted: Any, rows: Any, *args: Any, **more: Any) -> None:
        if sent:
            raise UnavailableError("The server has gone.")
        sent.append(len(rows))
        real(session, wanted, rows, *args, **more)

    real = sending._batch
    with monkeypatch.context() as patch:
        patch.setattr(sending, "_batch", only_one)
        broken = rampd("override", "import", "restyler", name)
    assert broken.code == 3
    assert "Of 1,500 changes, at least 1,000 are made. Type the command again" in broken.err

    again = rampd("override", "import", "restyler", name)

    assert again.rows == [["restyler", "500", "0", "1000", "0", "0", "3"]]


def test_rows_delete_set_and_expire(rampd: Run, admin: Any, file: Any) -> None:
    admin.set_override("restyler", "acme/old", channel="NEXT")
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    rows = f"acme/old,,,,true\nacme/none,,,,TRUE\nacme/past,next,,{past},\nacme/app,CHANNEL_CURRENT,,,false\n"

    ran = rampd("override", "import", "restyler", file(HEADER + rows))

    assert ran.rows == [["restyler", "1", "1", "1", "1", "0", "3"]]
    assert overrides(admin) == [("acme/app", v1.CHANNEL_CURRENT, "")]


def test_one_wrong_row_refuses_the_file_unless_it_may_be_left_out(rampd: Run, admin: Any, file: Any) -> None:
    name = file(HEADER + "acme/app,next,,,\nacme/b,both,,,\nacme/app,current,,,\nacme/x*,next,,,\nacme/c,next,1.0,,\n")

    refused = rampd("override", "import", "restyler", name)
    assert refused.code == 2
    assert [line.partition(" ")[0] for line in refused.err.splitlines()] == [
        "o.csv:3:",
        "o.csv:4:",
        "o.csv:5:",
        "o.csv:6:",
        "rampd:",
    ]
    assert overrides(admin) == []

    skipped = rampd("override", "import", "restyler", name, "--skip-invalid")
    assert (skipped.code, skipped.rows) == (0, [["restyler", "1", "0", "0", "0", "4", "2"]])
    assert overrides(admin) == [("acme/app", v1.CHANNEL_NEXT, "")]


def test_a_dry_run_changes_nothing(rampd: Run, admin: Any, file: Any) -> None:
    ran = rampd("override", "import", "restyler", file(HEADER + "acme/app,next,,,\n"), "--dry-run", "-o", "json")

    assert (ran.json["set"], ran.json["dryRun"], ran.json["revision"]) == (1, True, "2")
    assert [name for name in ran.json if "_" in name] == []
    assert overrides(admin) == []
    assert admin.get_rollout("restyler").revision == 1


@pytest.mark.parametrize("options", [[], ["--replace"]], ids=["", "replace"])
@pytest.mark.parametrize("rows", [1_500, 0])
def test_an_import_begins_only_at_the_revision_that_is_expected(
    rampd: Run, admin: Any, file: Any, rows: int, options: list[str]
) -> None:
    """Given an import in two batches, or one that has nothing to change, expect that only its beginning is compared."""
    name = file(HEADER + "".join(f"acme/{number:05},next,,,\n" for number in range(rows)))

    refused = rampd("override", "import", "restyler", name, *options, "--expect-revision", "7")
    assert (refused.code, "restyler is at revision 1, not 7" in refused.err, overrides(admin)) == (1, True, [])
    assert "at least" not in refused.err

    assert rampd("override", "import", "restyler", name, *options, "--expect-revision", "1").code == 0
    assert len(overrides(admin)) == rows


def test_replace_deletes_what_the_file_does_not_have_but_not_without_a_yes(rampd: Run, admin: Any, file: Any) -> None:
    admin.set_override("restyler", "acme/old", channel="NEXT")
    name = file('{"repo": "acme/app", "tag": "1.0"}\n', "o.jsonl")

    asked = rampd("override", "import", "restyler", name, "--replace")
    assert (asked.code, "--yes" in asked.err, overrides(admin)) == (2, True, [("acme/old", v1.CHANNEL_NEXT, "")])

    assert rampd("override", "import", "restyler", name, "--replace", "--yes").code == 0
    assert overrides(admin) == [("acme/app", 0, "1.0")]


def test_replace_deletes_what_has_expired_in_the_file(rampd: Run, admin: Any, file: Any) -> None:
    for repo in ("acme/app", "acme/past"):
        admin.set_override("restyler", repo, channel="NEXT")
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    name = file(f"{HEADER}acme/app,next,,,\nacme/past,next,,{past},\nacme/none,next,,{past},\n")

    asked = rampd("override", "import", "restyler", name, "--replace")
    ran = rampd("override", "import", "restyler", name, "--replace", "--yes")

    assert (asked.code, f"acme/past is not in {name}, or has expired there." in asked.err) == (2, True)
    assert ran.rows[0][:5] == ["restyler", "0", "1", "1", "2"]
    assert overrides(admin) == [("acme/app", v1.CHANNEL_NEXT, "")]


@pytest.mark.parametrize(
    ("text", "form", "line", "problem"),
    [
        ("repo,tag\na/b\n", CSV, 2, "has 1 value, and the header has 2"),
        ('repo,tag\n"a\nb",1\n', CSV, 2, "repo must be"),
        ("repo,tag\na/b,\n", CSV, 2, "channel is required"),
        ("repo,tag,expire_time\na/b,1,tomorrow\n", CSV, 2, "expire_time must be a time with a zone"),
        ("repo,tag,expire_time\na/b,1,2126-01-01T00:00:00\n", CSV, 2, "expire_time must be a time with a zone"),
        ("repo,tag,expire_time\na/b,1,0001-01-01T00:00:00+14:00\n", CSV, 2, "expire_time must be a time with a zone"),
        ("repo,delete,tag\na/b,true,1\n", CSV, 2, "must be absent if"),
        ("repo,delete\na/b,maybe\n", CSV, 2, "delete must be true or false"),
        ('\n{"repo": "a/b", "tag": 1}', JSON_LINES, 2, "tag must be a text"),
        ('{"repo": "a/b", "tags": "1"}', JSON_LINES, 1, "has no field 'tags'"),
        ('{"repo": "a/b", ', JSON_LINES, 1, "is not JSON"),
        ("[" * 100_000, JSON_LINES, 1, "is not JSON"),
        ('["a/b"]', JSON_LINES, 1, "is not a change"),
        ('{"repo": "a/b", "tag": "1", "repo": "c/d"}', JSON_LINES, 1, "has repo twice"),
        (
            '{"repo": "a/b", "tag": "1", "expireTime": "2126-01-01T00:00:00Z", "expire_time": null}',
            JSON_LINES,
            1,
            "has expire_time twice",
        ),
        *(
            (f'{{"repo": "a/b", "tag": "1", "delete": {wrong}}}', JSON_LINES, 1, "delete must be true or false")
            for wrong in ("[]", "{}", "0", '""', '"true"', "1")
        ),
    ],
)
def test_a_wrong_row_is_named_by_its_line(text: str, form: str, line: int, problem: str) -> None:
    rows, [refused] = read_rows(text.encode(), form)

    assert (rows, refused.line) == ([], line)
    assert problem in refused.text


UNREADABLE = [
    (b"", 1, "The file is empty. Its first line must be the header"),
    (b"repository,tag\na,b\n", 1, "The first line must be the header"),
    (b"repo,repo\na,b\n", 1, "The first line must be the header"),
    (b'repo,tag\nc/d,1\n"a/b,1\n', 3, "The text is not CSV"),
    (b"repo,tag\na/b,1\n\xff,1\n", 3, "The text is not UTF-8"),
]


@pytest.mark.parametrize(("content", "line", "problem"), UNREADABLE)
def test_a_file_whose_rows_are_unknown_is_wrong_as_a_whole(content: bytes, line: int, problem: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        read_rows(content, CSV)

    assert raised.value.line == line
    assert raised.value.text.startswith(problem)


@pytest.mark.parametrize("options", [[], ["--skip-invalid"], ["--replace", "--skip-invalid", "--yes"]])
def test_a_file_that_can_not_be_read_changes_nothing_whatever_may_be_left_out(
    rampd: Run, admin: Any, tmp_path: Path, options: list[str]
) -> None:
    admin.set_override("restyler", "acme/old", channel="NEXT")
    for content, line, problem in UNREADABLE:
        (tmp_path / "o.csv").write_bytes(content)

        ran = rampd("override", "import", "restyler", "o.csv", *options)

        assert (ran.code, ran.out, ran.err.startswith(f"rampd: o.csv:{line}: {problem}")) == (2, "", True)
        assert ran.err.endswith(" Nothing was imported.\n")
    assert overrides(admin) == [("acme/old", v1.CHANNEL_NEXT, "")]


@pytest.mark.parametrize("options", [["--replace", "--yes"], ["--replace", "--yes", "--skip-invalid"]])
@pytest.mark.parametrize("output", ["plain", "json"])
def test_replace_deletes_nothing_because_a_row_is_wrong(
    rampd: Run, admin: Any, file: Any, options: list[str], output: str
) -> None:
    """Given a row whose tag is wrong, expect that the override of its repo is not among those that the file does not have."""
    admin.set_override("restyler", "acme/b", channel="NEXT")
    name = file(f"{HEADER}acme/app,next,,,\nacme/b,both,,,\n")

    ran = rampd("override", "import", "restyler", name, *options, "-o", output)

    assert (ran.code, ran.out, "o.csv:3: channel must be" in ran.err) == (2, "", True)
    assert "1 of 2 rows is wrong, and nothing was imported." in ran.err
    assert "skip-invalid" not in ran.err
    assert overrides(admin) == [("acme/b", v1.CHANNEL_NEXT, "")]


def test_a_file_without_a_right_row_is_refused_also_if_rows_may_be_left_out(rampd: Run, admin: Any, file: Any) -> None:
    """Given CSV that is read as JSON lines, expect an error, and not an import of nothing."""
    name = file(f"{HEADER}acme/app,next,,,\n")

    ran = rampd("override", "import", "restyler", name, "--skip-invalid", "--format", "jsonl")

    assert (ran.code, ran.err.splitlines()[-1]) == (
        2,
        "rampd: 2 of 2 rows are wrong, and nothing was imported. No row is right. Correct the file.",
    )


def test_the_answer_to_a_person_counts_in_words_that_agree(rampd: Run, admin: Any, file: Any) -> None:
    admin.set_override("restyler", "acme/old", channel="NEXT")
    name = file(f"{HEADER}acme/app,next,,,\nacme/old,,,,true\nacme/b,both,,,\n")

    ran = rampd("override", "import", "restyler", name, "--skip-invalid", "-o", "table")

    assert ran.out == "Set 1 and deleted 1 override of restyler; 0 as before, 1 row is wrong and left out.\n"


def test_ctrl_c_says_how_far_the_import_came(
    cli: Run, component: str, shared_server: RampdServer, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_server.admin().release(component, "1.0")
    real, sent = sending._batch, []

    def pressed(*args: Any, **more: Any) -> None:
        if sent:
            raise KeyboardInterrupt
        sent.append(real(*args, **more))

    monkeypatch.setattr(sending, "_batch", pressed)
    ran = cli("override", "import", component, file(HEADER + "".join(f"a/{n},next,,,\n" for n in range(1_001))))

    assert ran.code == 130
    assert "Of 1,001 changes, at least 1,000 are made. Type the command again: it goes on there." in ran.err


def test_ctrl_c_before_the_first_row_is_sent_says_that_nothing_was_changed(
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(override_import, "compare", pressed)

    ran = rampd("override", "import", "restyler", file(f"{HEADER}a/b,next,,,\n"))

    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "Nothing was changed.")


def test_a_terminal_that_can_not_be_drawn_on_gets_a_line_now_and_then(
    person: AtTerminal, component: str, shared_server: RampdServer, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_server.admin().release(component, "1.0")
    monkeypatch.setenv("TERM", "dumb")
    name = file(HEADER + "".join(f"a/{n},next,,,\n" for n in range(2_000)))

    screen = person("override", "import", component, name)

    assert screen.text.splitlines()[-3:-1] == [
        "Imported overrides: 1,000 of 2,000",
        "Imported overrides: 2,000 of 2,000",
    ]
    assert "\x1b" not in screen.raw


def test_a_person_sees_a_bar_and_is_asked_before_overrides_are_deleted(
    person: AtTerminal, component: str, shared_server: RampdServer, file: Any
) -> None:
    admin = shared_server.admin()
    admin.release(component, "1.0")
    admin.set_override(component, "acme/old", channel="NEXT")
    name = file(HEADER + "".join(f"a/{n},next,,,\n" for n in range(2_000)))

    declined = person("override", "import", component, name, "--replace", typed="n\n")
    assert (declined.code, "The override of acme/old is not in" in " ".join(declined.text.split())) == (5, True)
    assert len(list(admin.list_overrides(component))) == 1

    done = person("override", "import", component, name, "--replace", typed="y\n")
    assert done.code == 0
    assert "━" in done.text
    assert f"Set 2,000 and deleted 1 override of {component}; 0 as before." in " ".join(done.text.split())


def test_an_export_keeps_a_link_and_the_mode_of_a_file(rampd: Run, admin: Any, tmp_path: Path) -> None:
    admin.set_override("restyler", "acme/app", channel="NEXT")
    (tmp_path / "own.csv").write_text("")
    (tmp_path / "own.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to("own.csv")

    assert rampd("override", "export", "restyler", "link.csv").code == 0

    assert (tmp_path / "link.csv").is_symlink()
    assert "acme/app" in (tmp_path / "own.csv").read_text()
    assert (tmp_path / "own.csv").stat().st_mode & 0o777 == 0o600


def test_an_export_goes_through_a_pipe_with_a_name_and_never_replaces_it(
    rampd: Run, admin: Any, tmp_path: Path
) -> None:
    """A device such as /dev/null is such a file, too: root could replace it."""
    admin.set_override("restyler", "acme/app", channel="NEXT")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert rampd("override", "export", "restyler", "pipe").code == 0
        assert b"acme/app" in os.read(reader, 4096)
        assert (tmp_path / "pipe").is_fifo()
    finally:
        os.close(reader)


def test_what_another_command_writes_can_be_imported(rampd: Run, admin: Any, tmp_path: Path) -> None:
    """Given a pipe such as that of `<(…)`, expect all of it."""
    with piped(tmp_path / "pipe", f"{HEADER}acme/app,next,,,\n"):
        assert rampd("override", "import", "restyler", "pipe").code == 0
    assert overrides(admin) == [("acme/app", v1.CHANNEL_NEXT, "")]


@pytest.mark.parametrize(("name", "says"), [("/dev/zero", "is larger than 64 MiB"), (".", "Is a directory")])
def test_a_file_without_an_end_and_a_folder_are_wrong_use(run: Run, name: str, says: str) -> None:
    ran = run("override", "import", "restyler", name)

    assert (ran.code, says in ran.err) == (2, True)


def test_a_program_gets_one_error_with_every_row(rampd: Run, admin: Any, file: Callable[..., str]) -> None:
    ran = rampd("override", "import", "restyler", file(f"{HEADER}a b,,1,,\n"), "-o", "json")

    error = json.loads(ran.err)
    assert (ran.code, error["message"].startswith("o.csv:2: repo must")) == (2, True)


def test_a_program_gets_no_progress(rampd: Run, admin: Any, file: Callable[..., str]) -> None:
    ran = rampd("override", "import", "restyler", file(f"{HEADER}a/b,,1,,\n"), "-o", "json")

    assert (ran.code, ran.err) == (0, "")


def test_a_dry_run_of_several_batches_says_that_no_batch_knows_the_others(
    rampd: Run, admin: Any, rampd_server: RampdServer, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a prefix in one batch and its repo in another, expect no exact number: nobody would get another version."""
    with Resolver(rampd_server.target, mode="rpc") as resolver:
        resolver.resolve("restyler", repo="acme/app")
    monkeypatch.setattr(sending, "BATCH", 1)

    ran = rampd(
        "override", "import", "restyler", file(f"{HEADER}acme/*,,9,,\nacme/app,,1.0,,\n"), "--dry-run", "-o", "table"
    )

    assert "about 1 would get another version, if each thousand rows were set alone:" in " ".join(ran.out.split())


@pytest.mark.parametrize("stays", ["as it was", "changed", "gone"])
def test_replace_deletes_only_what_a_person_was_asked_about(
    person: AtTerminal, component: str, shared_server: RampdServer, monkeypatch: pytest.MonkeyPatch, stays: str
) -> None:
    """Given somebody else who changes an override while the question stands, expect a refusal."""
    from rampd_cli.session import Session

    admin, confirm = shared_server.admin(), Session.confirm
    admin.release(component, "1.0")
    admin.set_override(component, "acme/old", tag="1.0")

    def late(self: Session, question: str, *, answer: str = "") -> None:
        confirm(self, question, answer=answer)
        if stays == "changed":
            admin.set_override(component, "acme/old", tag="2.0")
        elif stays == "gone":
            admin.delete_override(component, "acme/old")

    monkeypatch.setattr(Session, "confirm", late)

    Path("o.csv").write_text(f"{HEADER}a/b,next,,,\n")

    screen = person("override", "import", component, "o.csv", "--replace", typed="y\n")

    assert (screen.code, "(REVISION_MISMATCH)" in screen.text) == ((1, True) if stays == "changed" else (0, False))
    assert [each.repo for each in admin.list_overrides(component)] == ["acme/old" if stays == "changed" else "a/b"]


@pytest.mark.parametrize(
    ("meanwhile", "code", "left"),
    [
        ("another repo", 1, ["a/0", "acme/new", "acme/old"]),
        ("a repo of the file", 0, ["a/0", "a/1"]),
        ("a step of the rollout", 0, ["a/0", "a/1"]),
    ],
)
def test_replace_deletes_nothing_that_was_set_after_it_began(  # noqa: PLR0917
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch, meanwhile: str, code: int, left: list[str]
) -> None:
    """Given two imports at the same time, or a rollout that goes on, expect that only what nobody has touched is deleted."""
    admin.set_override("restyler", "acme/old", tag="1.0")
    admin.release("restyler", "2.0")
    monkeypatch.setattr(sending, "BATCH", 1)
    real, sent = sending._batch, []

    def beside(*args: Any, **more: Any) -> None:
        real(*args, **more)
        if sent:
            return
        sent.append(1)
        match meanwhile:
            case "another repo":
                admin.set_override("restyler", "acme/new", tag="1.0")
            case "a repo of the file":
                admin.set_override("restyler", "a/1", tag="1.0")
            case _:
                admin.ramp("restyler", 5)

    monkeypatch.setattr(sending, "_batch", beside)

    ran = rampd("override", "import", "restyler", file(f"{HEADER}a/0,next,,,\na/1,next,,,\n"), "--replace", "--yes")

    assert ran.code == code
    assert [each.repo for each in admin.list_overrides("restyler")] == left
    if code:
        first, second, _ = ran.err.splitlines()[-3:]
        assert first == (
            "rampd: Somebody else has set the override of acme/new, which o.csv does not have. It is not deleted. If it may be "
            "deleted, type the command again. (REVISION_MISMATCH)"
        )
        assert second == "Of 3 changes, at least 1 is made. Type the command again: it goes on there."


def test_a_replace_gives_up_if_somebody_changes_the_component_all_the_time(
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sending._batch

    def later(*args: Any, **more: Any) -> None:
        admin.set_override("restyler", "a/0", channel=("NEXT", "CURRENT")[admin.get_rollout("restyler").revision % 2])
        real(*args, **more)

    monkeypatch.setattr(sending, "_batch", later)

    ran = rampd("override", "import", "restyler", file(f"{HEADER}a/0,,1.0,,\n"), "--replace")

    assert (ran.code, "(REVISION_MISMATCH)" in ran.err) == (1, True)


def test_a_refusal_after_the_first_batch_is_no_wrong_use(
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a server that refuses a row of a batch, expect another code than where nothing was changed."""
    name = file(HEADER + "".join(f"acme/{number:05},next,,,\n" for number in range(1_500)))
    real = sending._batch

    def refused(session: Any, wanted: Any, rows: Any, *args: Any, **more: Any) -> None:
        if len(rows) <= most:
            raise InvalidArgumentError("no", reason="INVALID_FIELD", violations=[("overrides[0].repo", "no")])
        real(session, wanted, rows, *args, **more)

    monkeypatch.setattr(sending, "_batch", refused)

    most = 1_000
    assert rampd("override", "import", "restyler", name).code == 2
    most = 500
    assert rampd("override", "import", "restyler", name).code == 1


@pytest.mark.parametrize("override", [v1.Override(repo="a/b"), v1.Override(repo="a/b", channel=7)])  # type: ignore[arg-type]
def test_an_override_of_a_later_server_is_not_exported_as_another_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, override: v1.Override
) -> None:
    with scripted_server() as server:
        monkeypatch.setenv("RAMPD_SERVER", server.target)
        server.answers["ListOverrides"] = [v1.ListOverridesResponse(overrides=[override])]

        ran = run("override", "export", "restyler")

    assert (ran.code, ran.out, "does not know" in ran.err) == (1, "", True)


def with_overrides(admin: Any, component: str, number: int) -> None:
    """Given a component with so many overrides."""
    admin.release(component, "1.0")
    for first in range(0, number, 1_000):
        batch = range(first, min(first + 1_000, number))
        changes = [v1.OverrideChange(repo=f"acme/{each:05}", channel=v1.CHANNEL_NEXT) for each in batch]
        admin.batch_set_overrides(component, changes)


def test_a_person_sees_how_many_overrides_an_export_has_read(
    person: AtTerminal, cli: Run, component: str, shared_server: RampdServer, tmp_path: Path
) -> None:
    with_overrides(shared_server.admin(), component, 1_100)

    screen = person("override", "export", component, "all.csv")
    in_a_pipe = cli("override", "export", component, "again.csv")

    read = re.search("Read overrides [━ ]+ 1,000\n", screen.text)
    assert (screen.code, read is not None) == (0, True)
    assert screen.text.endswith(f"all.csv has 1,100 overrides of {component}.\n")
    assert (in_a_pipe.code, in_a_pipe.out) == (0, "")
    assert in_a_pipe.err == f"again.csv has 1,100 overrides of {component}.\n"
    assert (tmp_path / "all.csv").read_text() == (tmp_path / "again.csv").read_text()
    assert cli("override", "export", component).err == ""


def test_what_an_export_has_read_is_on_the_terminal_and_not_in_its_rows(
    settings: None, component: str, shared_server: RampdServer, tmp_path: Path
) -> None:
    with_overrides(shared_server.admin(), component, 1)
    words = (sys.executable, "-m", "rampd_cli", "--server", shared_server.target, "override", "export", component)
    line = f"{shlex.join(words)} > all.csv"

    with program_on_terminal("sh", "-c", line, environment={**os.environ, "TERM": "xterm"}, folder=tmp_path) as found:
        found.shows("Read overrides ")
        assert found.ends() == 0

    assert (tmp_path / "all.csv").read_text() == HEADER + "acme/00000,next,,,\n"


def test_ctrl_c_while_an_export_reads_restores_the_terminal_and_leaves_the_file_as_it_was(
    settings: None, tmp_path: Path
) -> None:
    (tmp_path / "all.csv").write_text("as it was")
    page = v1.ListOverridesResponse(overrides=[v1.Override(repo="acme/app", tag="1.0")], next_page_token="more")
    with scripted_server() as server:
        server.answers["ListOverrides"] = [page, server.hang]
        words = ("--server", server.target, "override", "export", "restyler", "all.csv")
        with on_terminal(*words) as found:
            found.shows("Read overrides ━")
            eventually(lambda: len(server.requests("ListOverrides")) == 2)
            found.types("\x03")
            assert found.ends() == 130

    assert found.raw.rindex(CURSOR) > found.raw.rindex("\x1b[?25l")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("all.csv", "as it was")]


def test_ctrl_c_while_an_export_writes_leaves_the_file_as_it_was(
    rampd: Run, admin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.set_override("restyler", "acme/app", channel="NEXT")
    (tmp_path / "all.csv").write_text("as it was")

    def pressed(*_arguments: object) -> Iterator[str]:
        yield HEADER
        raise KeyboardInterrupt

    monkeypatch.setattr(override_export, "written", pressed)

    ran = rampd("override", "export", "restyler", "all.csv")

    assert (ran.code, ran.out, ran.err) == (130, "", "")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("all.csv", "as it was")]
