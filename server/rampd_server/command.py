"""What `rampd-server` does: serve, or adopt."""

import contextlib
from collections.abc import Iterator, Sequence

from rampd_server import app, config, event_loop, logs, startup, workers
from rampd_server.config import Command, Config
from rampd_server.embedded import embedded_store
from rampd_server.signals import stop_signals
from rampd_server.startup import StartupError


def run(arguments: Sequence[str]) -> int:
    """Runs the command; its exit code."""
    try:
        command, settings = config.read(arguments)
        logs.configure(settings.log_format, settings.log_level)
        with _store(settings) as redis_url:
            event_loop.run(_serve(settings, redis_url) if command is Command.SERVE else _adopt(settings, redis_url))
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


async def _serve(settings: Config, redis_url: str) -> None:
    with stop_signals() as stop:
        if settings.workers > 1:
            await workers.serve(settings, redis_url, stop)
        else:
            await app.serve(settings, redis_url, stop)


async def _adopt(settings: Config, redis_url: str) -> None:
    epoch = await app.adopt(settings, redis_url)
    print(
        f"Adopted: the namespace {settings.namespace} goes on as it is now, in epoch {epoch}. "
        "Servers that run take it over within a second."
    )
