"""Which version does this job run? For programs with threads; `rampd.aio` has the same for asyncio."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rampd import v1
from rampd.connection import Caller, Connection
from rampd.errors import RampdError
from rampd.methods import checked_timeout
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


class Resolver:
    """Asks a rampd server which version a job runs.

        with Resolver("127.0.0.1:50051") as resolver:
            run(resolver.resolve("restyler", repo="acme/app", job_id="42").tag)

    `target` is `host:port` or `unix:/path/of/a/socket`. Makes no thread and no socket before the first call. One
    resolver serves a whole process: any thread may use it, and so may a child that was forked.
    """

    def __init__(self, target: str, *, mode: Mode = DEFAULT_MODE, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        """`timeout` is in seconds, for each call. Raises InvalidArgumentError."""
        self.mode = checked_mode(mode)
        self._timeout_s = checked_timeout(timeout)
        self._connection: Caller = Connection(target)

    def resolve(
        self, component: str, *, repo: str, job_id: str = "", min_revision: int = 0, timeout: float | None = None
    ) -> Resolution:
        """The version for one job.

        `job_id` counts where jobs, not repos, are drawn. `min_revision`: answer from that revision of the component or
        a later one, which the server waits for up to 1 s, on top of the resolver's time-out. `timeout` in seconds.
        Raises InvalidArgumentError, NotFoundError (COMPONENT_NOT_FOUND), UnavailableError, DeadlineExceededError.
        """
        request = resolve_request(Job(component, repo, job_id, min_revision))
        timeout_s = call_timeout_s(timeout, self._timeout_s, min_revision)
        return resolution_of(self._connection.call(request, v1.ResolveResponse, timeout_s))

    def resolve_batch(self, jobs: Iterable[JobLike], *, timeout: float | None = None) -> list[Resolution | RampdError]:
        """The versions for 1 to 1000 jobs, in order, all answered from one state; an error where a job has none.

            resolver.resolve_batch([Job("restyler", "acme/app"), Job("restyler", "acme/web", "42")])

        Raises InvalidArgumentError where any job is wrong in itself, and what `resolve` raises where nothing answers.
        """
        request = batch_request(jobs)
        timeout_s = call_timeout_s(timeout, self._timeout_s, max(job.min_revision for job in request.requests))
        return results_of(request, self._connection.call(request, v1.BatchResolveResponse, timeout_s))

    def close(self) -> None:
        """Ends the connection. A closed resolver raises ClosedError."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.target!r}, mode={self.mode!r})"
