"""Which version does this job run? For programs with threads; `rampd.aio` has the same for asyncio."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self
from weakref import finalize

from rampd import v1
from rampd._calls.connection import Caller, Connection
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
from rampd._calls.timeout import RESOLVE_TIMEOUT_S, checked_timeout, resolve_timeout_s
from rampd._decision.resolution import Resolution, resolve
from rampd._decision.staleness import CATCH_UP_S, NEXT_MAX_STALE_S, STALE_AFTER_S
from rampd._reporting.job_block import RunningJob
from rampd._reporting.outcome_buffer import Outcome, Reports, checked
from rampd._reporting.report_thread import Reporter, Sink
from rampd._runtime.fork_gate import OnePerProcess
from rampd._watching.at_once import check_question, fallback_of, is_right, right_repos, right_tags
from rampd._watching.local import Callback, Local, WatchStatus
from rampd._watching.settings import check_local, checked_settings
from rampd._watching.watch_thread import Watching
from rampd.errors import RampdError

__all__ = ["Resolver", "Status"]


@dataclass(frozen=True, slots=True)
class Status(WatchStatus):
    """What a resolver knows, and from where."""

    reports: Reports = field(default_factory=Reports)
    """What became of the outcomes that this process reported."""

    @classmethod
    def _of(cls, watching: Watching | None, target: str, reports: Reports) -> Self:
        """Of a resolver that watches; of one that keeps nothing, where that is None."""
        known = _nothing_kept(target) if watching is None else watching.status()
        return cls(**{each.name: getattr(known, each.name) for each in fields(known)}, reports=reports)


class Resolver(OnePerProcess):
    """Says which version a job runs.

        with Resolver("127.0.0.1:50051") as resolver:
            run(resolver.resolve("restyler", repo="acme/app", job_id="42").tag)

    `target` is `host:port` or `unix:/path/of/a/socket`. With mode `local` it watches the server and answers from its own
    memory, also while the server is gone; with `rpc` it asks the server each time. Makes no thread and no socket before
    the first call. One resolver serves a whole process: any thread may use it, and so may a child that was forked.
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
    ) -> None:
        """`timeout` is in seconds: of each call with `rpc` (1 s), of the wait for the first state with `local` (5 s).

        For `local` alone: `components`, those to watch (none: all). `next_max_stale`, the seconds without word from the
        store after which nobody gets next. `snapshot_file`, where to keep what is known for the next start.
        Raises InvalidArgumentError.
        """
        self.mode = checked_mode(mode)
        self._timeout_s = RESOLVE_TIMEOUT_S[mode] if timeout is None else checked_timeout(timeout)
        self._connection: Caller = Connection(target)
        self._watching = Watching(Local(checked_settings(target, components, next_max_stale, snapshot_file)))
        self._next_max_stale_s = next_max_stale
        # A thread that nobody can end any more must not go on.
        finalize(self, self._watching.close).atexit = False
        self._reporter: Sink = Reporter(self._connection.target)
        finalize(self, self._reporter.end).atexit = False

    def resolve(
        self,
        component: str,
        *,
        repo: str,
        job_id: str = "",
        min_revision: int = 0,
        fallback: str | None = None,
        timeout: float | None = None,
    ) -> Resolution:
        """The version for one job.

        `job_id` counts where jobs, not repos, are drawn. `min_revision`: answer from that revision of the component or
        a later one, which is waited for up to 1 s, on top of the resolver's time-out. `fallback` is the tag to answer
        where no version is known. `timeout` in seconds, of whatever has to be waited for.
        Raises InvalidArgumentError and ClosedError; without a fallback NotFoundError (with `local` NoVersionError);
        UnavailableError and, with `rpc`, DeadlineExceededError.
        """
        feed = self._watching.feed
        # `answer_at_once` without its call, which would be a tenth of the whole.
        try:
            known = feed.components[component]
            age_s = monotonic() - feed.confirmed_s
            if (
                age_s < STALE_AFTER_S
                and (job_id == "" or is_right(job_id))
                and min_revision == 0
                and timeout is None
                and (fallback is None or fallback in right_tags)
            ):
                return resolve(
                    known.snapshot,
                    known.overrides,
                    repo,
                    job_id,
                    feed.store_clock,
                    age_s,
                    self._next_max_stale_s,
                    right_repos[repo],
                )
        except (KeyError, TypeError, AttributeError):  # no such component; a new repo; not a string
            pass
        check_question(component, repo, job_id, fallback)
        request = resolve_request(Job(component, repo, job_id, min_revision))
        timeout_s = resolve_timeout_s(timeout, self._timeout_s, min_revision)
        if self.mode == "local":
            self._watching.prepare(timeout_s)
            self._catch_up([request], timeout_s)
            return self._watching.local.answer(component, repo, job_id, min_revision, fallback)
        try:
            return resolution_of(self._connection.call(request, v1.ResolveResponse, timeout_s))
        except NO_ANSWER:
            if fallback is None:
                raise
            return fallback_of(fallback)

    def resolve_batch(self, jobs: Iterable[JobLike], *, timeout: float | None = None) -> list[Resolution | RampdError]:
        """The versions for 1 to 1000 jobs, in order, all answered from one state; an error where a job has none.

            resolver.resolve_batch([Job("restyler", "acme/app"), Job("restyler", "acme/web", "42")])

        Raises InvalidArgumentError where any job is wrong in itself, and what `resolve` raises where nothing answers.
        """
        request = batch_request(jobs)
        timeout_s = resolve_timeout_s(timeout, self._timeout_s, max(job.min_revision for job in request.requests))
        if self.mode == "local":
            self._watching.prepare(timeout_s)
            self._catch_up(request.requests, timeout_s)
            return self._watching.local.answers(request.requests)
        return results_of(request, self._connection.call(request, v1.BatchResolveResponse, timeout_s))

    def job(
        self,
        component: str,
        *,
        repo: str,
        job_id: str = "",
        min_revision: int = 0,
        fallback: str | None = None,
        timeout: float | None = None,
    ) -> RunningJob:
        """A block in which one job runs; its end reports how it went. Arguments and errors are those of `resolve`.

            with resolver.job("restyler", repo="acme/app", job_id="42") as job:
                run(job.tag)

        A thread sends the reports, so that no job waits for them.
        """
        resolve = partial(
            self.resolve,
            component,
            repo=repo,
            job_id=job_id,
            min_revision=min_revision,
            fallback=fallback,
            timeout=timeout,
        )
        return RunningJob(resolve, self._reporter.add, component, repo, job_id)

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
        """How a job went that was resolved before, where its end is not that of a block: `duration` in seconds, the rest
        what `resolve` was asked and what it answered, which may have come from another process (it can be pickled).
        What no server can place, a fallback or a tag that was never released, is not sent. Raises InvalidArgumentError.
        """
        self._reporter.add(checked(Outcome(component, repo, job_id, resolution, succeeded, duration)))

    def on_change(self, callback: Callback) -> Callback:
        """From now on calls it with a `Change` for each change of a component, in order: from the thread that receives
        them, so that it must not take long. With mode `local` alone, from the first `resolve` on; the first state is no
        change. What it raises is logged, and ends nothing. Gives the callback back, to be a decorator.
        """
        check_local(self.mode, "on_change")
        self._watching.local.callbacks.append(callback)
        return callback

    def connect(self, *, timeout: float | None = None) -> None:
        """Begins to watch, and waits for the first state as the first `resolve` would, so that this one need not. Says
        nothing where none comes: `status()` does. Does nothing with mode `rpc`. Raises ClosedError.
        """
        if self.mode == "local":
            self._watching.prepare(resolve_timeout_s(timeout, self._timeout_s, 0))

    def status(self) -> Status:
        """What is known, how old it is, and from where; and what became of the outcomes. A thread that should watch or
        report and does not is started again.
        """
        watching = self._watching if self.mode == "local" else None
        return Status._of(watching, self._connection.target, self._reporter.status())

    def _catch_up(self, jobs: Iterable[v1.ResolveRequest], timeout_s: float) -> None:
        """Waits, once for all, for what jobs want at least."""
        local = self._watching.local
        if waiting := [job for job in jobs if job.min_revision]:
            self._watching.wait_for(lambda: local.reaches(waiting), min(timeout_s, CATCH_UP_S))

    def close(self) -> None:
        """Ends the connection, and the threads, once outcomes are sent: within 2 s. A closed resolver raises ClosedError."""
        self._reporter.close()
        self._watching.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.target!r}, mode={self.mode!r})"


def _nothing_kept(target: str) -> WatchStatus:
    """Of a resolver that keeps nothing."""
    return WatchStatus(
        mode="rpc",
        target=target,
        source="server",
        connected=True,
        components=0,
        deleted=(),
        snapshot_age_s=0.0,
        stale=False,
        next_withheld=False,
        error="",
        snapshot_file_error="",
    )
