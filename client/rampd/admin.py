"""The calls of CI and admins, as methods. For programs with threads. `rampd.aio` has the same for asyncio."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from google.protobuf.message import Message

from rampd import v1
from rampd._calls.connection import Connection
from rampd._calls.endpoint import Endpoint
from rampd._calls.request import actor_metadata
from rampd._calls.timeout import ADMIN_TIMEOUT_S, checked_timeout
from rampd._runtime.fork_gate import OnePerProcess
from rampd._verbs import verbs
from rampd._verbs.method import as_method_of
from rampd._verbs.pending_call import Ask, Follow, Pages
from rampd._verbs.release_wait import Waiting, result_of
from rampd.credentials import Credentials
from rampd.errors import RampdError

__all__ = ["Admin"]

_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_Streamed = TypeVar("_Streamed", bound=Message)


def _asking(verb: Callable[_P, Ask[_Result]]) -> "Callable[Concatenate[Admin, _P], _Result]":
    def method(self: "Admin", /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        return self._ask(verb(*args, **kwargs))

    as_method_of(verb, method)
    return method


def _listing(verb: Callable[_P, Pages[_Result]]) -> "Callable[Concatenate[Admin, _P], Iterator[_Result]]":
    def method(self: "Admin", /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_Result]:
        return self._list(verb(*args, **kwargs))

    as_method_of(verb, method, Iterator)
    return method


def _following(verb: Callable[_P, Follow[_Streamed]]) -> "Callable[Concatenate[Admin, _P], Iterator[_Streamed]]":
    def method(self: "Admin", /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_Streamed]:
        return self._follow(verb(*args, **kwargs))

    as_method_of(verb, method, Iterator)
    return method


class Admin(OnePerProcess):
    """Every call of ReleaseService and RolloutService.

        with Admin("127.0.0.1:50051", actor="deploy") as admin:
            admin.release("restyler", "20200409")
            admin.ramp("restyler", 10)

    A call that changes something returns the response of rampd.v1, with the `rollout` after the change. get_x returns
    an x. list_x returns an iterator that fetches page after page while it is used. An enum in a message is a number:
    `v1.RolloutState(rollout.state)` prints as its name. Wrong arguments raise InvalidArgumentError before anything is
    sent. An admin makes no thread and no socket before the first call. Any thread may use it.
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
        """`actor` is the name in the history, shown as claimed; with credentials, for whom the proven identity acts. `timeout` is
        in seconds. `credentials` and `ca_file` are as in `Resolver`. Raises InvalidArgumentError.
        """
        self._timeout_s = checked_timeout(timeout)
        self._connection = Connection(Endpoint(target, credentials, ca_file), metadata=actor_metadata(actor))

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

    def wait_for_release(
        self,
        component: str,
        release: int,
        *,
        until_held: bool = True,
        until_paused: bool | None = None,
        timeout: float | None = None,
    ) -> v1.Release:
        """Waits until a release has been rolled out. Returns the release: CURRENT, or RETIRED if another one has taken its place.

            number = admin.release("restyler", "20200409").release
            admin.wait_for_release("restyler", number, timeout=3600)

        If a server has answered once and then stops, the wait goes on. `timeout` is in seconds; without it the wait has
        no limit. Raises ReleaseFailedError, whose `reason` is HELD, PAUSED, REVERTED, ABANDONED, CANCELLED or SUPERSEDED;
        DeadlineExceededError; NotFoundError. With `until_held=False` it waits on while HELD: somebody may ramp it again.

        PAUSED means that automation paused the rollout because something is wrong, and that a person must act. With
        `until_paused=True` a person's pause and a step that waits for approval count too. With False no pause counts.
        """
        states = self.follow_release(
            component, release, until_held=until_held, until_paused=until_paused, timeout=timeout
        )
        [last] = deque(states, maxlen=1)
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
    ) -> Iterator[v1.WatchReleaseResponse]:
        """Yields the state of a release as it changes, until the release ends: `wait_for_release`, step by step.

            for seen in admin.follow_release("restyler", number):
                print(seen.message)

        It goes on while a server restarts, as `wait_for_release` does, and has the same arguments. After a break the first
        state may be the one of before. `on_lost` is called with the error whenever no server answers, before each new try.
        Raises DeadlineExceededError, NotFoundError. It does not raise ReleaseFailedError: the last state says how it ended.
        """
        waiting = Waiting(
            component,
            release,
            until_held=until_held,
            until_paused=until_paused,
            timeout=timeout,
            now_s=time.monotonic(),
        )
        return self._states(waiting, on_lost)

    def _states(
        self, waiting: Waiting, on_lost: Callable[[RampdError], object] | None
    ) -> Iterator[v1.WatchReleaseResponse]:
        while True:
            error = None
            stream = self._connection.stream(waiting.request, waiting.response, waiting.left_s(time.monotonic()))
            try:
                with contextlib.closing(stream):
                    for response in stream:
                        is_over = waiting.is_over(response)
                        yield response
                        if is_over:
                            return
            except RampdError as raised:
                error = raised
            pause_s = waiting.pause_s(error, time.monotonic())
            if error is not None and on_lost is not None:
                on_lost(error)
            time.sleep(pause_s)

    def _ask(self, ask: Ask[_Result]) -> _Result:
        return ask.result(self._connection.call(ask.request, ask.response, self._limit_s(ask.timeout)))

    def _list(self, pages: Pages[_Result]) -> Iterator[_Result]:
        limit_s = self._limit_s(pages.timeout)

        def fetched() -> Iterator[_Result]:
            page: Pages[_Result] | None = pages
            while page is not None:
                response = self._connection.call(page.request, page.response, limit_s)
                yield from page.items(response)
                page = page.following(response)

        return fetched()

    def _follow(self, follow: Follow[_Streamed]) -> Iterator[_Streamed]:
        limit_s = None if follow.timeout is None else checked_timeout(follow.timeout)
        return self._connection.stream(follow.request, follow.response, limit_s)

    def _limit_s(self, timeout: float | None) -> float:
        return self._timeout_s if timeout is None else checked_timeout(timeout)

    def close(self) -> None:
        """Ends the connection. A closed admin raises ClosedError."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.target!r})"
