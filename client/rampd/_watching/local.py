"""The state of one resolver: its feed, its snapshot file and its callbacks. The only I/O is the snapshot file."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rampd import v1
from rampd._contract.wording import counted
from rampd._decision.resolution import ComponentSnapshot, Resolution, resolve
from rampd._decision.staleness import is_stale, withholds_next
from rampd._runtime import private_file
from rampd._runtime.log import log
from rampd._watching import snapshot_file
from rampd._watching.at_once import fallback_of
from rampd._watching.feed import Change, Feed
from rampd._watching.settings import Settings
from rampd._watching.snapshot_file import Moment, SnapshotFileError
from rampd.errors import NoVersionError, RampdError, UnavailableError

NOTHING = Feed()
"""An empty feed, to resolve from while no state is known."""

_TRIES_FOR_ONE_STATE = 100
_SAVE_AT_MOST_EVERY_S = 5.0
_SAVE_AT_LEAST_EVERY_S = 60.0

Callback = Callable[[Change], object]


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """What is known of the components, and where that is from."""

    mode: str
    target: str
    source: str
    """`server`, `file` (the snapshot file) or `none`. In mode rpc always `server`."""
    connected: bool
    """Whether a server is sending changes right now. In mode rpc: whether the credential of the last call was not refused."""
    components: int
    deleted: tuple[str, ...]
    """Components that were deleted and for which there are still answers."""
    snapshot_age_s: float
    """Seconds since the store last confirmed the state. Infinite if it never did."""
    stale: bool
    """Whether the state is 5 s old or older."""
    next_withheld: bool
    """Whether nobody gets next, because the state is older than `next_max_stale` or no server can reach this process."""
    error: str
    """Without a stream: why the last one ended, or why there is none (the thread could not be started, `close()`). With a
    stream: why its state is stale, otherwise empty. In mode rpc: why the credential of the last call was refused.
    """
    snapshot_file_error: str
    """Why the snapshot file could not be read, or not be written the last time. Empty if all went well."""
    damaged: tuple[str, ...] = ()
    """Components whose data the server can't read. Answers come from their last good state, if it is known. That state is
    older than `snapshot_age_s` says.
    """


class _Stream(NamedTuple):
    """What is known of the stream. It is replaced as a whole, so that other threads see no half of a change."""

    source: str = "none"
    """Where the state is from, as in `WatchStatus`."""
    connected: bool = False
    error: str = ""
    """Why the last stream has ended. Empty while there is one."""


class Local:
    """A feed, its snapshot file and its callbacks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.feed = Feed(settings.components, keep_deleted_s=settings.next_max_stale_s)
        self.callbacks: list[Callback] = []
        self._stream = _Stream()
        self._file_error = ""
        self._saved_version = 0
        self._saved_s = -math.inf
        self._is_restored = False
        self._next_max_stale_s = settings.next_max_stale_s

    # Methods for drivers.

    def restore(self) -> None:
        """Reads the snapshot file, once. If the file can't be used, it stays as it is, and the log says why."""
        path = self.settings.snapshot_path
        if path is None or self._is_restored:
            return
        self._is_restored = True
        with contextlib.suppress(OSError):  # the next write reports what is wrong with the folder
            private_file.clean(path)
        try:
            saved = snapshot_file.read(path)
        except SnapshotFileError as error:
            self._file_error = f"{path} was not read: {error}"
            log.warning("%s", self._file_error)
            return
        if saved is None:
            return
        wanted = self.settings.components
        components = {name: known for name, known in saved.components.items() if not wanted or name in wanted}
        age_s = saved.age_s(time.time())
        resumes = saved.selection == self.feed.selection
        self.feed.restore(components, saved.cursor, age_s, time.time() - saved.told_s, resumes=resumes)
        self._stream = self._stream._replace(source="file")
        log.info("%s has %s, %.0f s old", path, counted(len(components), "component"), age_s)

    def take(self, message: v1.WatchResponse) -> None:
        """Takes in a message and calls the callbacks with its changes. Raises MalformedStateError."""
        changes = self.feed.take(message)
        if not self._stream.connected and self.feed.is_live and message.HasField("heartbeat"):
            self._stream = _Stream("server", connected=True)
            log.info("watching %s: %s", self.settings.target, counted(len(self.feed.components), "component"))
        for callback in tuple(self.callbacks) if changes else ():
            for change in changes:
                call_back(callback, change)

    def lost(self, error: RampdError | None) -> float:
        """Notes the end of the stream and returns the seconds to wait before the next one."""
        pause_s = self.feed.lost(error)
        text = "the server has ended the watch (it stops or restarts)" if error is None else error.message
        before, self._stream = self._stream, self._stream._replace(connected=False, error=text)
        if before.connected or text != before.error:
            level = logging.INFO if error is None else logging.WARNING
            log.log(
                level,
                "lost %s: %s The known state stays in use; the next try is in %.1f s",
                self.settings.target,
                text if text.endswith((".", "!", "?")) else f"{text}.",
                pause_s,
            )
        return pause_s

    def disconnect(self, why: str = "") -> None:
        """Notes that there is no stream, and none was lost: in a forked child, before the first, after the last."""
        self._stream = self._stream._replace(connected=False, error=why or self._stream.error)

    @property
    def silence(self) -> str:
        """Says that the stream is dead, although nobody has ended it."""
        return f"Nothing was heard from {self.settings.target} for some seconds."

    @property
    def is_withheld(self) -> bool:
        """Whether nobody gets next, even from a new state."""
        return self._next_max_stale_s < 0

    def withhold(self, why: str) -> None:
        """Stops giving next to anybody, because this process can no longer learn of a rollback. Logs that once."""
        if not self.is_withheld:
            self._next_max_stale_s = -math.inf
            self._stream = self._stream._replace(connected=False, error=why)
            log.warning("nobody gets next any more: %s", why)

    def is_ready(self) -> bool:
        """Whether there is a state to answer from, and no better one is expected soon. A forked child goes on with the state
        of its parent. The state of a file is used only if no server answers.
        """
        if self._stream.connected:
            return True
        is_fresh = self.feed.is_live and not is_stale(time.monotonic() - self.feed.confirmed_s)
        return self.has_state() and (is_fresh or self.feed.failures > 0)

    def has_state(self) -> bool:
        """Whether there is a state to answer from."""
        return self.feed.is_live or self._stream.source != "none"

    def save(self, *, is_last: bool = False) -> Callable[[], None] | None:
        """Returns a function that writes the snapshot file, which may block. None if it is not time to write."""
        path, feed = self.settings.snapshot_path, self.feed
        if path is None or not feed.is_live:
            return None
        now_s = time.monotonic()
        since_s = now_s - self._saved_s
        is_changed = feed.version != self._saved_version
        wait_s = 0.0 if is_last else _SAVE_AT_MOST_EVERY_S
        if since_s < (wait_s if is_changed else _SAVE_AT_LEAST_EVERY_S):
            return None
        self._saved_s, self._saved_version = now_s, feed.version
        # If a change comes in between, it is taken in again after the restart, which is harmless.
        ahead_s = time.time() - now_s
        moment = Moment(feed.cursor, feed.confirmed_s + ahead_s, max(0.0, feed.told_s + ahead_s))
        present = [*feed.components.values(), *(last.component for last in feed.damaged.values() if last is not None)]
        components = [(known.snapshot, list(known.overrides.items())) for known in present]

        def write() -> None:
            try:
                snapshot_file.write(path, components, selection=feed.selection, moment=moment)
            except OSError as error:
                if not self._file_error:
                    log.warning("%s was not written: %s", path, error)
                self._file_error = f"{path} was not written: {error}"
            else:
                self._file_error = ""

        return write

    # Methods for resolvers.

    def answer(
        self, component: str, repo: str, job_id: str, min_revision: int = 0, fallback: str | None = None
    ) -> Resolution:
        """Answers from the known state. Without a fallback it raises NoVersionError, and UnavailableError (NO_SNAPSHOT) if
        the component exists but is not at `min_revision` yet.
        """
        feed = self.feed
        now_s = time.monotonic()
        age_s = now_s - feed.confirmed_s
        known = feed.components.get(component)
        if known is None and (damaged := feed.damaged.get(component)) is not None:
            known, age_s = damaged.component, max(age_s, now_s - damaged.since_s)
        if known is not None and min_revision and not known.snapshot.reaches(min_revision):
            if fallback is None:
                raise _behind(known.snapshot, min_revision)
            return fallback_of(fallback, age_s)
        if known is None and (deleted := feed.find_deleted(component)) is not None:
            known, age_s = deleted.component, max(age_s, now_s - deleted.since_s)
        if known is not None:
            return resolve(known.snapshot, known.overrides, repo, job_id, feed.now_ms, age_s, self._next_max_stale_s)
        if fallback is not None:
            return fallback_of(fallback, age_s)
        raise NoVersionError(
            self._nothing_known(component, age_s),
            reason=self._reason(component),
            metadata={"component": component},
        )

    def answers(self, jobs: Sequence[v1.ResolveRequest]) -> list[Resolution | RampdError]:
        """Answers each job, in order and all from one state."""
        for _ in range(_TRIES_FOR_ONE_STATE):
            version = self.feed.version
            answers = [self._answer_or_error(job) for job in jobs]
            if version % 2 == 0 and version == self.feed.version:
                break
            time.sleep(0)  # lets the thread that is in the middle of a change go on
        return answers

    def _answer_or_error(self, job: v1.ResolveRequest) -> Resolution | RampdError:
        try:
            return self.answer(job.component, job.repo, job.job_id, job.min_revision)
        except RampdError as error:
            return error

    def reaches(self, jobs: Iterable[v1.ResolveRequest]) -> bool:
        """Whether the component of each job exists and is at the job's `min_revision` or a later one."""
        find = self.feed.find
        return all(
            (known := find(job.component)) is not None and known.snapshot.reaches(job.min_revision) for job in jobs
        )

    def status(self) -> WatchStatus:
        """Returns what is known, and where that is from."""
        feed = self.feed
        age_s = time.monotonic() - feed.confirmed_s
        source, connected, error = self._stream
        if connected and feed.is_silent():
            connected, error = False, self.silence
        elif connected and is_stale(age_s):
            error = (
                f"the server at {self.settings.target} answers, but its store does not confirm the state: the store does not "
                "answer, or was emptied or replaced; the server's log says which"
            )
        return WatchStatus(
            mode="local",
            target=self.settings.target,
            source=source,
            connected=connected,
            components=len(feed.components) + sum(last is not None for last in list(feed.damaged.values())),
            deleted=tuple(sorted(name for name in list(feed.deleted) if feed.find_deleted(name) is not None)),
            snapshot_age_s=age_s,
            stale=is_stale(age_s),
            next_withheld=withholds_next(age_s, self._next_max_stale_s),
            error=error,
            snapshot_file_error=self._file_error,
            damaged=tuple(sorted(feed.damaged)),
        )

    def _reason(self, component: str) -> str:
        if not self._stream.connected:
            return ""
        return "STORE_CORRUPT" if component in self.feed.damaged else "COMPONENT_NOT_FOUND"

    def _nothing_known(self, component: str, age_s: float) -> str:
        target, path = self.settings.target, self.settings.snapshot_path
        if self.settings.components and component not in self.settings.components:
            tried = f"this resolver watches only {', '.join(self.settings.components)}"
        elif component in self.feed.damaged:
            tried = f"its data in the store is damaged, and the server at {target} can't read it: ListRollouts says what is wrong"
        elif self._stream.source == "server":
            tried = f"the server at {target} had no such component {max(age_s, 0):.1f} s ago"
        else:
            tried = f"the server at {target} has sent no state ({self._stream.error or 'it has not answered yet'})"
        if self._stream.source == "file":
            tried += f"; {path} does not have it"
        elif self._stream.source == "none":
            tried += f"; {self._file_error or f'there is no {path}'}" if path else "; there is no snapshot_file"
        return f"No version of {component} is known: {tried}; no fallback was given."


def call_back(callback: Callback, change: Change) -> None:
    """Calls a callback and catches all that it raises, even `sys.exit()`, because the calling thread serves others too. Only
    a Ctrl-C in the main thread is raised, because it is meant for the program.
    """
    try:
        callback(change)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        log.exception("a callback of on_change failed")


def _behind(snapshot: ComponentSnapshot, min_revision: int) -> UnavailableError:
    component, revision = snapshot.component, snapshot.revision
    if snapshot.has_lost(min_revision):
        why = f"The store has lost revision {min_revision} of {component}, so the revision will not come. Ask without min_revision."
    else:
        why = (
            f"{component} is at revision {revision} here, and revision {min_revision} did not come in time. Try again, or ask "
            "without min_revision."
        )
    return UnavailableError(why, reason="NO_SNAPSHOT", metadata={"revision": str(revision)})
