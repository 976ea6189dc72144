"""What `rampd-server` does: serve, or adopt."""

import contextlib
from collections.abc import Iterator, Sequence

from rampd_server import app, config, event_loop, logs, startup, workers
from rampd_server.config import Command, Config
from rampd_server.embedded import embedded_store, embedded_store_of_before
from rampd_server.signals import stop_signals
from rampd_server.startup import StartupError


def run(arguments: Sequence[str]) -> int:
    """Runs the command; its exit code."""
    try:
        command, settings = config.read(arguments)
        logs.configure(settings.log_format, settings.log_level)
        if command is Command.ADOPT:
            with _known_store(settings) as redis_url:
                event_loop.run(_adopt(settings, redis_url))
        else:
            with _store(settings) as redis_url:
                event_loop.run(_serve(settings, redis_url))
    except StartupError as error:
        return startup.report(error)
    except KeyboardInterrupt:  # before anything was there to be stopped
        return 130
    return 0


@contextlib.contextmanager
def _store(settings: Config) -> Iterator[str]:
    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
    else:
        with embedded_store(settings.data_dir) as url:
            yield url


@contextlib.contextmanager
def _known_store(settings: Config) -> Iterator[str]:
    """A store that somebody has used: there is nothing to adopt in one that is made for it."""
    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
    else:
        with embedded_store_of_before(settings.data_dir) as url:
            yield url


async def _serve(settings: Config, redis_url: str) -> None:
    with stop_signals() as stop:
        if settings.workers > 1:
            await workers.serve(settings, redis_url, stop)
        else:
            await app.serve(settings, redis_url, stop)


async def _adopt(settings: Config, redis_url: str) -> None:
    epoch, servers = await app.adopt(settings, redis_url)
    place = f"the Valkey in {settings.data_dir}" if settings.redis_url is None else str(settings.redis_url)
    print(f"Adopted: the namespace {settings.namespace} of {place} goes on as it is now, in epoch {epoch}.")
    print(_followers(servers))


def _followers(servers: int | None) -> str:
    if servers is None:
        return (
            "How many servers follow it is not known, since Redis denies CLIENT LIST to this user; those that run take it "
            "over within seconds."
        )
    if not servers:
        return "No server is connected to it now; one that starts goes on with it."
    many = "1 server follows it and takes it" if servers == 1 else f"{servers} servers follow it and take it"
    return f"{many} over within seconds."
