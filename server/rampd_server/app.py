"""Puts the server together: the one place that knows all the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial

import structlog

from rampd.validation import violations
from rampd_server import files
from rampd_server.access import Access
from rampd_server.address import Address
from rampd_server.automation.checks import Checks, NoSource
from rampd_server.automation.controller import Controller
from rampd_server.automation.prometheus import Prometheus, TokenError, read_token
from rampd_server.caretaker import Caretaker
from rampd_server.config import Config
from rampd_server.domain.errors import (
    HOW_TO_ADOPT,
    RampdError,
    StoreMisconfiguredError,
    StoreResetError,
    StoreUnavailableError,
)
from rampd_server.outage import Outage
from rampd_server.outcomes import Outcomes
from rampd_server.replica import Replica
from rampd_server.rpc.binding import bind
from rampd_server.rpc.release import ReleaseServicer
from rampd_server.rpc.resolver import ResolverServicer
from rampd_server.rpc.rollout import RolloutServicer
from rampd_server.rpc.server import Server
from rampd_server.rpc.watch import Watches
from rampd_server.rpc.watch_release import ReleaseWatches
from rampd_server.service import Service
from rampd_server.startup import StartupError, ungrouped
from rampd_server.storage.followers import count_servers, name_of_server
from rampd_server.storage.redis_checks import RedisChecks
from rampd_server.storage.redis_store import RedisStore
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from rampd_server.welcome import welcome

_GRACE_S = 5.0
_RETRY_S = 0.5
_HEALTH_S = 0.25

log = structlog.get_logger()


@asynccontextmanager
async def running(config: Config, redis_url: str, *, worker: int | None = None) -> AsyncIterator[Address]:
    """A server that answers, for as long as the block lasts; where it listens.

    `worker` is its number among those that share the port: see `workers.py`. Without `wait_for_store` the store must be
    there; with it, the server answers NOT_SERVING until it is. Raises StartupError: an address is taken, the store is
    not one to build on, or Prometheus' token can't be read.
    """
    # A worker that is not the first has no unix socket.
    max_connections = files.connections_of_each(files.raise_limit(), 1 if worker else 2)
    prometheus = _prometheus(config)
    source = prometheus or NoSource()
    store = RedisStore.connect(redis_url, namespace=config.namespace, name=name_of_server(config.namespace))
    replica = Replica(store)
    watches = Watches(replica)
    service = Service(store, replica)
    outcomes = Outcomes(store, replica)
    checks = Checks(RedisChecks(store), replica, source, timeout_s=config.prometheus_timeout)
    controller = Controller(service, replica, store, checks=checks)
    release_watches = ReleaseWatches(service, replica, controller.waits_for)
    caretaker = Caretaker(service, replica, store)
    beside = (
        *(caretaker.run, checks.run, controller.run, partial(controller.follow, outcomes.counted)),
        partial(files.tell_when_near, max_connections),
    )
    server = Server(
        bind(
            {
                "ResolverService": ResolverServicer(replica, watches, outcomes),
                "ReleaseService": ReleaseServicer(service, replica, store, release_watches),
                "RolloutService": RolloutServicer(service, replica, store, source),
            },
            violations=violations,
            access=Access(str(config.socket), insecure_admin=config.insecure_admin),
        ),
        reflect=config.reflection,
        shares_port=worker is not None,
        max_connections=max_connections,
    )
    try:
        is_prepared = await _look_at_store(store, may_wait=config.wait_for_store)
        address = server.listen(config.listen)
        if not worker:
            server.listen_unix(config.socket)
        await server.start()
        log.info("listening", address=str(address), socket=str(config.socket))
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(_keep(store, replica, server, *beside, is_prepared=is_prepared))
                if not config.wait_for_store:
                    await replica.loaded.wait()
                yield address
                keeping.cancel()
        finally:
            watches.close()
            release_watches.close()
            await server.stop(_GRACE_S)
    finally:
        if prometheus is not None:
            await prometheus.close()
        await store.close()


async def serve(config: Config, redis_url: str, *, worker: int | None = None) -> None:
    """Runs a server until cancelled. Raises StartupError, later too where the store turns out to be unsuitable."""
    with ungrouped():
        async with running(config, redis_url, worker=worker) as address:
            if not worker:
                print(welcome(config, address), flush=True)
            await asyncio.Event().wait()


def _prometheus(config: Config) -> Prometheus | None:
    if config.prometheus_url is None:
        return None
    if config.prometheus_token_file is not None:
        try:
            read_token(config.prometheus_token_file)
        except TokenError as error:
            raise StartupError(f"--prometheus-token-file (RAMPD_PROMETHEUS_TOKEN_FILE): {error}.") from error
    return Prometheus(
        config.prometheus_url,
        timeout_s=config.prometheus_timeout,
        token_file=config.prometheus_token_file,
        headers=config.prometheus_header.by_name if config.prometheus_header else None,
    )


async def adopt(config: Config, redis_url: str) -> tuple[str, int | None]:
    """Makes a new epoch in the namespace, of the store as it is now. The epoch, and how many servers are connected, where
    that is known. Raises StartupError.
    """
    store = RedisStore.connect(redis_url, namespace=config.namespace)
    try:
        await check_server(store)
        return await store.begin_epoch(adopted=True), await count_servers(store)
    except (RampdError, UnsuitableStoreError) as error:
        raise StartupError(str(error)) from error
    finally:
        await store.close()


async def _keep(
    store: RedisStore,
    replica: Replica,
    server: Server,
    *beside: Callable[[], Coroutine[None, None, None]],
    is_prepared: bool,
) -> None:
    """All that goes on beside the calls: wait for the store, follow it, and what else there is for ever."""
    if not is_prepared:
        await _wait_until_prepared(store)
    async with asyncio.TaskGroup() as tasks:
        for run in (replica.run, *beside):
            tasks.create_task(run())
        await replica.loaded.wait()
        await _tell_health(replica, server)


async def _tell_health(replica: Replica, server: Server) -> None:
    """Keeps the health service at what is so, for ever."""
    writes: bool | None = None
    while True:
        if writes != replica.is_confirmed:
            is_first, writes = writes is None, replica.is_confirmed
            await server.set_health(resolves=True, writes=writes)
            if is_first:
                log.info("serving")
            else:
                log.info("health_changed", writes="SERVING" if writes else "NOT_SERVING")
        await asyncio.sleep(_HEALTH_S)


async def _look_at_store(store: RedisStore, *, may_wait: bool) -> bool:
    """Whether the store is there. What ends the start is said before anything listens. Raises StartupError."""
    try:
        await _prepare(store)
    except StartupError as error:
        if not (may_wait and _may_heal(error.__cause__)):
            raise
        return False
    return True


async def _wait_until_prepared(store: RedisStore) -> None:
    outage = Outage("waiting_for_store", "store_found")
    while True:
        try:
            await _prepare(store)
            return outage.end()
        except StartupError as error:
            if not _may_heal(error.__cause__):
                raise
            outage.tell(str(error))
        await asyncio.sleep(_RETRY_S)


def _may_heal(cause: BaseException | None) -> bool:
    """Whether to wait may help. A reset is waited for too, since `rampd-server adopt` ends it."""
    if isinstance(cause, StoreMisconfiguredError):
        return False
    return isinstance(cause, StoreUnavailableError | StoreResetError)


async def _prepare(store: RedisStore) -> None:
    """Sees that the store is one to build on, and makes the first epoch in a namespace with no key at all."""
    try:
        not_checked = await check_server(store)
        if await store.head() is None:
            # Another server may have made the epoch between the two looks.
            if not await store.is_empty() and await store.head() is None:
                raise StoreResetError(
                    f"The namespace has data and no epoch: it was emptied or restored in part. To go on with it as it "
                    f"is, {HOW_TO_ADOPT}."
                )
            await store.begin_epoch(adopted=False)
        await store.raise_schema()
    except (RampdError, UnsuitableStoreError) as error:
        raise StartupError(str(error)) from error
    if not_checked:
        log.warning("store_not_checked", reason=not_checked)
