"""`rampd-server export` and `rampd-server import`: from the store to standard output, and from standard input to the store."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from rampd_server.backup import exporting
from rampd_server.domain.errors import RampdError
from rampd_server.domain.wording import counted
from rampd_server.process.adopting import adopt_command
from rampd_server.process.config import Command, Config
from rampd_server.process.startup import StartupError
from rampd_server.storage.link import Link
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from rampd_server.storage.store import RedisStore


async def run(command: Command, settings: Config, options: frozenset[str], redis_url: str) -> None:
    """Runs one of the two commands. Raises StartupError."""
    async with _store(settings, redis_url) as store:
        if command is Command.EXPORT:
            await _export(store, with_history="history" in options)


@asynccontextmanager
async def _store(settings: Config, redis_url: str) -> AsyncGenerator[RedisStore]:
    """Gives the store of a namespace. Turns errors of the store into StartupError."""
    link = Link.connect(redis_url, namespace=settings.namespace, adopt_command=adopt_command(settings, redis_url))
    try:
        await check_server(link)
        yield RedisStore(link)
    except (RampdError, UnsuitableStoreError) as error:
        raise StartupError(str(error)) from error
    finally:
        await link.close()


async def _export(store: RedisStore, *, with_history: bool) -> None:
    if sys.stdout.isatty():
        raise StartupError("export writes a file to standard output: add > FILE.")
    done = await exporting.export(store, _write, with_history=with_history)
    events = f", {counted(done.events, 'event')} of their history" if with_history else ""
    print(
        f"Exported {counted(done.components, 'component')} with {counted(done.overrides, 'override')}{events}, as of the feed's "
        f"entry {done.entry}.",
        file=sys.stderr,
    )


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
