"""Resolving: which version does this job run? For programs with threads. `rampd.aio` has the same for asyncio."""

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
from rampd._calls.endpoint import Endpoint
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
from rampd._watching.at_once import check_question, fallback_of, is_valid_job_id, valid_repos, valid_tags
from rampd._watching.local import Callback, Local, WatchStatus
from rampd._watching.settings import check_local, checked_settings
from rampd._watching.watch_thread import Watching
from rampd.credentials import Credentials
from rampd.errors import RampdError

__all__ = ["Resolver", "Status"]


@dataclass(frozen=True, slots=True)
class Status(WatchStatus):
    """What a resolver knows, and where it has that from."""

    reports: Reports = field(default_factory=Reports)
    """What happened to the outcomes that this process reported."""

    @classmethod
    def _of(cls, watching: Watching | None, target: str, refusal: str, reports: Reports) -> Self:
        """Returns the status of a resolver that watches. With None: of a resolver that keeps nothing."""
        known = _nothing_kept(target, refusal) if watching is None else watching.status()
        return cls(**{each.name: getattr(known, each.name) for each in fields(known)}, reports=reports)


class Resolver(OnePerProcess):
    """Says which version a job runs.

        with Resolver("127.0.0.1:50051") as resolver:
            run(resolver.resolve("restyler", repo="acme/app", job_id="42").tag)

    `target` is `host:port`, `https://host:port` or `unix:/path/of/a/socket`. In mode `local` it watches the server and answers from its own
    memory, also while no server answers. In mode `rpc` it asks the server each time. It makes no thread and no socket
    before the first call. One resolver is enough for a process: any thread may use it, and so may a forked child.
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
        """`timeout` is in seconds. With `rpc` it limits each call (default 1 s), with `local` the wait for the first state
        (default 5 s).

        Only for `local`: `components` are the components to watch (none: all). `next_max_stale`: if the store has not
        confirmed the state for more than so many seconds, nobody gets next. `snapshot_file` is the file that keeps the
        state for the next start.

        `credentials` prove who calls, see `rampd.credentials`. `ca_file` has the certificates of the authorities that sign
        the server's certificate; without it the usual ones of gRPC. Raises InvalidArgumentError.
        """
        self.mode = checked_mode(mode)
        self._timeout_s = RESOLVE_TIMEOUT_S[mode] if timeout is None else checked_timeout(timeout)
        endpoint = Endpoint(target, credentials, ca_file)
        self._connection: Caller = Connection(endpoint)
        self._watching = Watching(Local(checked_settings(endpoint, components, next_max_stale, snapshot_file)))
        self._next_max_stale_s = next_max_stale
        # Without this, the threads of a resolver that was dropped would never end.
        finalize(self, self._watching.close).atexit = False
        self._reporter: Sink = Reporter(endpoint)
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
        """Returns the version for one job.

        `job_id` matters only if the unit of the rollout is JOB. `min_revision`: answer from that revision of the
        component or a later one; the wait for it takes at most 1 s more than the resolver's time-out. `fallback` is the
        tag to return if no version is known. `timeout` in seconds limits every wait of this call.
        Raises InvalidArgumentError and ClosedError. Without a fallback also NotFoundError (with `local` NoVersionError),
        UnavailableError and, with `rpc`, DeadlineExceededError.
        """
        feed = self._watching.feed
        # The body of `answer_at_once`: calling it would add a tenth to the time.
        try:
            known = feed.components[component]
            age_s = monotonic() - feed.confirmed_s
            if (
                age_s < STALE_AFTER_S
                and (job_id == "" or is_valid_job_id(job_id))
                and min_revision == 0
                and timeout is None
                and (fallback is None or fallback in valid_tags)
            ):
                return resolve(
                    known.snapshot,
                    known.overrides,
                    repo,
                    job_id,
                    feed.store_clock,
                    age_s,
                    self._next_max_stale_s,
                    valid_repos[repo],
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
        """Returns the versions for 1 to 1000 jobs, in order and all from one state. A job without a version gets an error.

            resolver.resolve_batch([Job("restyler", "acme/app"), Job("restyler", "acme/web", "42")])

        Raises InvalidArgumentError if the fields of any job are wrong, and the errors of `resolve` if no server answers.
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
        """Returns a block in which one job runs. Its end reports the outcome. Arguments and errors are those of `resolve`.

            with resolver.job("restyler", repo="acme/app", job_id="42") as job:
                run(job.tag)

        A thread sends the reports, so that no job waits for a report.
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
        """Reports the outcome of a job that does not run in a `job` block. `duration` is in seconds.

        The other arguments are those of `resolve` and the resolution that it returned. The resolution may come from
        another process: it can be pickled. The outcome of a fallback, or of a tag that was never released, is not sent.
        Raises InvalidArgumentError.
        """
        self._reporter.add(checked(Outcome(component, repo, job_id, resolution, succeeded, duration)))

    def on_change(self, callback: Callback) -> Callback:
        """Calls `callback` with a `Change` after each change of a component, in order. Returns it, to be a decorator.

        The thread that receives the changes calls it, so it must not take long. An error that it raises is logged, and
        stops nothing. Works only in mode `local`, from the first `resolve` on. The first state does not count as a
        change.
        """
        check_local(self.mode, "on_change")
        self._watching.local.callbacks.append(callback)
        return callback

    def connect(self, *, timeout: float | None = None) -> None:
        """Begins to watch and waits for the first state, so that the first `resolve` does not have to wait. If no state
        comes, it raises nothing; `status()` says why. In mode `rpc` it does nothing. Raises ClosedError.
        """
        if self.mode == "local":
            self._watching.prepare(resolve_timeout_s(timeout, self._timeout_s, 0))

    def status(self) -> Status:
        """Returns what is known, how old it is and where it is from, and what happened to the outcomes. Also starts the
        threads that watch and report again, if they have stopped.
        """
        watching = self._watching if self.mode == "local" else None
        return Status._of(watching, self._connection.target, self._connection.refusal, self._reporter.status())

    def _catch_up(self, jobs: Iterable[v1.ResolveRequest], timeout_s: float) -> None:
        """Waits once for the `min_revision` of all jobs."""
        local = self._watching.local
        if waiting := [job for job in jobs if job.min_revision]:
            self._watching.wait_for(lambda: local.reaches(waiting), min(timeout_s, CATCH_UP_S))

    def close(self) -> None:
        """Sends the remaining outcomes for at most 2 s, then ends the threads and the connection. A closed resolver raises
        ClosedError.
        """
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


def _nothing_kept(target: str, refusal: str) -> WatchStatus:
    """Returns the status of a resolver that keeps nothing. `refusal` is why the credential of its last call was refused."""
    return WatchStatus(
        mode="rpc",
        target=target,
        source="server",
        connected=not refusal,
        components=0,
        deleted=(),
        snapshot_age_s=0.0,
        stale=False,
        next_withheld=False,
        error=refusal,
        snapshot_file_error="",
    )
