"""The last state that a server keeps for its next start. It is used only if it is complete, from the same user and from the
same store, and it is never older than it says."""

import asyncio
import errno
import gc
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._decision.resolution import Overrides
from rampd_server.domain.errors import InvalidRequestError, NoSnapshotError, RefusedError, StoreResetError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, Quarantine, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import (
    Anchor,
    FeedEntry,
    Head,
    LastServed,
    LastState,
    LastStateError,
    Namespace,
    Override,
    Store,
)
from rampd_server.process import redis_url
from rampd_server.replica import last_state_keeper
from rampd_server.replica.last_state_keeper import LastStateKeeper, _Taken
from rampd_server.replica.projection import choice_of
from rampd_server.replica.replica import Replica
from rampd_server.replica.state import Component
from rampd_server.storage.last_state import LastStateFile, _read_components
from tests import filling
from tests.in_background import in_background
from tests.rollouts import NOW, held, rolling_out, steady
from tests.unit.test_rollout_properties import COMMANDS

ABOUT = LastServed(
    "e1", "5-0", 1000.0, 250.0, Namespace(Freeze("ada", "because", NOW)), is_last=True, anchor=Anchor("restyler", "4-0")
)
PINNED = {"acme/app": Override(tag="x"), "acme/*": Override(channel="NEXT"), "b/c": Override("CURRENT", "", NOW)}
MARK = Quarantine("ada", "bad", NOW)
ABSURD = "1" + "0" * 400
"""A number in JSON that is too large for a float."""
LONGEST_PAUSE_S = 0.1
"""Ten times what is wanted of the event loop."""


def file_in(directory: Path) -> LastStateFile:
    return LastStateFile(directory, "embedded", "default")


def lines(file: LastStateFile, *components: tuple[Rollout, Mapping[str, Override]]) -> list[bytes]:
    return [line for rollout, overrides in components for line in file.encode(rollout, overrides.items())]


@pytest.fixture
def file(tmp_path: Path) -> LastStateFile:
    made = file_in(tmp_path)
    made.write(ABOUT, lines(made, (rolling_out(), PINNED), (replace(held(), component="hlint"), {})))
    return made


def refusal(file: LastStateFile) -> str:
    with pytest.raises(LastStateError, match=r"^The file .* \(what this server last served\) is not used: ") as caught:
        file.read()
    return str(caught.value)


def test_a_written_file_is_read_back(file: LastStateFile) -> None:
    expected = ((rolling_out(), PINNED), (replace(held(), component="hlint"), {}))
    assert file.read() == LastState(ABOUT, expected)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert list(file.path.parent.iterdir()) == [file.path]


def test_the_remains_of_a_deleted_component_are_kept(file: LastStateFile) -> None:
    """Given deleted components, expect that they are read back: an older copy of the data may contain one of them."""
    gone = (Absent("web", 7, 3, "5-1", "4-1"), Absent("api", 2, 1, "3-1", "3-1", held().quarantine | {"x": MARK}))
    pieces = [line for absent in gone for line in file.encode(absent)]
    file.write(ABOUT, [*pieces, *lines(file, (rolling_out(), PINNED))])

    assert file.read() == LastState(ABOUT, ((rolling_out(), PINNED),), gone)


def test_a_missing_file_gives_no_state(tmp_path: Path) -> None:
    assert file_in(tmp_path).read() is None
    (tmp_path / "file").touch()
    assert file_in(tmp_path / "file").read() is None


@given(st.lists(COMMANDS, max_size=30), st.dictionaries(st.sampled_from("abc"), st.text(max_size=1_000)))
def test_a_component_is_read_back_unchanged(steps: list[commands.Command], attributes: dict[str, str]) -> None:
    rollout: Rollout | Absent = Absent("restyler")
    for step in (commands.Release("t1", attributes), *steps):
        try:
            rollout = transition(rollout, step, Context(NOW, "ada")).after
        except (RefusedError, InvalidRequestError):
            continue
    file = file_in(Path("unused"))
    pinned = {} if isinstance(rollout, Absent) else PINNED
    assert list(_read_components(file.encode(rollout, pinned.items()))) == [(rollout, pinned)]


@pytest.mark.parametrize("kept", [0, 1, 20, 60, 100, 300, -1])
def test_a_file_that_was_cut_is_refused(file: LastStateFile, kept: int) -> None:
    file.path.write_bytes(file.path.read_bytes()[:kept])
    assert "no last state of this version" in refusal(file) or "checksum does not fit" in refusal(file)


@pytest.mark.parametrize("place", [25, 100, 400, -1])
def test_a_file_with_one_wrong_bit_is_refused(file: LastStateFile, place: int) -> None:
    content = bytearray(file.path.read_bytes())
    content[place] ^= 4
    file.path.write_bytes(content)
    assert "checksum does not fit" in refusal(file)


def test_a_file_of_another_user_or_that_others_may_read_is_refused(
    file: LastStateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.path.chmod(0o640)
    assert "its mode is 0640" in refusal(file)
    file.path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: file.path.stat().st_uid + 1)
    assert "belongs to user" in refusal(file)


def test_a_file_of_another_store_is_refused_under_any_name(file: LastStateFile, tmp_path: Path) -> None:
    other = LastStateFile(tmp_path, "redis:6379/0", "default")
    assert other.path != file.path != LastStateFile(tmp_path, "embedded", "n").path
    file.path.rename(other.path)
    assert "belongs to another store" in refusal(other)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("confirmed", number) for number in (ABSURD, "1e300", "Infinity", "NaN")),
        *(("clock_ahead_ms", number) for number in (ABSURD, "Infinity", "NaN")),
    ],
    ids=lambda text: text[:20],
)
def test_a_file_with_a_time_that_is_none_is_refused_and_replaced(file: LastStateFile, name: str, number: str) -> None:
    kept = {"confirmed": "1000.0", "clock_ahead_ms": "250.0"}[name]
    magic, _, content = file.path.read_bytes().split(b"\n", 2)
    content = content.replace(f'"{name}":{kept}'.encode(), f'"{name}":{number}'.encode(), 1)
    file.path.write_bytes(b"\n".join((magic, hashlib.sha256(content).hexdigest().encode(), content)))
    assert "its content is not valid" in refusal(file)
    file.write(replace(ABOUT, confirmed_s=time.time()), [])
    assert file.read() is not None


def with_anchor(file: LastStateFile, text: str) -> None:
    """Replaces the anchor in the file by another text."""
    magic, _, content = file.path.read_bytes().split(b"\n", 2)
    content = content.replace(b',"anchor":["restyler","4-0"]', text.encode(), 1)
    file.path.write_bytes(b"\n".join((magic, hashlib.sha256(content).hexdigest().encode(), content)))


@pytest.mark.parametrize("text", ["", ',"anchor":null'], ids=["of an earlier rampd", "not known"])
def test_a_file_without_an_anchor_is_read(file: LastStateFile, text: str) -> None:
    with_anchor(file, text)
    state = file.read()
    assert state is not None
    assert state.about == replace(ABOUT, anchor=None)


@pytest.mark.parametrize("text", ["7", "[]", '["restyler"]', '["restyler","x"]', '["restyler",4]', '"4-0"'])
def test_a_file_with_an_anchor_that_is_none_is_refused(file: LastStateFile, text: str) -> None:
    with_anchor(file, f',"anchor":{text}')
    assert "its content is not valid" in refusal(file)


def test_a_component_that_this_version_cannot_read_is_left_out(file: LastStateFile) -> None:
    encoded = lines(file, (rolling_out(), PINNED), (replace(steady(), component="hlint"), {}))
    encoded[0] = encoded[0].replace(b'"current":"3"', b'"current":"9"')
    file.write(ABOUT, encoded)
    state = file.read()
    assert state is not None
    assert [rollout.component for rollout, _ in state.components] == ["hlint"]
    assert state.about == ABOUT


@pytest.mark.parametrize(
    ("confirmed_s", "may"), [(1000.0, True), (999.999, True), (1001.0, True), (990.0, False), (10.0, False)]
)
def test_a_file_that_another_server_confirmed_later_stays(file: LastStateFile, confirmed_s: float, may: bool) -> None:
    file.write(replace(ABOUT, epoch="e2", confirmed_s=confirmed_s), [])
    state = file.read()
    assert state is not None
    assert (state.about.epoch == "e2") is may


@pytest.mark.parametrize(
    ("entry_id", "confirmed_s", "may"),
    [("5-1", 999.0, True), ("4-9", 999.999, False), ("4-9", 1000.5, True), ("5-0", 999.0, True), ("6-0", 990.0, False)],
)
def test_a_file_that_has_later_changes_of_the_same_epoch_stays(
    file: LastStateFile, entry_id: str, confirmed_s: float, may: bool
) -> None:
    """Given two states that were confirmed at nearly the same time, expect that the one with more changes is kept. A store that is
    confirmed later with less has gone back.
    """
    file.write(replace(ABOUT, entry_id=entry_id, confirmed_s=confirmed_s, clock_ahead_ms=1.0), [])
    state = file.read()
    assert state is not None
    assert (state.about.clock_ahead_ms == 1.0) is may


def test_the_file_is_replaced_if_the_clock_was_set_back(file: LastStateFile) -> None:
    file.write(replace(ABOUT, confirmed_s=time.time() + 3600), [])
    file.write(replace(ABOUT, epoch="e2", confirmed_s=time.time()), [])
    state = file.read()
    assert state is not None
    assert state.about.epoch == "e2"


WRITES_FOR_EVER = """
import sys
from pathlib import Path
from tests.unit.server.test_last_state import ABOUT, file_in, lines
from tests.rollouts import rolling_out
from tests import filling
file = file_in(Path(sys.argv[1]))
content = lines(file, (rolling_out(), {filling.repo(n): filling.override(n) for n in range(20_000)}))
print("writing", flush=True)
while True:
    file.write(ABOUT, content)
"""


def test_a_kill_during_a_write_leaves_a_whole_file_and_its_remains_are_soon_deleted(file: LastStateFile) -> None:
    folder = file.path.parent
    with subprocess.Popen(
        [sys.executable, "-c", WRITES_FOR_EVER, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        # It is stopped again and again, until that was in the middle of a write.
        while True:
            writer.send_signal(signal.SIGSTOP)
            os.waitpid(writer.pid, os.WUNTRACED)
            if set(folder.iterdir()) > {file.path}:
                break
            writer.send_signal(signal.SIGCONT)
            time.sleep(random.uniform(0, 0.01))
        writer.kill()
    assert set(folder.iterdir()) > {file.path}
    assert file.read() is not None
    file.clean()
    assert list(folder.iterdir()) == [file.path]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://ada:s3cr3t@Redis.example:6380/2", "redis.example:6380/2"),
        ("rediss://:s3cr3t@redis", "redis:6379/0"),
        ("redis://redis?db=3&username=ada&password=s3cr3t", "redis:6379/3"),
        ("unix://ada:s3cr3t@/run/redis.sock?db=1", "/run/redis.sock 1"),
        ("unix:///run/redis.sock", "/run/redis.sock 0"),
        ("redis+sentinel://ada:s3cr3t@a:1,b/main", "sentinel:main/0"),
        ("rediss+sentinel://b,c,a/main/2?sentinel_password=s3cr3t", "sentinel:main/2"),
        ("redis+sentinel://a/main?db=3", "sentinel:main/3"),
        ("redis+cluster://ada:s3cr3t@a:1,b", "cluster"),
        ("rediss+cluster://c,a/0", "cluster"),
    ],
)
def test_a_store_is_identified_by_its_address_without_secrets(url: str, place: str) -> None:
    assert redis_url.place_of(url) == place


# The copy that starts from the last state.


class Believer:
    """A store that only records which epoch is set."""

    epoch = ""
    adopt_command = "rampd-server adopt --data-dir /data"

    def set_epoch(self, epoch: str) -> None:
        self.epoch = epoch


def recalled(now_s: float = 1060.0, **about: Any) -> Replica:
    replica = Replica(cast("Store", Believer()), monotonic=lambda: 50.0, wall_clock=lambda: now_s)
    replica.recall(LastState(replace(ABOUT, **about), [(rolling_out(), PINNED)]))
    return replica


@pytest.mark.parametrize(
    ("now_s", "is_last", "age_s"),
    [(1060.0, True, 60.0), (999.0, True, 0.0), (990.0, True, 1e9), (1060.0, False, 1e9)],
    ids=["later", "a little earlier", "set back", "killed"],
)
async def test_the_age_is_by_the_clock_and_unknown_if_the_clock_cannot_tell(
    now_s: float, is_last: bool, age_s: float
) -> None:
    assert recalled(now_s, is_last=is_last).age_s == age_s


async def test_a_recalled_state_answers_resolves_but_is_not_confirmed_and_decides_nothing() -> None:
    replica = recalled(1000.5)
    known = replica.get("restyler")
    assert known is not None
    assert known.rollout == rolling_out()
    assert dict(known.overrides.items()) == {repo: choice_of(override) for repo, override in PINNED.items()}
    assert (replica.epoch, replica.entry_id, replica.namespace) == ("e1", "5-0", ABOUT.namespace)
    assert (replica.answers.is_set(), replica.loaded.is_set(), replica.is_confirmed) == (True, False, False)
    assert replica.likely_ms() == 1_000_750
    with pytest.raises(NoSnapshotError):
        replica.now_ms()
    with pytest.raises(NoSnapshotError):
        _ = replica.look
    with pytest.raises(NoSnapshotError):
        await replica.require_state(timeout_s=0.001)


def head(epoch: str, *, adopted: bool) -> Head:
    return Head(epoch, "0-0", NOW, Namespace(), adopted_ms=NOW if adopted else None)


async def test_only_the_served_epoch_or_an_adopted_epoch_is_accepted() -> None:
    replica = recalled()
    for known in (head("e1", adopted=False), head("e2", adopted=True)):
        replica.require_known(known)
    for unknown, what in (
        (None, "no epoch"),
        (head("e2", adopted=False), "another epoch, e2, which nobody has adopted"),
    ):
        with pytest.raises(StoreResetError) as caught:
            replica.require_known(unknown)
        assert caught.value.message == (
            f"The store was emptied or replaced: it has {what}, and this server last served 1 component at 1970-01-01 00:16:40 "
            "UTC. Jobs keep their versions, and nothing is written. To get the data back from an export, type rampd-server "
            "import (docs/backup.md). From a copy of the store's files: stop the server, put the copy back, start it. To go on with the data that are there now, type `rampd-server adopt --data-dir /data`: servers that run "
            "follow within seconds."
        )
        assert caught.value.metadata == {"believed": "e1", "found": unknown.epoch if unknown else ""}
    Replica(cast("Store", Believer())).require_known(None)


# When the last state is written.


class Kept:
    """A last state that counts its writes. A test clears `has_state` when somebody else has replaced or removed it."""

    def __init__(self) -> None:
        self.written: list[LastServed] = []
        self.confirmed: list[LastServed] = []
        self.has_state = True
        self.error: Exception | None = None

    def read(self) -> LastState | None:
        return None

    def encode(self, rollout: Rollout, overrides: Iterable[tuple[str, Override]]) -> Iterator[bytes]:
        yield f"{rollout.component}{len(list(overrides))}".encode()

    def write(self, about: LastServed, components: list[bytes]) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(about)

    def confirm(self, about: LastServed) -> bool:
        if self.error is not None:
            raise self.error
        self.confirmed.append(about)
        return self.has_state

    def clean(self) -> None:
        pass


def loaded(overrides: Overrides | None = None) -> Replica:
    """Returns a replica of one component that the store has just confirmed."""
    replica = Replica(cast("Store", Believer()))
    replica.recall(LastState(replace(ABOUT, confirmed_s=time.time()), [(rolling_out(), {})]))
    if overrides is not None:
        known = replica.get("restyler")
        assert known is not None
        known.overrides = overrides
    replica._clock.ahead_ms = 0.0
    replica._is_in_doubt = False
    replica.loaded.set()
    return replica


async def test_a_change_is_kept_at_the_next_turn_and_another_epoch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    is_over = asyncio.Event()
    kept, replica = Kept(), loaded()
    keeping = LastStateKeeper(replica, kept)

    async def comes(event: asyncio.Event, within_s: float) -> bool:
        waited.append(within_s)
        if len(waited) == 4:
            is_over.set()
            await asyncio.Event().wait()
        return event.is_set()

    monkeypatch.setattr(last_state_keeper, "_comes", comes)
    async with in_background(keeping.run()):
        await is_over.wait()
        assert waited == [10.0, 50.0, 10.0, 50.0]
        assert [each.epoch for each in kept.written] == [each.epoch for each in kept.confirmed] == ["e1"]
        assert not keeping._is_urgent.is_set()
        replica._state.epoch = "e2"
        keeping.reloaded()
        assert keeping._is_urgent.is_set()
    await keeping.end()
    assert [(each.epoch, each.is_last) for each in kept.written[1:]] == [("e2", True)]


async def test_a_state_that_has_not_changed_is_not_written_again() -> None:
    """Expect only the time of its confirmation, also at the end. If the file is not there any more, expect a whole one."""
    kept = Kept()
    keeping = LastStateKeeper(loaded(), kept)
    for is_last in (False, False, True):
        await keeping._keep(is_last=is_last)
    assert [len(kept.written), [each.is_last for each in kept.confirmed]] == [1, [False, True]]

    kept.has_state = False
    await keeping.end()
    assert len(kept.written) == 2
    kept.has_state = True
    keeping.applied(FeedEntry("9-1", "8-1"), None, None)
    await keeping.end()
    assert (len(kept.written), len(kept.confirmed)) == (3, 3)


async def test_components_are_encoded_and_let_go_one_by_one() -> None:
    """Expect no long step, neither at the begin nor at the end, however many components there are."""
    keeping = LastStateKeeper(loaded(), Kept())
    taken = deque(_Taken(replace(rolling_out(), component=name), {}, {}) for name in ("a", "b"))
    lines = keeping._encoded((), taken)
    assert len(taken) == 2
    assert next(lines) == b"a0"
    assert [each.rollout.component for each in taken] == ["b"]
    assert list(lines) == [b"b0"]
    assert not taken


async def test_a_state_that_was_only_recalled_is_not_written() -> None:
    kept = Kept()
    await LastStateKeeper(recalled(), kept).end()
    assert kept.written == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("a defect")])
async def test_a_failed_write_is_tried_again_and_ends_nothing(error: Exception) -> None:
    kept = Kept()
    keeping = LastStateKeeper(loaded(), kept)
    kept.error = error
    await keeping._keep(is_last=False)
    assert keeping._is_changed.is_set()
    kept.error = None
    await keeping._keep(is_last=False)
    assert len(kept.written) == 1
    assert not keeping._is_changed.is_set()


def test_a_later_confirmation_of_the_same_state_counts(file: LastStateFile) -> None:
    later = replace(ABOUT, confirmed_s=ABOUT.confirmed_s + 60, clock_ahead_ms=7.0, is_last=True)
    assert file.confirm(later)
    state = file.read()
    assert state is not None
    assert (state.about, len(state.components)) == (later, 2)

    # A confirmation of another state and one that was damaged do not count; nor does one of before the last write.
    assert not file.confirm(replace(later, entry_id="9-9"))
    assert not file.confirm(replace(later, epoch="e2"))
    content = file.confirmed_path.read_bytes()
    file.write(replace(ABOUT, entry_id="6-0"), [])
    file.confirmed_path.write_bytes(content)
    file.confirmed_path.chmod(0o600)
    assert (found := file.read()) is not None
    assert found.about == replace(ABOUT, entry_id="6-0")
    file.write(replace(ABOUT, confirmed_s=ABOUT.confirmed_s + 9), [])
    assert file.confirm(later)
    file.confirmed_path.write_bytes(file.confirmed_path.read_bytes()[:-9])
    assert (found := file.read()) is not None
    assert found.about == replace(ABOUT, confirmed_s=ABOUT.confirmed_s + 9)
    assert file.confirm(later)
    file.write(replace(ABOUT, confirmed_s=ABOUT.confirmed_s + 30), lines(file, (rolling_out(), PINNED)))
    assert not file.confirmed_path.exists()
    file.path.unlink()
    assert not file.confirm(later)
    assert file.read() is None


async def test_the_event_loop_continues_while_a_large_state_is_written(tmp_path: Path) -> None:
    """Measured by the CPU time of the thread between two turns, so that other processes of the machine don't count."""
    overrides = Overrides()
    overrides.set_all((filling.repo(number), choice_of(filling.override(number))) for number in range(200_000))
    file = file_in(tmp_path)
    writing = asyncio.create_task(LastStateKeeper(loaded(overrides), file)._write(is_last=False))
    # What other tests have left is not looked at for garbage meanwhile.
    gc.freeze()
    try:
        longest_s, began_s = 0.0, time.thread_time()
        while not writing.done():
            await asyncio.sleep(0)
            now_s = time.thread_time()
            longest_s, began_s = max(longest_s, now_s - began_s), now_s
    finally:
        gc.unfreeze()
    assert longest_s < LONGEST_PAUSE_S
    state = file.read()
    assert state is not None
    replica = Replica(cast("Store", Believer()))
    replica.recall(state)
    [known] = replica.components()
    assert isinstance(known, Component)
    assert dict(known.overrides.items()) == dict(overrides.items())
