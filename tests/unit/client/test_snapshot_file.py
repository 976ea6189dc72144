"""A snapshot file is used only if it is complete and from the same user."""

import contextlib
import hashlib
import json
import math
import os
import pwd
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rampd._decision.resolution import Channel, Choice, ComponentSnapshot, RolloutState, SnapshotRelease
from rampd._runtime import private_file
from rampd._watching import snapshot_file
from rampd._watching.snapshot_file import Moment, SnapshotFileError
from tests.children import in_child

SNAPSHOT = ComponentSnapshot(
    component="restyler", revision=7, state=RolloutState.STEADY, current=SnapshotRelease(1, "t1", {"commit": "1a"})
)
OVERRIDES = {f"acme/app{n}": Choice(Channel.NEXT) for n in range(5000)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "rampd.snapshot"
    write(written)
    return written


def write(path: Path) -> None:
    moment = Moment("e/5-0", confirmed_s=1000.0, told_s=900.0)
    assert snapshot_file.write(path, [(SNAPSHOT, OVERRIDES.items())], selection=("restyler",), moment=moment)


def refusal(path: Path) -> str:
    with pytest.raises(SnapshotFileError) as caught:
        snapshot_file.read(path)
    return str(caught.value)


def test_a_written_file_is_read_back(path: Path) -> None:
    saved = snapshot_file.read(path)
    assert saved is not None
    assert (saved.selection, saved.cursor, saved.confirmed_s) == (("restyler",), "e/5-0", 1000.0)
    assert saved.told_s == 900.0
    assert saved.components["restyler"].snapshot == SNAPSHOT
    assert dict(saved.components["restyler"].overrides.items()) == OVERRIDES


def test_the_file_is_for_its_owner_only_and_no_other_file_remains(path: Path) -> None:
    path.chmod(0o644)
    write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_earlier_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_is_not_an_error(tmp_path: Path) -> None:
    assert snapshot_file.read(tmp_path / "none") is None


@pytest.mark.parametrize("kept", [0, 1, 10, 40, 90, 200, 5000, -1])
def test_a_file_that_was_cut_is_refused(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path) in {
        "it is no snapshot of this version of rampd",
        "it is damaged: its checksum does not fit",
    }


@pytest.mark.parametrize("place", [20, 100, 150, 300, 5000, -1])
def test_a_file_with_one_wrong_bit_is_refused(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    assert refusal(path) == "it is damaged: its checksum does not fit"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o601, 0o400, 0o700])
def test_a_file_with_another_mode_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert refusal(path) == f"its mode is 0{mode:o}, not 0600: chmod 600 it"


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert refusal(path) == (
        f"it belongs to user {pwd.getpwuid(owner).pw_name}, not to 4000000000, who runs this process"
    )


def test_a_path_that_is_not_a_file_is_refused_at_once(path: Path, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    assert "can't be opened" in refusal(link)
    assert refusal(pipe) == refusal(tmp_path) == "it is no file"


def folder_that_is_a_file(folder: Path) -> None:
    folder.write_text("")


def folder_that_is_a_link_to_nothing(folder: Path) -> None:
    folder.symlink_to(folder.with_name("nothing"))


def folder_that_is_not_there(_: Path) -> None:
    pass


def folder_where_something_else_has_the_name(folder: Path) -> None:
    (folder / "rampd.snapshot" / "x").mkdir(parents=True)


@pytest.mark.parametrize(
    "spoil",
    [
        folder_that_is_a_file,
        folder_that_is_a_link_to_nothing,
        folder_that_is_not_there,
        folder_where_something_else_has_the_name,
    ],
)
def test_an_unusable_folder_gives_a_clear_error_and_no_file_remains(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tmp_path / "folder")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=r"\[Errno"):
        write(tmp_path / "folder" / "rampd.snapshot")
    with contextlib.suppress(SnapshotFileError):
        assert snapshot_file.read(tmp_path / "folder" / "rampd.snapshot") is None
    assert sorted(tmp_path.rglob("*")) == before


def test_in_a_shared_folder_a_file_of_another_user_is_refused_and_our_file_keeps_its_age(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who may write to the folder can only put back an older file of ours. Its age says how old it is."""
    path.parent.chmod(0o777)
    old = path.read_bytes()
    write(path)
    path.unlink()
    path.write_bytes(old)
    path.chmod(0o600)
    saved = snapshot_file.read(path)
    assert saved is not None
    assert saved.age_s(2000.0) == 1000.0
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert "belongs to user" in refusal(path)


def test_the_age_is_by_the_clock_and_unknown_if_the_clock_was_set_back(path: Path) -> None:
    saved = snapshot_file.read(path)
    assert saved is not None
    assert [saved.age_s(now_s) for now_s in (1060.0, 1000.0, 999.0, 990.0)] == [60.0, 0.0, 0.0, math.inf]


SAVED = Moment("e/50-2", confirmed_s=1000.0, told_s=500.0)


@pytest.mark.parametrize(
    ("moment", "may"),
    [
        (Moment("e/50-2", 1000.0), True),  # the same, as fresh
        (Moment("e/50-2", 1001.0), True),  # the same, confirmed again
        (Moment("e/50-2", 999.0), False),  # the same, and this process has lost its server
        (Moment("e/51-0", 1001.0), True),
        (Moment("e/51-0", 999.0), True),  # a later entry is a later state, whichever process confirmed last
        (Moment("e/50-1", 1001.0), False),  # a server that is behind
        (Moment("e/9-9", 1001.0), False),  # ids are numbers
        (Moment("e/47-0", 1001.0, told_s=1000.5), True),  # a server reported a rewind after the file was confirmed
        (
            Moment("e/47-0", 1001.0, told_s=999.0),
            False,
        ),  # a server reported it before: the state in the file came after the rewind
        (Moment("e/73-0", 499.0), False),  # the file's process heard of a rewind after this process had lost its server
        (Moment("f/1-0", 1001.0, told_s=1000.5), True),  # a server reported the new epoch
        (Moment("f/1-0", 1001.0), True),  # this process knew no other epoch, and its server was confirmed later
        (Moment("d/99-0", 999.0), False),  # an epoch that was replaced: no server confirms it any more
        (Moment("d/99-0", 499.0, told_s=400.0), False),
    ],
)
def test_a_file_is_replaced_only_by_a_later_state(moment: Moment, may: bool) -> None:
    assert moment.may_replace(SAVED, 1002.0) is may


def test_entries_decide_which_state_is_later_if_the_clock_was_set_back() -> None:
    assert Moment("e/50-2", 10.0).may_replace(SAVED, 11.0)
    assert not Moment("e/50-1", 10.0).may_replace(SAVED, 11.0)


def save(path: Path, number: int) -> bool:
    return snapshot_file.write(
        path,
        [(replace(SNAPSHOT, revision=number), ())],
        selection=("restyler",),
        moment=Moment(f"e/{number}-0", confirmed_s=time.time()),
    )


def test_an_older_state_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "rampd.snapshot"
    assert save(path, 7)
    before = path.read_bytes()
    assert not save(path, 6)
    assert path.read_bytes() == before
    assert save(path, 8)


def test_a_damaged_file_is_replaced_by_any_known_state(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    assert save(path, 1)
    assert snapshot_file.read(path) is not None


def test_a_file_of_a_version_without_an_order_of_states_is_read_and_replaced(path: Path) -> None:
    magic, _, content = path.read_bytes().split(b"\n", 2)
    line, body = content.split(b"\n", 1)
    head = json.loads(line)
    del head["told"]
    content = json.dumps(head).encode() + b"\n" + body
    path.write_bytes(b"\n".join((magic, hashlib.sha256(content).hexdigest().encode(), content)))
    saved = snapshot_file.read(path)
    assert saved is not None
    assert saved.told_s == 0.0
    assert save(path, 6)


@pytest.mark.parametrize("time_s", [b"1" + b"0" * 400, b'"soon"', b"[]"], ids=["too large for a float", "text", "list"])
@pytest.mark.parametrize("name", [b"confirmed", b"told"])
def test_a_file_with_a_time_that_is_none_is_refused_and_replaced(path: Path, name: bytes, time_s: bytes) -> None:
    magic, _, content = path.read_bytes().split(b"\n", 2)
    content = content.replace(
        b'"%s": %s' % (name, {b"confirmed": b"1000.0", b"told": b"900.0"}[name]), b'"%s": %s' % (name, time_s), 1
    )
    path.write_bytes(b"\n".join((magic, hashlib.sha256(content).hexdigest().encode(), content)))
    assert "it makes no sense" in refusal(path)
    assert save(path, 6)
    assert snapshot_file.read(path) is not None


def test_processes_that_share_a_file_never_replace_it_with_an_older_state(tmp_path: Path) -> None:
    path, workers, numbers = tmp_path / "rampd.snapshot", [], list(range(1, 201))
    for worker in range(4):
        child = os.fork()
        if not child:
            with in_child():
                random.Random(worker).shuffle(numbers)
                for number in numbers:
                    save(path, number)
        workers.append(child)
    seen = [0]
    while workers:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            assert os.waitstatus_to_exitcode(status) == 0
            workers.remove(child)
        if (saved := snapshot_file.read(path)) is not None:
            seen.append(saved.components["restyler"].snapshot.revision)
    assert seen == sorted(seen)
    assert seen[-1] == 200
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_a_killed_process_are_deleted_and_files_being_written_are_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, other = path.parent / f".{path.name}.x1y2", path.parent / ".other.x1y2"
    left.touch()
    other.touch()
    with private_file.locked(path):
        monkeypatch.setattr(private_file, "_LOCK_PATIENCE_S", 0.01)
        with pytest.raises(TimeoutError, match="other processes held its folder locked"):
            private_file.clean(path)
    assert left.exists()
    private_file.clean(path)
    assert sorted(path.parent.iterdir()) == sorted([path, other])


def test_a_lock_ends_with_the_write_even_if_a_child_was_forked_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_file, "_LOCK_PATIENCE_S", 0.1)
    hold, end = os.pipe()
    with private_file.locked(path):
        child = os.fork()
        if not child:
            os.close(end)
            os.read(hold, 1)
            os._exit(0)
    private_file.clean(path)
    os.close(end)
    os.waitpid(child, 0)
