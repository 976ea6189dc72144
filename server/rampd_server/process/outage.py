"""Logs that something is away: once, then at growing intervals, and once when it is back."""

import time
from collections.abc import Callable, Iterable

import structlog

_FIRST_S = 10.0
_GROWTH = 2
_LONGEST_S = 600.0
_MAX_TEXTS = 8
"""How many different errors of one outage are logged at once. Later ones are logged only at the intervals."""

log = structlog.get_logger()


class Outage:
    """Logs `lost` while something is away, and `found` once it is back. A caller may call `tell` for every failure."""

    def __init__(
        self, lost: str, found: str, *, monotonic: Callable[[], float] = time.monotonic, **fields: str | int
    ) -> None:
        """`fields` stand in each log line."""
        self._lost = lost
        self._found = found
        self._fields = fields
        self._monotonic = monotonic
        self._began_s: float | None = None
        self._texts: set[str] = set()
        self._next_s = 0.0
        self._interval_s = 0.0

    @property
    def lasts_s(self) -> float | None:
        """For how many seconds it has been away; None if it is not away."""
        return None if self._began_s is None else self._monotonic() - self._began_s

    def tell(self, error: str, *, exc_info: BaseException | None = None) -> None:
        """Marks it as away, for the reason `error`."""
        now_s = self._monotonic()
        if self._began_s is None:
            self._began_s = now_s
            self._interval_s = _FIRST_S
            self._next_s = now_s + _FIRST_S
        elif now_s >= self._next_s:
            self._interval_s = min(self._interval_s * _GROWTH, _LONGEST_S)
            self._next_s = now_s + self._interval_s
        elif error in self._texts or len(self._texts) >= _MAX_TEXTS:
            return
        self._texts.add(error)
        more = {} if exc_info is None else {"exc_info": exc_info}
        log.warning(self._lost, error=error, for_s=round(now_s - self._began_s), **self._fields, **more)

    def end(self) -> None:
        """Marks it as back. Costs nothing if it was not away."""
        if self._began_s is None:
            return
        log.info(self._found, after_s=round(self._monotonic() - self._began_s), **self._fields)
        self._began_s = None
        self._texts.clear()


class Outages:
    """The outages of many things that have a kind in common. Only things that are away are kept."""

    def __init__(
        self, lost: str, found: str, names: tuple[str, ...], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`names` are the fields of a log line that identify the thing."""
        self._lost = lost
        self._found = found
        self._names = names
        self._monotonic = monotonic
        self._outages: dict[tuple[str, ...], Outage] = {}

    @property
    def away(self) -> Iterable[tuple[str, ...]]:
        """The things that are away, each with the values that `tell` was called with."""
        return tuple(self._outages)

    def tell(self, *thing: str, error: str, exc_info: BaseException | None = None) -> None:
        """Marks one thing as away, for the reason `error`."""
        found = self._outages.get(thing)
        if found is None:
            fields = dict(zip(self._names, thing, strict=True))
            found = self._outages[thing] = Outage(self._lost, self._found, monotonic=self._monotonic, **fields)
        found.tell(error, exc_info=exc_info)

    def end(self, *thing: str) -> None:
        """Marks one thing as back, or as not expected any more. Costs nothing if it was not away."""
        found = self._outages.pop(thing, None)
        if found is not None:
            found.end()
