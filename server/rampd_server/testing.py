"""A real server in the process of a test; `rampd.testing` makes a pytest fixture from it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from rampd_server import app
from rampd_server.listeners import Listening
from rampd_server.process import logs
from rampd_server.process.address import Address
from rampd_server.process.config import Config
from rampd_server.process.embedded import embedded_store
from rampd_server.process.startup import ungrouped
from rampd_server.replica.older_copy import MAX_LOSS_S

_START_TIMEOUT_S = 30.0
STORE_DEADLINE_S = 10.0
"""Ten times as long as in production: the machine of a test may be busy, and few tests are about a slow store."""


@contextlib.contextmanager
def run(
    data_dir: Path,
    redis_url: str | None = None,
    *,
    store_deadline_s: float = STORE_DEADLINE_S,
    max_loss_s: float = MAX_LOSS_S,
    **settings: object,
) -> Iterator[str]:
    """Runs a server in a thread of its own for as long as the block lasts, and gives its target, `127.0.0.1:port`.

    Everything is served on TCP. The store is an embedded Valkey in `data_dir`, or the Redis at `redis_url`. A call of the
    store may take `store_deadline_s`. A store that lacks a change that it had for `max_loss_s` has an older copy of its data.
    `settings` are more fields of Config. Raises StartupError.
    """
    with listening(data_dir, redis_url, store_deadline_s=store_deadline_s, max_loss_s=max_loss_s, **settings) as found:
        yield str(found.grpc)


@contextlib.contextmanager
def listening(
    data_dir: Path,
    redis_url: str | None = None,
    *,
    store_deadline_s: float = STORE_DEADLINE_S,
    max_loss_s: float = MAX_LOSS_S,
    **settings: object,
) -> Iterator[Listening]:
    """As `run`, and gives all addresses: that of HTTP, too, if `settings` has `http`."""
    logs.hand_to_standard_library()
    defaults = {"listen": Address("127.0.0.1", 0), "insecure_admin": True, "wait_for_store": False}
    config = Config.model_validate({"data_dir": data_dir, **defaults, **settings})
    server = _Thread(config, redis_url, store_deadline_s, max_loss_s)
    server.start()
    try:
        yield server.listening()
    finally:
        server.stop()


class _Thread(threading.Thread):
    def __init__(self, config: Config, url: str | None, store_deadline_s: float, max_loss_s: float) -> None:
        super().__init__(name="rampd-server", daemon=True)
        self._config = config
        self._url = url
        self._store_deadline_s = store_deadline_s
        self._max_loss_s = max_loss_s
        self._ready = threading.Event()
        self._listening: Listening | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - the test's thread must see every error
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        with ungrouped():
            async with (
                self._store() as url,
                app.running(
                    self._config, url, store_deadline_s=self._store_deadline_s, max_loss_s=self._max_loss_s
                ) as found,
            ):
                self._listening = found
                self._ready.set()
                await self._end.wait()

    @contextlib.asynccontextmanager
    async def _store(self) -> AsyncIterator[str]:
        if self._url is not None:
            yield self._url
            return
        async with embedded_store(self._config.data_dir) as store:
            yield store.url

    def listening(self) -> Listening:
        self._ready.wait(_START_TIMEOUT_S)
        if self._error is not None:
            raise self._error
        if self._listening is None:
            raise TimeoutError(f"the server did not start within {_START_TIMEOUT_S:g} s")
        return self._listening

    def stop(self) -> None:
        if self._loop is not None and self._end is not None and self.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self.join(_START_TIMEOUT_S)
