"""The access list in force follows the file. It does not change while the file can't be used."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from rampd._contract.token import digest_of, new_token
from rampd._runtime.file_stamp import stamp_of
from rampd_server.access import following
from rampd_server.access.access_file import AccessFileError, AccessList
from rampd_server.access.credentials import Credentials
from rampd_server.access.grants import Grant, Trust
from rampd_server.metrics.counting import Reloads
from rampd_server.rpc.binding import NAMES
from tests.waiting import eventually_async

FIRST, SECOND = new_token(), new_token()


class NobodysTokens:
    async def verify(self, token: str, trusts: Iterable[tuple[Grant, Trust]]) -> tuple[Grant, float]:
        raise AssertionError(token)


def text_of(*tokens: str) -> str:
    digests = ", ".join(f'"{digest_of(token)}"' for token in tokens)
    return f'[[grant]]\nname = "ci"\nrole = "ci"\ntokens = [{digests}]\n'


class World:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "access.toml"
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.write(text_of(FIRST))
        self.stamp = stamp_of(self.path)
        self.reloads = Reloads()
        self.credentials = Credentials(following.load(self.path, names=NAMES), NobodysTokens())

    def write(self, text: str, mode: int = 0o600) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        beside.chmod(mode)
        beside.replace(self.path)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [pairs for event, pairs in self.logged if event == name]

    def reloaded(self) -> dict[str, int]:
        return {result: number for (result,), number in self.reloads.items()}

    async def is_proven(self, token: str) -> bool:
        with contextlib.suppress(Exception):
            await self.credentials.prove(f"Bearer {token}")
            return True
        return False


@pytest.fixture
async def world(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(following, "_LOOK_S", 0.01)
    made = World(directory)
    for level in ("info", "warning", "error"):
        monkeypatch.setattr(
            following._log, level, lambda event, **pairs: made.logged.append((event, pairs)), raising=False
        )
    task = asyncio.create_task(
        following.follow(made.path, made.credentials, names=NAMES, known=made.stamp, reloads=made.reloads)
    )
    yield made
    assert not task.done()
    task.cancel()


async def test_a_changed_file_is_in_force(world: World) -> None:
    assert await world.is_proven(FIRST)
    world.write(text_of(SECOND))
    await eventually_async(lambda: world.credentials.generation == 2)
    assert not await world.is_proven(FIRST)
    assert await world.is_proven(SECOND)
    assert world.events("access_file_read") == [{"file": str(world.path), "grants": 1}]
    assert world.reloaded() == {"used": 1}


async def test_a_file_that_did_not_change_is_not_read_again(world: World) -> None:
    await asyncio.sleep(0.1)
    assert world.credentials.generation == 1


async def test_a_broken_file_changes_nothing_and_is_logged_once_with_every_mistake(world: World) -> None:
    world.write('[[grant]]\nname = "ci"\nrole = "root"\neverybody = true\n[[grant]]\nname = "b"\ntokens = [3]\n')
    await eventually_async(lambda: bool(world.events("access_file_refused")))
    await asyncio.sleep(0.1)
    [line] = world.events("access_file_refused")
    assert line["mistakes"] == (
        "grant ci: role: 'root' is not one of launcher, viewer, ci, operator, admin.",
        "grant b: role is missing.",
        "grant b: tokens.0: input should be a valid string.",
    )
    assert line["what_it_means"] == "the earlier grants stay in force"
    assert await world.is_proven(FIRST)
    assert world.reloads.is_refused
    world.write(text_of(SECOND))
    await eventually_async(lambda: world.credentials.generation == 2)
    assert await world.is_proven(SECOND)
    assert world.reloaded() == {"refused": 1, "used": 1}
    assert not world.reloads.is_refused


async def test_a_change_between_the_first_reading_and_the_following_is_seen(world: World) -> None:
    """Given a token that is revoked while the server has read its file and waits for its store, expect a refusal."""
    world.write(text_of(SECOND))
    later = asyncio.create_task(
        following.follow(
            world.path,
            other := Credentials(AccessList(()), NobodysTokens()),
            names=NAMES,
            known=world.stamp,
            reloads=Reloads(),
        )
    )
    await eventually_async(lambda: other.generation == 2)
    later.cancel()


@pytest.mark.parametrize("what", ["the file", "its folder"])
async def test_a_file_that_others_can_t_write_any_more_is_in_force(world: World, what: str) -> None:
    """Given an admin who types the chmod that the log names, expect the new grants."""
    place = world.path if what == "the file" else world.path.parent
    world.path.parent.chmod(0o770 if what == "its folder" else 0o700)
    world.write(text_of(SECOND), mode=0o660 if what == "the file" else 0o600)
    await eventually_async(lambda: bool(world.events("access_file_refused")))
    await asyncio.sleep(0.1)
    [line] = world.events("access_file_refused")
    assert line["mistakes"][0].endswith(f"Type chmod go-w {place}")
    place.chmod(0o700)
    await eventually_async(lambda: world.credentials.generation == 2)
    assert await world.is_proven(SECOND)


@pytest.mark.parametrize("what", ["too deep", "a long number", "a folder", "a pipe"])
async def test_the_file_is_followed_again_after_something_else_was_in_its_place(world: World, what: str) -> None:
    if what == "too deep":
        world.write("x = " + "[" * 5_000)
    elif what == "a long number":
        world.write("x = " + "9" * 5_000)
    else:
        world.path.unlink()
        world.path.mkdir() if what == "a folder" else os.mkfifo(world.path, 0o600)
    await eventually_async(lambda: bool(world.events("access_file_refused")))
    assert await world.is_proven(FIRST)
    if what == "a folder":
        world.path.rmdir()
    world.write(text_of(SECOND))
    await eventually_async(lambda: world.credentials.generation == 2)
    assert await world.is_proven(SECOND)


@pytest.mark.parametrize("what", ["writable", "gone", "no text"])
async def test_a_file_that_can_t_be_trusted_or_read_changes_nothing(world: World, what: str) -> None:
    if what == "gone":
        world.path.unlink()
    elif what == "no text":
        world.path.write_bytes(b"\xff\xfe\xff")
    else:
        world.write(text_of(SECOND), mode=0o660)
    await eventually_async(lambda: bool(world.events("access_file_refused")))
    assert await world.is_proven(FIRST)
    assert not await world.is_proven(SECOND)


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_file_is_read_as_soon_as_its_mode_is_mended(world: World, what: str) -> None:
    """Given a file or a folder that others may write to, and the chmod that the log asks for, expect the new grants."""
    mended, mode = (world.path, 0o660) if what == "file" else (world.path.parent, 0o770)
    if what == "folder":
        mended.chmod(mode)
    world.write(text_of(SECOND), mode=0o660 if what == "file" else 0o600)
    await eventually_async(lambda: bool(world.events("access_file_refused")))
    await asyncio.sleep(0.1)
    assert len(world.events("access_file_refused")) == 1
    mended.chmod(mode & 0o700)
    await eventually_async(lambda: bool(world.events("access_file_read")))
    assert await world.is_proven(SECOND)
    assert not await world.is_proven(FIRST)


async def test_a_grant_that_is_too_wide_is_a_warning_in_the_log(world: World) -> None:
    world.write('[[grant]]\nname = "all"\nrole = "viewer"\neverybody = true\n')
    await eventually_async(lambda: bool(world.events("access_file_warning")))
    [line] = world.events("access_file_warning")
    assert line["warning"].startswith("grant all: everybody who reaches the server has the role viewer")


async def test_an_empty_file_changes_nothing_and_one_with_a_comment_lets_nobody_in(world: World) -> None:
    """Given a copy that is interrupted before its first byte, expect the grants of before. Given a file that says that it has
    no grants, expect that it is in force, with a warning in the log.
    """
    world.write("\n")
    await eventually_async(lambda: bool(world.events("access_file_refused")))
    [line] = world.events("access_file_refused")
    assert line["mistakes"] == ("It is empty. To let nobody in, write a line such as: # A caller needs a grant here.",)
    assert await world.is_proven(FIRST)
    world.write("# A caller needs a grant here.")
    await eventually_async(lambda: world.credentials.generation == 2)
    assert not await world.is_proven(FIRST)
    await eventually_async(lambda: bool(world.events("access_file_warning")))
    assert world.events("access_file_warning")[0]["warning"].startswith("There is no grant, so nobody gets in")


async def test_a_change_beside_a_link_is_seen(world: World) -> None:
    """Given a link to another folder, which is how Kubernetes replaces a secret, expect the new grants."""
    folder = world.path.parent
    for name, token in (("one", FIRST), ("two", SECOND)):
        (folder / name).mkdir()
        (folder / name / "access.toml").write_text(text_of(token))
    world.path.unlink()
    world.path.symlink_to(Path("one") / "access.toml")
    await eventually_async(lambda: bool(world.events("access_file_read")))
    beside = folder / "beside"
    beside.symlink_to(Path("two") / "access.toml")
    beside.replace(world.path)
    await eventually_async(lambda: len(world.events("access_file_read")) == 2)
    assert await world.is_proven(SECOND)


def test_a_file_is_not_read_where_somebody_else_could_have_written_it(directory: Path) -> None:
    path = directory / "access.toml"
    path.write_text(text_of(FIRST))
    path.chmod(0o622)
    with pytest.raises(AccessFileError, match="Users other than its owner may write"):
        following.load(path, names=NAMES)
