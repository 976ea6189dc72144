"""A job while it runs: resolved when its block begins, reported when it ends. No I/O of its own."""

import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from rampd._decision.resolution import Resolution
from rampd._reporting.outcome_buffer import Outcome

Resolved = TypeVar("Resolved")


class _Running(Generic[Resolved]):
    __slots__ = ("_began_s", "_question", "_report", "_resolve", "_succeeded", "resolution")

    resolution: Resolution
    """What it runs; there once the block has begun."""

    def __init__(
        self, resolve: Callable[[], Resolved], report: Callable[[Outcome], None], component: str, repo: str, job_id: str
    ) -> None:
        self._resolve = resolve
        self._report = report
        self._question = component, repo, job_id
        self._succeeded: bool | None = None

    @property
    def tag(self) -> str:
        """The version string to run."""
        return self.resolution.tag

    def succeeded(self) -> None:
        """The job did what it should, whatever else happens in the block. Of several words the last counts."""
        self._succeeded = True

    def failed(self) -> None:
        """It did not, though no exception leaves the block."""
        self._succeeded = False

    def _begin(self, resolution: Resolution) -> None:
        self.resolution = resolution
        self._began_s = time.monotonic()

    def _end(self, kind: type[BaseException] | None) -> None:
        succeeded = self._succeeded
        if succeeded is None:
            if kind is not None and not issubclass(kind, Exception):
                return  # ended from outside
            succeeded = kind is None
        self._report(Outcome(*self._question, self.resolution, succeeded, time.monotonic() - self._began_s))


class RunningJob(_Running[Resolution]):
    """What `Resolver.job` gives: a block in which one job runs.

    with resolver.job("restyler", repo="acme/app", job_id="42") as job:
        run(job.tag)

    The block's end reports how it went. An exception that leaves it is a failure; none is a success; what `succeeded()`
    or `failed()` said in it stands over both. What ends a job from outside (KeyboardInterrupt, SystemExit, a task that
    is cancelled: whatever is no `Exception`) says nothing of the version, and is not reported.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        self._begin(self._resolve())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind)


class AsyncRunningJob(_Running[Coroutine[Any, Any, Resolution]]):
    """As `RunningJob`, for `async with`."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        self._begin(await self._resolve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind)
