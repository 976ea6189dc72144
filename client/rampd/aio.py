"""`Resolver` and `Admin` for asyncio: the same methods as coroutines, over the same core."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from weakref import finalize

from google.protobuf.message import Message

from rampd import v1
from rampd._calls.aio_connection import AioCaller, AioConnection
from rampd._calls.endpoint import Endpoint
from rampd._calls.request import actor_metadata
from rampd._calls.resolve_call import (
    DEFAULT_MODE,
    NO_ANSWER,
    Job,
    JobLike,
    Mode,
    batch_request,
    checked_mode,
    resolution_of,
    resolve_request,
    results_of,
)
from rampd._calls.timeout import ADMIN_TIMEOUT_S, RESOLVE_TIMEOUT_S, checked_timeout, resolve_timeout_s
from rampd._decision.resolution import Resolution
from rampd._decision.staleness import CATCH_UP_S, NEXT_MAX_STALE_S
from rampd._reporting.job_block import AsyncRunningJob
from rampd._reporting.outcome_buffer import Outcome, checked
from rampd._reporting.report_thread import Reporter, Sink
from rampd._runtime.fork_gate import OnePerProcess
from rampd._verbs import verbs
from rampd._verbs.method import as_method_of
from rampd._verbs.pending_call import Ask, Follow, Pages
from rampd._verbs.release_wait import Waiting, result_of
from rampd._watching.at_once import answer_at_once, check_question, fallback_of
from rampd._watching.feed import Change
from rampd._watching.local import Callback, Local, call_back
from rampd._watching.settings import check_local, checked_settings
from rampd._watching.watch_thread import Watching
from rampd.credentials import Credentials
from rampd.errors import RampdError
from rampd.resolver import Status

__all__ = ["AsyncAdmin", "AsyncResolver"]

_LOOK_S = 0.005

_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_Streamed = TypeVar("_Streamed", bound=Message)


class AsyncResolver(OnePerProcess):
    """Says which version a job runs.

        async with AsyncResolver("127.0.0.1:50051") as resolver:
            run((await resolver.resolve("restyler", repo="acme/app", job_id="42")).tag)

    Works like `Resolver`. It may be used in several event loops, one after the other or at the same time.
    """

    def __init__(
        self,
        target: str,
        *,
        mode: Mode = DEFAULT_MODE,
        timeout: float | None = None,
        components: Iterable[str] = (),
        next_max_stale: float = NEXT_MAX_STALE_S,
        snapshot_file: str | Path | None = None,
        credentials: Credentials | None = None,
        ca_file: str | Path | None = None,
    ) -> None:
        """Takes the arguments of `Resolver`. Needs no running event loop."""
        self.mode = checked_mode(mode)
        self._timeout_s = RESOLVE_TIMEOUT_S[mode] if timeout is None else checked_timeout(timeout)
        endpoint = Endpoint(target, credentials, ca_file)
        self._connection: AioCaller = AioConnection(endpoint)
        self._watching = Watching(Local(checked_settings(endpoint, components, next_max_stale, snapshot_file)))
        self._next_max_stale_s = next_max_stale
        finalize(self, self._watching.close).atexit = False
        self._reporter: Sink = Reporter(endpoint)
        finalize(self, self._reporter.end).atexit = False

    async def resolve(
        self,
        component: str,
        *,
        repo: str,
        job_id: str = "",
        min_revision: int = 0,
        fallback: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the server is told, too
    ) -> Resolution:
        """Works like `Resolver.resolve`."""
        if not min_revision and timeout is None:
            answer = answer_at_once(self._watching.feed, component, repo, job_id, fallback, self._next_max_stale_s)
            if answer is not None:
                return answer
        check_question(component, repo, job_id, fallback)
        request = resolve_request(Job(component, repo, job_id, min_revision))
        timeout_s = resolve_timeout_s(timeout, self._timeout_s, min_revision)
        if self.mode == "local":
            await self._prepare(timeout_s)
            await self._catch_up([request], timeout_s)
            return self._watching.local.answer(component, repo, job_id, min_revision, fallback)
        try:
            return resolution_of(await self._connection.call(request, v1.ResolveResponse, timeout_s))
        except NO_ANSWER:
            if fallback is None:
                raise
            return fallback_of(fallback)

    async def resolve_batch(
        self,
        jobs: Iterable[JobLike],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the server is told, too
    ) -> list[Resolution | RampdError]:
        """Works like `Resolver.resolve_batch`."""
        request = batch_request(jobs)
        timeout_s = resolve_timeout_s(timeout, self._timeout_s, max(job.min_revision for job in request.requests))
        if self.mode == "local":
            await self._prepare(timeout_s)
            await self._catch_up(request.requests, timeout_s)
            return self._watching.local.answers(request.requests)
        return results_of(request, await self._connection.call(request, v1.BatchResolveResponse, timeout_s))

    def job(
        self,
        component: str,
        *,
        repo: str,
        job_id: str = "",
        min_revision: int = 0,
        fallback: str | None = None,
        timeout: float | None = None,
    ) -> AsyncRunningJob:
        """Works like `Resolver.job`, for `async with`."""
        resolve = partial(
            self.resolve,
            component,
            repo=repo,
            job_id=job_id,
            min_revision=min_revision,
            fallback=fallback,
            timeout=timeout,
        )
        return AsyncRunningJob(resolve, self._reporter.add, component, repo, job_id)

    def report(
        self,
        resolution: Resolution,
        component: str,
        *,
        repo: str,
        job_id: str = "",
        succeeded: bool,
        duration: float,
    ) -> None:
        """Works like `Resolver.report`. Waits for nothing."""
        self._reporter.add(checked(Outcome(component, repo, job_id, resolution, succeeded, duration)))

    def on_change(self, callback: Callback) -> Callback:
        """Works like `Resolver.on_change`. Calls `callback` in the event loop that runs now, until that loop is closed."""
        check_local(self.mode, "on_change")
        callbacks = self._watching.local.callbacks
        for each in tuple(callbacks):
            if isinstance(each, _InLoop) and each.loop.is_closed():
                callbacks.remove(each)
        callbacks.append(_InLoop(callback, asyncio.get_running_loop()))
        return callback

    async def connect(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as everywhere here
        """Works like `Resolver.connect`."""
        if self.mode == "local":
            await self._prepare(resolve_timeout_s(timeout, self._timeout_s, 0))

    def status(self) -> Status:
        """Works like `Resolver.status`."""
        watching = self._watching if self.mode == "local" else None
        return Status._of(watching, self._connection.target, self._connection.refusal, self._reporter.status())

    async def _prepare(self, timeout_s: float) -> None:
        begin = self._watching.begin
        # The first `begin` may read a large snapshot file, which would block this event loop.
        if wait_s := begin(timeout_s) if self._watching.runs else await asyncio.to_thread(begin, timeout_s):
            await self._wait_for(self._watching.local.is_ready, wait_s)
        self._watching.adopt()

    async def _catch_up(self, jobs: Iterable[v1.ResolveRequest], timeout_s: float) -> None:
        local = self._watching.local
        if waiting := [job for job in jobs if job.min_revision]:
            await self._wait_for(lambda: local.reaches(waiting), min(timeout_s, CATCH_UP_S))

    async def _wait_for(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Waits until a thread has made `is_so` true. Such waits are rare and short, so polling is simpler than a signal."""
        end_s = time.monotonic() + timeout_s
        while not is_so() and time.monotonic() < end_s:
            self._watching.check_open()
            await asyncio.sleep(_LOOK_S)

    async def close(self) -> None:
        """Works like `Resolver.close`."""
        await asyncio.to_thread(self._reporter.close)
        await asyncio.to_thread(self._watching.close)
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.target!r}, mode={self.mode!r})"


def _asking(
    verb: Callable[_P, Ask[_Result]],
) -> "Callable[Concatenate[AsyncAdmin, _P], Coroutine[Any, Any, _Result]]":
    async def method(self: "AsyncAdmin", /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        return await self._ask(verb(*args, **kwargs))

    as_method_of(verb, method)
    return method


def _listing(verb: Callable[_P, Pages[_Result]]) -> "Callable[Concatenate[AsyncAdmin, _P], AsyncIterator[_Result]]":
    def method(self: "AsyncAdmin", /, *args: _P.args, **kwargs: _P.kwargs) -> AsyncIterator[_Result]:
        return self._list(verb(*args, **kwargs))

    as_method_of(verb, method, AsyncIterator)
    return method


def _following(
    verb: Callable[_P, Follow[_Streamed]],
) -> "Callable[Concatenate[AsyncAdmin, _P], AsyncIterator[_Streamed]]":
    def method(self: "AsyncAdmin", /, *args: _P.args, **kwargs: _P.kwargs) -> AsyncIterator[_Streamed]:
        return self._follow(verb(*args, **kwargs))

    as_method_of(verb, method, AsyncIterator)
    return method


@dataclass(frozen=True, slots=True, eq=False)
class _InLoop:
    """A callback that any thread can call, and that runs in an event loop. Does nothing once the loop is closed."""

    callback: Callback
    loop: asyncio.AbstractEventLoop

    def __call__(self, change: Change) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(call_back, self.callback, change)


class AsyncAdmin(OnePerProcess):
    """Every call of ReleaseService and RolloutService. Works like `Admin`, with `await` and `async for`.

    async with AsyncAdmin("127.0.0.1:50051", actor="deploy") as admin:
        await admin.ramp("restyler", 10)
        async for event in admin.list_events("restyler"):
            print(event.action)
    """

    def __init__(
        self,
        target: str,
        *,
        actor: str = "",
        timeout: float = ADMIN_TIMEOUT_S,
        credentials: Credentials | None = None,
        ca_file: str | Path | None = None,
    ) -> None:
        """Takes the arguments of `Admin`. Needs no running event loop."""
        self._timeout_s = checked_timeout(timeout)
        self._connection = AioConnection(Endpoint(target, credentials, ca_file), metadata=actor_metadata(actor))

    release = _asking(verbs.release)
    cancel_release = _asking(verbs.cancel_release)
    get_release = _asking(verbs.get_release)
    list_releases = _listing(verbs.list_releases)
    watch_release = _following(verbs.watch_release)

    get_rollout = _asking(verbs.get_rollout)
    list_rollouts = _listing(verbs.list_rollouts)
    ramp = _asking(verbs.ramp)
    confirm = _asking(verbs.confirm)
    rollback = _asking(verbs.rollback)
    finalize = _asking(verbs.finalize)
    abandon = _asking(verbs.abandon)
    revert = _asking(verbs.revert)
    pause = _asking(verbs.pause)
    resume = _asking(verbs.resume)
    freeze = _asking(verbs.freeze)
    unfreeze = _asking(verbs.unfreeze)
    quarantine = _asking(verbs.quarantine)
    unquarantine = _asking(verbs.unquarantine)
    list_quarantine = _listing(verbs.list_quarantine)
    set_override = _asking(verbs.set_override)
    delete_override = _asking(verbs.delete_override)
    batch_set_overrides = _asking(verbs.batch_set_overrides)
    list_overrides = _listing(verbs.list_overrides)
    set_policy = _asking(verbs.set_policy)
    get_policy = _asking(verbs.get_policy)
    list_events = _listing(verbs.list_events)
    who_am_i = _asking(verbs.who_am_i)
    get_server = _asking(verbs.get_server)
    delete_component = _asking(verbs.delete_component)

    async def wait_for_release(
        self,
        component: str,
        release: int,
        *,
        until_held: bool = True,
        until_paused: bool | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as `Admin`
    ) -> v1.Release:
        """Works like `Admin.wait_for_release`."""
        async for response in self.follow_release(
            component, release, until_held=until_held, until_paused=until_paused, timeout=timeout
        ):
            last = response
        return result_of(last, until_held=until_held, until_paused=until_paused)

    def follow_release(
        self,
        component: str,
        release: int,
        *,
        until_held: bool = True,
        until_paused: bool | None = None,
        timeout: float | None = None,
        on_lost: Callable[[RampdError], object] | None = None,
    ) -> AsyncIterator[v1.WatchReleaseResponse]:
        """Works like `Admin.follow_release`."""
        waiting = Waiting(
            component,
            release,
            until_held=until_held,
            until_paused=until_paused,
            timeout=timeout,
            now_s=time.monotonic(),
        )
        return self._states(waiting, on_lost)

    async def _states(
        self, waiting: Waiting, on_lost: Callable[[RampdError], object] | None
    ) -> AsyncIterator[v1.WatchReleaseResponse]:
        while True:
            error = None
            stream = self._connection.stream(waiting.request, waiting.response, waiting.left_s(time.monotonic()))
            try:
                async with contextlib.aclosing(stream):
                    async for response in stream:
                        is_over = waiting.is_over(response)
                        yield response
                        if is_over:
                            return
            except RampdError as raised:
                error = raised
            pause_s = waiting.pause_s(error, time.monotonic())
            if error is not None and on_lost is not None:
                on_lost(error)
            await asyncio.sleep(pause_s)

    async def _ask(self, ask: Ask[_Result]) -> _Result:
        return ask.result(await self._connection.call(ask.request, ask.response, self._limit_s(ask.timeout)))

    def _list(self, pages: Pages[_Result]) -> AsyncIterator[_Result]:
        limit_s = self._limit_s(pages.timeout)

        async def fetched() -> AsyncIterator[_Result]:
            page: Pages[_Result] | None = pages
            while page is not None:
                response = await self._connection.call(page.request, page.response, limit_s)
                for item in page.items(response):
                    yield item
                page = page.following(response)

        return fetched()

    def _follow(self, follow: Follow[_Streamed]) -> AsyncIterator[_Streamed]:
        limit_s = None if follow.timeout is None else checked_timeout(follow.timeout)
        return self._connection.stream(follow.request, follow.response, limit_s)

    def _limit_s(self, timeout: float | None) -> float:
        return self._timeout_s if timeout is None else checked_timeout(timeout)

    async def close(self) -> None:
        """Ends the connection. A closed admin raises ClosedError."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.target!r})"
