"""Puts the server together. Only this module knows all the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog

from rampd_server.access.oidc import OidcVerifier
from rampd_server.automation.checks import Checks, NoSource
from rampd_server.automation.controller import Controller
from rampd_server.automation.marks import Marks
from rampd_server.automation.prometheus import Prometheus, TokenError, read_token
from rampd_server.caretaker import Caretaker
from rampd_server.domain.errors import (
    RampdError,
    StoreMisconfiguredError,
    StoreResetError,
    StoreUnavailableError,
    ways_on,
)
from rampd_server.doors import Doors
from rampd_server.http.server import HttpServer
from rampd_server.listeners import Listeners, Listening, Measured
from rampd_server.metering import Metering
from rampd_server.metrics import sharing
from rampd_server.metrics.collector import Collector, Scraped
from rampd_server.process import memory, open_files
from rampd_server.process.adopting import adopt_command
from rampd_server.process.config import Config
from rampd_server.process.embedded import is_embedded
from rampd_server.process.outage import Outage
from rampd_server.process.redis_url import place_of
from rampd_server.process.startup import StartupError, ungrouped
from rampd_server.process.welcome import welcome
from rampd_server.replica.last_state_keeper import LastStateKeeper
from rampd_server.replica.older_copy import MAX_LOSS_S
from rampd_server.replica.replica import Replica
from rampd_server.rpc.preview import SeenPreviewer
from rampd_server.rpc.release import ReleaseServicer
from rampd_server.rpc.resolver import ResolverServicer
from rampd_server.rpc.rollout import RolloutServicer
from rampd_server.rpc.server import Servers
from rampd_server.rpc.server_status import ServerStatus
from rampd_server.rpc.watch.release import ReleaseWatches
from rampd_server.rpc.watch.watch import Watches
from rampd_server.service.marking import Marking
from rampd_server.service.outcome_intake import Outcomes
from rampd_server.service.seen_repos import SeenRepos
from rampd_server.service.service import Service
from rampd_server.storage.checks import RedisChecks
from rampd_server.storage.followers import count_servers, name_of_server
from rampd_server.storage.last_state import LastStateFile
from rampd_server.storage.link import COMMAND_DEADLINE_S, DEADLINE_S, Link
from rampd_server.storage.marks import RedisMarks
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.seen import RedisSeen
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from rampd_server.storage.store import RedisStore
from rampd_server.storage.store_status import RedisStatus

_GRACE_S = 5.0
_RETRY_S = 0.5
_HEALTH_S = 0.25

log = structlog.get_logger()


class Worker(NamedTuple):
    """A server among several that share a port."""

    number: int
    folder: Path | None
    """Where the workers and their parent share their metrics; None without the HTTP port."""


@asynccontextmanager
async def running(
    config: Config,
    redis_url: str,
    *,
    worker: Worker | None = None,
    store_deadline_s: float = DEADLINE_S,
    max_loss_s: float = MAX_LOSS_S,
    growing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> AsyncIterator[Listening]:
    """Runs a server for as long as the block lasts, and gives the addresses that it listens on.

    `worker` is the server among the workers that share the port: see `workers.py`. Without `wait_for_store`
    the store must answer at the start. With it, the server answers from the state that it served last, or NOT_SERVING,
    until the store answers. `store_deadline_s` is how long a call of the store may take. A change that the store had
    for `max_loss_s` is not lost by a failover. What brings all components into memory runs within `growing`: `memory.growing`
    where this server is all that the process does. Raises StartupError if an address is taken, if the store is not suitable, or if the
    token for Prometheus can't be read.
    """
    doors = Doors(config, OidcVerifier())
    is_first = worker is None or worker.number == 0
    listeners = Listeners(config, doors, worker=None if worker is None else worker.number)
    prometheus = _prometheus(config)
    source = prometheus or NoSource()
    link = Link.connect(
        redis_url,
        namespace=config.namespace,
        name=name_of_server(config.namespace),
        adopt_command=adopt_command(config, redis_url),
        deadline_s=store_deadline_s,
        wait_replicas=config.wait_replicas,
    )
    store, counted = RedisStore(link), RedisOutcomes(link)
    replica = Replica(store, count_error=link.counts.note_error, max_loss_s=max_loss_s, growing=growing)
    watches = Watches(replica)
    # Without the HTTP port nobody could read the metrics.
    metering = None if config.http is None else Metering(replica, components=config.metrics_components)
    service = Service(store, replica, wait_replicas=config.wait_replicas)
    seen = SeenRepos(RedisSeen(link), replica)
    preview = SeenPreviewer(replica, seen)
    outcomes = Outcomes(counted, replica, metering and metering.outcomes, seen.note, marking=Marking(RedisMarks(link)))
    marks = Marks(RedisMarks(link), replica)
    checks = Checks(RedisChecks(link), replica, source, timeout_s=config.prometheus_timeout)
    controller = Controller(service, replica, counted, checks=checks, decisions=metering and metering.decisions)
    release_watches = ReleaseWatches(service, replica, controller.waits_for)
    last_state = LastStateKeeper(replica, _last_state_file(config, redis_url))
    beside: list[Callable[[], Coroutine[None, None, None]]] = [
        *(checks.run, controller.run, marks.run, seen.run, Caretaker(service, replica, store, counted).run),
        *(partial(controller.follow, news) for news in (outcomes.counted, marks.counted, checks.answered)),
        partial(open_files.tell_when_near, listeners.max_connections),
        *([last_state.run] if is_first else []),
        *([metering.loop_lag.run, metering.keep] if metering else []),
    ]
    servicers = {
        "ResolverService": ResolverServicer(replica, watches, outcomes, metering and metering.answers, seen.note),
        "ReleaseService": ReleaseServicer(service, replica, counted, release_watches, preview=preview),
        "RolloutService": RolloutServicer(
            service,
            replica,
            store,
            counted,
            source,
            preview=preview,
            status=ServerStatus(
                config.namespace,
                replica,
                RedisStatus(link, is_embedded=is_embedded(redis_url, config.data_dir)),
                listeners.addresses,
            ),
        ),
    }
    with growing():
        last_state.recall()
    start = _Start(store, replica, last_state)
    shared = AsyncExitStack()
    try:
        is_prepared = await start.look(may_wait=config.wait_for_store)
        measured = metering and Measured(
            metering.calls,
            await _scraped(
                metering.collector(
                    link, service, controller, watches, doors=doors, certificates=listeners.certificates
                ),
                worker,
                shared,
            ),
            counted.samples,
            seen.sample,
        )
        servers, http, listening = listeners.listen(servicers, replica, measured)
        await _begin(servers, http)
        try:
            async with asyncio.TaskGroup() as tasks:
                running_tasks = [
                    tasks.create_task(_keep(start, replica, servers, *beside, is_prepared=is_prepared)),
                    # Also while the server waits for the store: a token may be revoked, and the primary may change.
                    *(tasks.create_task(follow()) for follow in (doors.follow, link.clients.follow)),
                ]
                if not config.wait_for_store:
                    await (replica.loaded if is_prepared else replica.answers).wait()
                yield listening
                for task in running_tasks:
                    task.cancel()
        finally:
            watches.close()
            release_watches.close()
            await _end(servers, http, *([last_state] if is_first else []), seen)
    finally:
        await shared.aclose()
        if prometheus is not None:
            await prometheus.close()
        await store.close()


async def _begin(servers: Servers, http: HttpServer | None) -> None:
    await servers.start()
    if http is not None:
        await http.start()


async def _end(servers: Servers, http: HttpServer | None, *last: SeenRepos | LastStateKeeper) -> None:
    """Stops what callers talk to, and then writes for the last time."""
    await asyncio.gather(servers.stop(_GRACE_S), *([] if http is None else [http.stop(_GRACE_S)]))
    for each in last:
        await each.end()


async def _scraped(collector: Collector, worker: Worker | None, shared: AsyncExitStack) -> Scraped:
    """What answers a scrape. One worker answers for all."""
    if worker is None or worker.folder is None:
        return collector
    await shared.enter_async_context(sharing.answering(worker.folder, worker.number, collector))
    return sharing.SharedScrape(worker.folder)


async def serve(config: Config, redis_url: str, *, worker: Worker | None = None) -> None:
    """Runs a server until cancelled. Raises StartupError, also after the start if the store turns out to be unsuitable."""
    with ungrouped():
        async with running(config, redis_url, worker=worker, growing=memory.growing) as listening:
            memory.settle()
            if worker is None or worker.number == 0:
                print(welcome(config, *listening), flush=True)
            await asyncio.Event().wait()


def _last_state_file(config: Config, redis_url: str) -> LastStateFile:
    store = "embedded" if is_embedded(redis_url, config.data_dir) else place_of(redis_url)
    return LastStateFile(config.data_dir, store, config.namespace)


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


class Adopted(NamedTuple):
    """The result of `adopt`."""

    epoch: str
    may_have_components: bool
    """False if the namespace has no component."""
    servers: int | None
    """The number of servers that are connected to the store; None if Redis denies the question."""


async def adopt(config: Config, redis_url: str) -> Adopted:
    """Begins a new epoch in the namespace, with the data that the store has now. Raises StartupError."""
    link = Link.connect(redis_url, namespace=config.namespace, deadline_s=COMMAND_DEADLINE_S)
    try:
        await check_server(link)
        store = RedisStore(link)
        epoch = await store.begin_epoch(adopted=True)
        store.set_epoch(epoch)
        return Adopted(epoch, await _may_have_components(store), await count_servers(link))
    except (RampdError, UnsuitableStoreError) as error:
        raise StartupError(str(error)) from error
    finally:
        await link.close()


async def _may_have_components(store: RedisStore) -> bool:
    try:
        return bool(await store.components(limit=1))
    except RampdError:  # the adopt itself is done already
        return True


async def _keep(
    start: "_Start",
    replica: Replica,
    servers: Servers,
    *beside: Callable[[], Coroutine[None, None, None]],
    is_prepared: bool,
) -> None:
    """Waits for the store, then follows it and runs every other background task, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(_tell_health(replica, servers))
        if not is_prepared:
            await start.wait()
        for run in (replica.run, *beside):
            tasks.create_task(run())
        await telling


async def _tell_health(replica: Replica, servers: Servers) -> None:
    """Keeps the health service up to date, for ever."""
    await replica.answers.wait()
    told: tuple[bool, bool] | None = None
    is_first = True
    while True:
        writes, is_damaged = state = replica.is_confirmed, bool(replica.damaged)
        if state != told:
            await servers.set_health(resolves=True, writes=writes, damaged=is_damaged)
        if told is None or writes != told[0]:
            if not is_first:
                log.info("health_changed", writes="SERVING" if writes else "NOT_SERVING")
            elif writes:
                is_first = False
                log.info("serving")
            else:
                log.info("serving_last_state")
        told = state
        await asyncio.sleep(_HEALTH_S)


class _Start:
    """Checks that the store is suitable, and that it is the store that this server served last."""

    def __init__(self, store: RedisStore, replica: Replica, last_state: LastStateKeeper) -> None:
        self._store = store
        self._replica = replica
        self._last_state = last_state

    async def look(self, *, may_wait: bool) -> bool:
        """Whether the store answers and is ready. Raises StartupError, before anything listens, if the start must end.

        An emptied store does not end the start if this server has a last state. The server then serves launchers from
        that state, and waits for `adopt`.
        """
        try:
            await self._prepare()
        except StartupError as error:
            is_reset = isinstance(error.__cause__, StoreResetError) and self._replica.answers.is_set()
            if not is_reset and not (may_wait and _may_heal(error.__cause__)):
                raise
            return False
        return True

    async def wait(self) -> None:
        """Waits until the store answers and is ready. Raises StartupError."""
        outage = Outage("waiting_for_store", "store_found")
        while True:
            try:
                await self._prepare()
                return outage.end()
            except StartupError as error:
                if not _may_heal(error.__cause__):
                    raise
                outage.tell(str(error))
            await asyncio.sleep(_RETRY_S)

    async def _prepare(self) -> None:
        """Begins the first epoch in a namespace without any key, unless this server has served the namespace before."""
        try:
            not_checked = await check_server(self._store.link)
            head = await self._store.head()
            self._replica.require_known(head)
            if head is not None:
                await self._replica.require_same_copy(head)
            else:
                # Another server may have made the epoch between the two looks.
                if not await self._store.is_empty() and await self._store.head() is None:
                    raise StoreResetError(
                        f"The namespace has data but no epoch: it was emptied or restored in part. "
                        f"{ways_on(self._store.adopt_command)}"
                    )
                if self._last_state.trouble:
                    raise StoreResetError(
                        f"The namespace is empty. {self._last_state.trouble}, so this server does not know whether the "
                        f"namespace was emptied. If it is new, remove that file. {ways_on(self._store.adopt_command)}"
                    )
                await self._store.begin_epoch(adopted=False)
            await self._store.raise_schema()
            if int(self._store.schema) < SCHEMA:
                then = "Once all servers are of this version, type rampd-server upgrade."
                log.info("schema_kept", schema=int(self._store.schema), newest=SCHEMA, then=then)
        except (RampdError, UnsuitableStoreError) as error:
            if isinstance(error, RampdError):
                self._replica.note(error)
            raise StartupError(str(error)) from error
        if not_checked:
            log.warning("store_not_checked", reason=not_checked)


def _may_heal(cause: BaseException | None) -> bool:
    """Whether waiting may help. The server also waits after a reset, because `rampd-server adopt` ends it."""
    if isinstance(cause, StoreMisconfiguredError):
        return False
    return isinstance(cause, StoreUnavailableError | StoreResetError)
