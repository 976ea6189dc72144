"""What is measured of the calls of Redis: how many there were, how long they took, their errors, and the span of each."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from weakref import WeakSet

from rampd_server.domain.errors import RampdError, Reason, StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.metrics.counting import Counts, Histogram
from rampd_server.tracing import switch


class CommandCounts:
    """The counts of one link."""

    def __init__(self) -> None:
        self.commands = Counts()
        """Calls of Redis, by the command or the name of the script."""
        self.errors = Counts()
        """Errors of the store, by the reason."""
        self.durations = Histogram()
        self._known_errors: WeakSet[Exception] = WeakSet()
        """Errors that are counted already. An error may pass several places that count."""
        for reason in (Reason.STORE_UNAVAILABLE, Reason.STORE_RESET, Reason.STORE_CORRUPT):
            self.errors.add(reason, number=0)
        self._span = _spans()

    @contextmanager
    def measured(self, command: str) -> Iterator[None]:
        """Measures a call, and counts it and its error."""
        began_s = time.perf_counter()
        with self._span(command), self.counted(command):
            try:
                yield
            finally:
                self.durations.observe(time.perf_counter() - began_s)

    @contextmanager
    def counted(self, command: str) -> Iterator[None]:
        """Counts a call whose time says nothing, and its error."""
        self.commands.add(command)
        try:
            yield
        except RampdError as error:
            self.note_error(error)
            raise

    def note_error(self, error: Exception | None) -> None:
        """Counts an error once, if it is one of the store."""
        if not isinstance(error, StoreUnavailableError | StoreResetError | StoreCorruptError):
            return
        if error not in self._known_errors:
            self._known_errors.add(error)
            self.errors.add(error.reason)


def _spans() -> Callable[[str], AbstractContextManager[object]]:
    """What makes the span of a command. The span has no key and no value, because they may have a repo in them."""
    spans = switch.spans()
    if spans is None:
        nothing = nullcontext()
        return lambda _command: nothing

    def span(command: str) -> AbstractContextManager[object]:
        return spans.client(command, {"db.system.name": "redis", "db.operation.name": command})

    return span
