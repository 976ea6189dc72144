"""The access list in force is what the file says, and stays so while the file can't be used."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from rampd._contract.token import digest_of, new_token
from rampd_server.access import following
from rampd_server.access.access_file import AccessFileError
from rampd_server.access.credentials import Credentials
from rampd_server.access.grants import Grant, Trust
from rampd_server.metrics.counting import Counts
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
        self.reloads = Counts()
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
    task = asyncio.create_task(following.follow(made.path, made.credentials, names=NAMES, reloads=made.reloads))
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


async def test_a_broken_file_changes_nothing_and_is_told_once_with_every_mistake(world: World) -> None:
    world.write('[[grant]]\nname = "ci"\nrole = "root"\n[[grant]]\nname = "b"\n')
    await eventually_async(lambda: bool(world.events("access_file_refused")))
    await asyncio.sleep(0.1)
    [line] = world.events("access_file_refused")
    assert line["mistakes"] == (
        "grant ci: role: 'root' is not one of launcher, viewer, ci, operator, admin.",
        "grant b: role is missing.",
    )
    assert line["what_it_means"] == "the grants of before stay in force"
    assert await world.is_proven(FIRST)
    world.write(text_of(SECOND))
    await eventually_async(lambda: world.credentials.generation == 2)
    assert await world.is_proven(SECOND)
    assert world.reloaded() == {"refused": 1, "used": 1}


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


async def test_what_is_too_wide_is_a_warning_in_the_log(world: World) -> None:
    world.write('[[grant]]\nname = "all"\nrole = "viewer"\neverybody = true\n')
    await eventually_async(lambda: bool(world.events("access_too_wide")))
    [line] = world.events("access_too_wide")
    assert line["warning"].startswith("grant all: everybody who reaches the server is viewer")


async def test_a_change_beside_a_link_is_seen(world: World) -> None:
    """Given what Kubernetes makes of a secret, a link that is pointed at another folder, expect the new grants."""
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
    with pytest.raises(AccessFileError, match="Others than its owner may write"):
        following.load(path, names=NAMES)
