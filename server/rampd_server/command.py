"""The commands of `rampd-server` that need a store: serve, adopt, export, import and upgrade."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from rampd_server import app, workers
from rampd_server.access import token_commands
from rampd_server.backup import commands as backup_commands
from rampd_server.process import adopting, config, event_loop, logs, startup
from rampd_server.process.config import Command, Config
from rampd_server.process.embedded import embedded_store, embedded_store_of_before
from rampd_server.process.signals import run_until, stop_signals
from rampd_server.process.startup import StartupError
from rampd_server.rpc.binding import NAMES


def run(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    if arguments and arguments[0] in token_commands.COMMANDS:
        return token_commands.run(arguments, names=NAMES)
    try:
        command, settings, options = config.read(arguments)
        logs.configure(settings.log_format, settings.log_level)
        match command:
            case Command.SERVE:
                event_loop.run(_serve(settings))
            case Command.ADOPT:
                event_loop.run(_adopt(settings))
            case Command.EXPORT | Command.IMPORT | Command.UPGRADE:
                event_loop.run(_back_up(command, settings, options))
    except StartupError as error:
        return startup.report(error)
    except KeyboardInterrupt:  # Ctrl-C before the signal handlers were set
        return 130
    return 0


async def _serve(settings: Config) -> None:
    with stop_signals() as stop:
        await run_until(stop, _serve_on_store(settings))


async def _serve_on_store(settings: Config) -> None:
    async with _store(settings) as redis_url:
        await (workers if settings.workers > 1 else app).serve(settings, redis_url)


@contextlib.asynccontextmanager
async def _store(settings: Config) -> AsyncIterator[str]:
    """Gives the URL of the store. An embedded store is kept running; if that fails, the block is cancelled."""
    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
        return
    with startup.ungrouped():
        async with embedded_store(settings.data_dir) as store, asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(store.keep())
            yield store.url
            keeping.cancel()


@contextlib.asynccontextmanager
async def _known_store(settings: Config) -> AsyncIterator[str]:
    """Gives the URL of a store that exists already: a new embedded store has nothing to adopt."""
    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
        return
    async with embedded_store_of_before(settings.data_dir) as url:
        yield url


async def _adopt(settings: Config) -> None:
    async with _known_store(settings) as redis_url:
        adopted = await app.adopt(settings, redis_url)
    place = f"the Valkey in {settings.data_dir}" if settings.redis_url is None else str(settings.redis_url)
    startup.say(
        f"Adopted: the namespace {settings.namespace} of {place} goes on as it is now, in epoch {adopted.epoch}."
    )
    if not adopted.may_have_components:
        startup.say(
            "The namespace has no component. Launchers keep their versions for 5 minutes (next_max_stale). After that they run "
            "their fallback or fail, until you call Release. If you expected components, check --namespace and the store."
        )
    startup.say(adopting.followers(adopted.servers))


async def _back_up(command: Command, settings: Config, options: frozenset[str]) -> None:
    async with _known_store(settings) as redis_url:
        await backup_commands.run(command, settings, options, redis_url)
