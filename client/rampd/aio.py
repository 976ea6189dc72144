"""`Resolver` and `Admin` for asyncio: the same methods, to be awaited, over the same core."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from google.protobuf.message import Message

from rampd import v1, verbs
from rampd.admin import DEFAULT_TIMEOUT_S as ADMIN_TIMEOUT_S
from rampd.admin import as_method_of
from rampd.aio_connection import AioCaller, AioConnection
from rampd.asking import Ask, Follow, Pages
from rampd.errors import RampdError
from rampd.methods import checked_timeout
from rampd.request import actor_metadata
from rampd.resolution import Resolution
from rampd.resolving import (
    DEFAULT_MODE,
    DEFAULT_TIMEOUT_S,
    Job,
    JobLike,
    Mode,
    batch_request,
    call_timeout_s,
    checked_mode,
    resolution_of,
    resolve_request,
    results_of,
)

P = ParamSpec("P")
Result = TypeVar("Result")
Streamed = TypeVar("Streamed", bound=Message)


class AsyncResolver:
    """Asks a rampd server which version a job runs.

        async with AsyncResolver("127.0.0.1:50051") as resolver:
            run((await resolver.resolve("restyler", repo="acme/app", job_id="42")).tag)

    As `Resolver`, but for its thread: a connection belongs to the event loop that it is first used in, and is made anew
    in another one.
    """

    def __init__(self, target: str, *, mode: Mode = DEFAULT_MODE, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """As `Resolver`; needs no running event loop."""
        self.mode = checked_mode(mode)
        self._timeout_s = checked_timeout(timeout)
        self._connection: AioCaller = AioConnection(target)

    async def resolve(
        self,
        component: str,
        *,
        repo: str,
        job_id: str = "",
        min_revision: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109 - the server is told, too
    ) -> Resolution:
        """As `Resolver.resolve`."""
        request = resolve_request(Job(component, repo, job_id, min_revision))
        timeout_s = call_timeout_s(timeout, self._timeout_s, min_revision)
        return resolution_of(await self._connection.call(request, v1.ResolveResponse, timeout_s))

    async def resolve_batch(
        self,
        jobs: Iterable[JobLike],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the server is told, too
    ) -> list[Resolution | RampdError]:
        """As `Resolver.resolve_batch`."""
        request = batch_request(jobs)
        timeout_s = call_timeout_s(timeout, self._timeout_s, max(job.min_revision for job in request.requests))
        return results_of(request, await self._connection.call(request, v1.BatchResolveResponse, timeout_s))

    async def close(self) -> None:
        """Ends the connection. A closed resolver raises ClosedError."""
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
    verb: Callable[P, Ask[Result]],
) -> "Callable[Concatenate[AsyncAdmin, P], Coroutine[Any, Any, Result]]":
    async def method(self: "AsyncAdmin", /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await self._ask(verb(*args, **kwargs))

    as_method_of(verb, method)
    return method


def _listing(verb: Callable[P, Pages[Result]]) -> "Callable[Concatenate[AsyncAdmin, P], AsyncIterator[Result]]":
    def method(self: "AsyncAdmin", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Result]:
        return self._list(verb(*args, **kwargs))

    as_method_of(verb, method, AsyncIterator)
    return method


def _following(
    verb: Callable[P, Follow[Streamed]],
) -> "Callable[Concatenate[AsyncAdmin, P], AsyncIterator[Streamed]]":
    def method(self: "AsyncAdmin", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Streamed]:
        return self._follow(verb(*args, **kwargs))

    as_method_of(verb, method, AsyncIterator)
    return method


class AsyncAdmin:
    """Every call of ReleaseService and RolloutService: as `Admin`, to be awaited; lists and streams with `async for`.

    async with AsyncAdmin("127.0.0.1:50051", actor="deploy") as admin:
        await admin.ramp("restyler", 10)
        async for event in admin.list_events("restyler"):
            print(event.action)
    """

    def __init__(self, target: str, *, actor: str = "", timeout: float = ADMIN_TIMEOUT_S) -> None:
        """As `Admin`; needs no running event loop."""
        self._timeout_s = checked_timeout(timeout)
        self._connection = AioConnection(target, metadata=actor_metadata(actor))

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
    delete_component = _asking(verbs.delete_component)

    async def _ask(self, ask: Ask[Result]) -> Result:
        return ask.result(await self._connection.call(ask.request, ask.response, self._limit_s(ask.timeout)))

    def _list(self, pages: Pages[Result]) -> AsyncIterator[Result]:
        limit_s = self._limit_s(pages.timeout)

        async def fetched() -> AsyncIterator[Result]:
            page: Pages[Result] | None = pages
            while page is not None:
                response = await self._connection.call(page.request, page.response, limit_s)
                for item in page.items(response):
                    yield item
                page = page.following(response)

        return fetched()

    def _follow(self, follow: Follow[Streamed]) -> AsyncIterator[Streamed]:
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
