"""`rampd-server export`, `import` and `upgrade`: from the store to standard output, from standard input to the store, and of the store."""

import hashlib
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from rampd_server.backup import exporting, importing, lines, plan, table, upgrading
from rampd_server.backup.lines import Content, InputError
from rampd_server.domain.errors import RampdError
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.wording import counted
from rampd_server.ports import Author, ConflictError
from rampd_server.process.adopting import adopt_command, followers
from rampd_server.process.config import Command, Config
from rampd_server.process.startup import StartupError, say
from rampd_server.storage.followers import count_servers
from rampd_server.storage.importing import Import, NotEmptyError
from rampd_server.storage.link import COMMAND_DEADLINE_S, Link
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from rampd_server.storage.store import RedisStore
from rampd_server.storage.together import together

_TRIES: Final = 10
"""How often a merge is planned again because the namespace has changed meanwhile."""


async def run(command: Command, settings: Config, options: frozenset[str], redis_url: str) -> None:
    """Runs one of the three commands. Raises StartupError."""
    async with _link(settings, redis_url) as link:
        if options == {"yes"} or {"merge", "discard"} <= options:
            raise StartupError("--yes goes with --merge, and --merge does not go with --discard.")
        if command is Command.EXPORT:
            await _export(link, settings.namespace, with_history="history" in options)
        elif command is Command.UPGRADE:
            say(await upgrading.upgrade(link, settings.namespace, is_forced="force" in options))
        elif "discard" in options:
            await _discard(link, settings.namespace)
        elif "merge" in options:
            await _merge(link, settings.namespace, is_wanted="yes" in options)
        else:
            await _import(link, settings.namespace)


@asynccontextmanager
async def _link(settings: Config, redis_url: str) -> AsyncGenerator[Link]:
    """Gives a link to the namespace. Turns errors of the store into StartupError."""
    link = Link.connect(
        redis_url,
        namespace=settings.namespace,
        adopt_command=adopt_command(settings, redis_url),
        deadline_s=COMMAND_DEADLINE_S,
    )
    try:
        await check_server(link)
        yield link
    except (RampdError, UnsuitableStoreError) as error:
        raise StartupError(str(error)) from error
    except InputError as error:
        raise StartupError(*error.sentences) from error
    finally:
        await link.close()


async def _export(link: Link, namespace: str, *, with_history: bool) -> None:
    if sys.stdout is None or sys.stdout.isatty():
        raise StartupError("export writes a file to standard output: add > FILE.")
    done = await exporting.export(RedisStore(link), namespace, _write, with_history=with_history)
    events = f", {counted(done.events, 'event')} of their history" if with_history else ""
    print(
        f"Exported {counted(done.components, 'component')} with {counted(done.overrides, 'override')}{events}, as of the feed's "
        f"entry {done.entry}.",
        file=sys.stderr,
    )


async def _import(link: Link, namespace: str) -> None:
    given = _read()
    target = Import(link, hashlib.sha256(given).hexdigest())
    content = _content(given, now_ms=await target.now_ms())
    try:
        is_begun = await target.begin()
    except NotEmptyError:
        raise StartupError(
            f"The namespace {namespace} is not empty, so nothing was imported. Give another one with --namespace, or look "
            "with --merge at what would change."
        ) from None
    if not is_begun:
        say(
            f"This input made the namespace {namespace} before, so nothing was changed. Later changes stay. To see them, type "
            "import --merge."
        )
        return
    epoch = await importing.write(target, content)
    overrides = sum(len(overrides) for _, overrides in content.components)
    say(
        f"Imported {counted(len(content.components), 'component')} with {counted(overrides, 'override')} into the namespace "
        f"{namespace}, in epoch {epoch}."
    )
    say(followers(await count_servers(link)))


async def _merge(link: Link, namespace: str, *, is_wanted: bool) -> None:
    store = RedisStore(link)
    head = await exporting.head_of(store)
    store.set_epoch(head.epoch)
    content = _content(_read(), now_ms=head.time_ms)
    actor = importing.actor()
    for _ in range(_TRIES):
        with suppress(ConflictError):
            async with together(link) as at_once:
                made = await plan.make(store, content, Context(head.time_ms, actor, content.note))
                if is_wanted and made.changes:
                    await at_once.commit(made.changes, Author(actor, importing.ACTION, content.note))
            break
    else:
        raise StartupError("Nothing was merged, because the namespace changes all the time. Try again in a moment.")
    say(*made.lines())
    number = counted(len(made.changes), "component")
    if not made.changes:
        say(f"Nothing differs, so nothing was changed in the namespace {namespace}.")
    elif is_wanted:
        say(f"Merged {number} into the namespace {namespace}.")
    else:
        say(f"Nothing was changed. To change {number} of the namespace {namespace}, type the same command with --yes.")


async def _discard(link: Link, namespace: str) -> None:
    if await Import(link, "discarded").discard():
        say(f"The namespace {namespace} is empty. A server that runs on it writes nothing until an import or an adopt.")
    else:
        say(f"No import into the namespace {namespace} is under way, so nothing was discarded.")


def _read() -> bytes:
    """Reads standard input to its end."""
    if sys.stdin is None or sys.stdin.isatty():
        raise StartupError("import reads a file from standard input: add < FILE.")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StartupError(f"Standard input can't be read: {error.strerror}.") from error


def _content(given: bytes, *, now_ms: int) -> Content:
    try:
        return (
            lines.read(given) if lines.is_export(given) else table.read(given, actor=importing.actor(), now_ms=now_ms)
        )
    except InputError as error:
        raise StartupError(*error.sentences) from error


def _write(line: bytes) -> None:
    """Writes to standard output at once: nothing is left for the end of the process, where an error would not be told."""
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
    except OSError as error:
        raise StartupError(
            f"Standard output can't be written: {error.strerror}. What was written is not whole."
        ) from error
