"""Several processes on one port, for more calls than one core answers: `--workers N`.

The first process serves no calls. It keeps the port, starts a worker again that has died, and passes the signal to end
on to the workers. Each worker is a whole server with its own copy of the state. The system distributes new connections
among the workers. It can't do that for a unix socket, so the first worker serves the socket.
"""

import asyncio
import multiprocessing
import os
import sys
from contextlib import AsyncExitStack, ExitStack

import structlog

from rampd_server import app
from rampd_server.app import Worker
from rampd_server.metrics import sharing
from rampd_server.process import event_loop, logs, startup
from rampd_server.process.config import Config
from rampd_server.process.port import FAST, HTTP, held
from rampd_server.process.signals import run_until, stop_signals
from rampd_server.process.startup import NOT_STARTED, StartupError, ungrouped

_RETRY_S = 1.0
_NOT_STARTED_S = 5.0
_STOP_S = 20.0
# A forked child would inherit locks that threads of this process hold, and gRPC does not work after a fork.
_spawn = multiprocessing.get_context("spawn")

log = structlog.get_logger()


async def serve(config: Config, redis_url: str) -> None:
    """Runs `config.workers` workers until cancelled. Raises StartupError if a worker can't start or go on as
    configured.
    """
    if sys.platform != "linux":
        raise StartupError(
            "--workers (RAMPD_WORKERS): only Linux distributes connections among processes; leave it at 1."
        )
    with ExitStack() as ports, ungrouped():
        addresses = tuple(ports.enter_context(held(address)) for address in config.listen)
        http = config.http and ports.enter_context(held(config.http, setting=HTTP))
        fast = config.fast_listen and ports.enter_context(held(config.fast_listen, setting=FAST))
        told = config.model_copy(update={"listen": addresses, "http": http, "fast_listen": fast})
        async with AsyncExitStack() as shared:
            folder = None
            if http is not None:
                folder = shared.enter_context(sharing.own_folder())
                await shared.enter_async_context(sharing.merging(folder, config.workers))
            async with asyncio.TaskGroup() as tasks:
                for number in range(config.workers):
                    tasks.create_task(_keep(told, redis_url, Worker(number, folder)))


async def _keep(config: Config, redis_url: str, worker: Worker) -> None:
    """Runs one worker, and starts it again whenever it dies, until cancelled."""
    has_died = False
    while True:
        code = await _run(config, redis_url, worker)
        if code == NOT_STARTED and has_died:
            # It reads files that others have changed since the start: those of access and of TLS.
            log.error(
                "worker_not_started",
                worker=worker.number,
                what_it_means="the other workers go on with the earlier files",
                what_to_do=f"its log lines have the reason; rampd starts it again every {_NOT_STARTED_S:g} s until it can start",
            )
            await asyncio.sleep(_NOT_STARTED_S)
            continue
        if code == NOT_STARTED:
            raise StartupError(f"Worker {worker.number} could not start. Its log lines have the reason.")
        has_died = True
        log.error("worker_died", worker=worker.number, code=code)
        await asyncio.sleep(_RETRY_S)


async def _run(config: Config, redis_url: str, worker: Worker) -> int:
    """Runs one worker and returns its exit code. If cancelled, it waits for the worker's orderly end."""
    process = _spawn.Process(target=_work, args=(config, redis_url, worker), name=f"rampd-worker-{worker.number}")
    process.start()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    except asyncio.CancelledError:
        process.terminate()
        try:
            await asyncio.wait_for(ended.wait(), _STOP_S)
        except TimeoutError:
            log.warning("worker_killed", worker=worker.number)
            process.kill()
        raise
    finally:
        loop.remove_reader(process.sentinel)
        process.join()
    return process.exitcode or 0


def _work(config: Config, redis_url: str, worker: Worker) -> None:
    # A group of its own: Ctrl-C goes to the whole process group of the terminal, and the parent passes it on to the
    # workers.
    os.setpgid(0, 0)
    logs.configure(config.log_format, config.log_level)
    try:
        event_loop.run(_serve(config, redis_url, worker))
    except StartupError as error:
        sys.exit(startup.report(error))


def _end_at_once() -> None:
    log.error("worker_ended_at_once", what_it_means=f"its orderly end took longer than {_STOP_S:g} s")
    os._exit(1)


async def _serve(config: Config, redis_url: str, worker: Worker) -> None:
    structlog.contextvars.bind_contextvars(worker=worker.number)
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - the parent starts every worker
    with stop_signals() as stop:
        loop = asyncio.get_running_loop()

        def end() -> None:
            """Ends this worker after the parent has died. No other process would end a worker that hangs."""
            loop.remove_reader(parent.sentinel)
            stop.set()
            loop.call_later(_STOP_S, _end_at_once)

        loop.add_reader(parent.sentinel, end)
        await run_until(stop, app.serve(config, redis_url, worker=worker))
