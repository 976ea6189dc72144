"""The token that a client sends. The client asks for it when it needs one, keeps it while it is good, and asks for another one
before it ends.

A thread of its own fetches a token over the network. So a caller waits no longer than its time-out, Ctrl-C works, and a fork
does not wait for a fetch.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from rampd._contract.token import Secret, token_violation
from rampd._runtime.fork_gate import Living, is_cut_off
from rampd.credentials import GitLab, Token, TokenFile
from rampd.errors import DeadlineExceededError, UnauthenticatedError

_QUICK: Final = (Token, TokenFile, GitLab)
"""Credentials that only read memory, a file or a variable. All other credentials may use the network."""
_READ_AGAIN_S: Final = 1.0
_BEFORE_END_S: Final = 30.0
"""A fetched token is replaced this long before its end."""
_LIFE_S: Final = 60.0
"""How long a fetched token is used if its end is not known."""
_LEAST_LIFE_S: Final = 10.0
"""The shortest time that a fetched token is used. It also holds if the clock of this machine is wrong or the server refuses every
token.
"""
_FETCH_AGAIN_S: Final = 1.0
"""After a failed fetch, how long callers get its error without another fetch."""


@dataclass(frozen=True, slots=True)
class _Held:
    header: Secret
    since_s: float
    """When the client asked for it, by the monotonic clock."""
    renew_s: float
    """When to ask for another one, in seconds since 1970."""
    end_s: float


class HeldToken:
    """Any thread may use it, and so may a forked child."""

    def __init__(self, ask: Callable[[], tuple[str, float | None]]) -> None:
        self._ask = ask
        self._is_quick = isinstance(ask, _QUICK)
        self._held: _Held | None = None
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        """A child keeps the token of its parent, but not the thread that fetches another one."""
        # A signal handler may interrupt this thread anywhere: it must be able to enter the lock again.
        self._news = threading.Condition(threading.RLock())
        self._is_fetching = False
        self._error: UnauthenticatedError | None = None
        self._failed_s = -math.inf

    def header(self, timeout_s: float) -> Secret:
        """The value of the header `authorization`. Raises UnauthenticatedError, and DeadlineExceededError if the credentials
        give no token in time.
        """
        held = self._held
        if held is None or time.time() >= held.renew_s:
            is_cut_off()  # notices a fork that ran no hooks; after such a fork the lock may be held for ever
            held = self._read() if self._is_quick else self._fetched(timeout_s)
        return held.header

    def forget(self) -> None:
        """Asks again at the next call, because a server has refused the token. A fetched token that is new stays."""
        held = self._held
        if held is not None and (self._is_quick or time.monotonic() >= held.since_s + _LEAST_LIFE_S):
            self._held = None

    def _read(self) -> _Held:
        try:
            held = self._asked()
        except UnauthenticatedError:
            if self._held is None:
                raise
            # A file that is being replaced may be missing or cut for a moment.
            held = replace(self._held, renew_s=time.time() + _READ_AGAIN_S)
        self._held = held
        return held

    def _fetched(self, timeout_s: float) -> _Held:
        with self._news:
            held = self._held
            # Another token may have come since the caller looked.
            if held is None or time.time() >= held.renew_s:
                self._fetch()
                held = self._held
            if held is not None and time.time() < held.end_s:
                return held
            if not self._news.wait_for(lambda: not self._is_fetching, timeout_s):
                raise DeadlineExceededError(
                    f"The credentials have given no token in {timeout_s:.3g} s, so nothing was sent."
                )
            held, error = self._held, self._error
        if held is not None and time.time() < held.end_s:
            return held
        if error is None:
            raise UnauthenticatedError("The credentials have given no token that is still good.")
        raise UnauthenticatedError(error.message) from error.__cause__

    def _fetch(self) -> None:
        if self._is_fetching or time.monotonic() < self._failed_s + _FETCH_AGAIN_S:
            return
        self._is_fetching = True
        try:
            threading.Thread(target=self._run, name="rampd-token", daemon=True).start()
        except BaseException as error:
            self._is_fetching = False
            if not isinstance(error, RuntimeError):
                raise
            self._note(UnauthenticatedError(f"There is no token: this process could not start a thread ({error})."))

    def _run(self) -> None:
        try:
            found: _Held | UnauthenticatedError = self._asked()
        except UnauthenticatedError as error:
            found = error
        except BaseException as error:  # noqa: BLE001 - SystemExit too, because callers wait for this thread
            found = _raised(error)
        with self._news:
            self._note(found)
            self._is_fetching = False
            self._news.notify_all()

    def _note(self, found: _Held | UnauthenticatedError) -> None:
        if isinstance(found, _Held):
            self._held, self._error = found, None
        else:
            self._error, self._failed_s = found, time.monotonic()

    def _asked(self) -> _Held:
        """Raises UnauthenticatedError."""
        since_s = time.monotonic()
        try:
            found = self._ask()
        except UnauthenticatedError:
            raise
        except Exception as error:
            raise _raised(error) from error
        try:
            token, end_s = found
            end_s = None if end_s is None else float(end_s)
        except (TypeError, ValueError, OverflowError):
            raise UnauthenticatedError(
                "The credentials must return a token and when it ends (seconds since 1970, or None), but returned something else."
            ) from None
        if (wrong := token_violation(token)) is not None:
            raise UnauthenticatedError(f"The text that the credentials returned {wrong}.")
        header = Secret(f"Bearer {token}")
        now_s = time.time()
        if self._is_quick:
            return _Held(header, since_s, now_s + _READ_AGAIN_S, math.inf)
        if end_s is None:
            return _Held(header, since_s, now_s + _LIFE_S, math.inf)
        least_s = now_s + _LEAST_LIFE_S
        return _Held(header, since_s, max(least_s, end_s - _BEFORE_END_S), max(least_s, end_s))


def _raised(error: BaseException) -> UnauthenticatedError:
    made = UnauthenticatedError(f"There is no token: the credentials raised {type(error).__name__}.")
    made.__cause__ = error
    return made


_all = Living(renew=HeldToken._renew)
