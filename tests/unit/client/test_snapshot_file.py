"""A snapshot file is whole and ours, or it is not used."""

import math
import os
from pathlib import Path

import pytest

from rampd import snapshot_file
from rampd.resolution import Channel, Choice, ComponentSnapshot, RolloutState, SnapshotRelease
from rampd.snapshot_file import SnapshotFileError

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
    snapshot_file.write(
        path, [(SNAPSHOT, OVERRIDES.items())], selection=("restyler",), cursor="e/5-0", confirmed_s=1000.0
    )


def refusal(path: Path) -> str:
    with pytest.raises(SnapshotFileError) as caught:
        snapshot_file.read(path)
    return str(caught.value)


def test_what_was_written_is_read(path: Path) -> None:
    saved = snapshot_file.read(path)
    assert saved is not None
    assert (saved.selection, saved.cursor, saved.confirmed_s) == (("restyler",), "e/5-0", 1000.0)
    assert saved.components["restyler"].snapshot == SNAPSHOT
    assert dict(saved.components["restyler"].overrides.items()) == OVERRIDES


def test_it_is_for_its_owner_only_and_nothing_else_is_left(path: Path) -> None:
    path.chmod(0o644)
    write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_one_that_can_t_be_written_leaves_the_one_of_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_no_file_is_nothing_to_complain_of(tmp_path: Path) -> None:
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


def test_a_file_of_somebody_else_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert "belongs to user" in refusal(path)


def test_what_is_no_file_is_refused_at_once(path: Path, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    assert "can't be opened" in refusal(link)
    assert refusal(pipe) == refusal(tmp_path) == "it is no file"


def test_the_age_is_what_the_clock_says_and_unknown_where_it_was_put_back(path: Path) -> None:
    saved = snapshot_file.read(path)
    assert saved is not None
    assert [saved.age_s(now_s) for now_s in (1060.0, 1000.0, 999.0, 990.0)] == [60.0, 0.0, 0.0, math.inf]
