"""A running job: it is resolved when its block begins, and reported when its block ends. No I/O of its own."""

import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from rampd._decision.resolution import Resolution
from rampd._reporting.outcome_buffer import Outcome
from rampd._runtime.tracing import Attributes, current_span

Resolved = TypeVar("Resolved")


class _Running(Generic[Resolved]):
    __slots__ = ("_began_s", "_question", "_report", "_resolve", "_succeeded", "resolution")

    resolution: Resolution
    """The version that the job runs. Present once the block has begun."""

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
        """Says that the job succeeded, whatever else happens in the block. The last call of this or `failed` counts."""
        self._succeeded = True

    def failed(self) -> None:
        """Says that the job failed, even if no exception leaves the block."""
        self._succeeded = False

    def _begin(self, resolution: Resolution) -> None:
        self.resolution = resolution
        if (span := current_span()) is not None:
            span.set_attributes(_shown(self._question[0], resolution))
        self._began_s = time.monotonic()

    def _end(self, kind: type[BaseException] | None) -> None:
        succeeded = self._succeeded
        if succeeded is None:
            if kind is not None and not issubclass(kind, Exception):
                return  # the job was ended from outside
            succeeded = kind is None
        self._report(Outcome(*self._question, self.resolution, succeeded, time.monotonic() - self._began_s))


def _shown(component: str, resolution: Resolution) -> Attributes:
    """What the trace of a job says of its version. Without the repo, which the program may add itself."""
    shown = {
        "rampd.component": component,
        "rampd.tag": resolution.tag,
        "rampd.reason": resolution.reason.value,
        "rampd.release": resolution.release,
    }
    return shown if resolution.channel is None else {**shown, "rampd.channel": resolution.channel.value}


class RunningJob(_Running[Resolution]):
    """The result of `Resolver.job`: a block in which one job runs.

    with resolver.job("restyler", repo="acme/app", job_id="42") as job:
        run(job.tag)

    The end of the block reports the outcome. If an exception leaves the block, the job failed; otherwise it succeeded.
    A call of `succeeded()` or `failed()` in the block overrides both. A job that is ended from outside (KeyboardInterrupt,
    SystemExit, a cancelled task: everything that is not an `Exception`) says nothing about the version. It is not reported.

    If the block begins in a span of OpenTelemetry, the span gets the version as attributes: `rampd.tag` and others.
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
    """Works like `RunningJob`, for `async with`."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        self._begin(await self._resolve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind)
