"""A view that stays on a terminal and changes, until Ctrl-C."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rampd._contract.wording import counted


class LiveView:
    """Draws on a screen of its own. What was on the terminal before comes back at the end."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._size = live.console.size

    @property
    def has_new_size(self) -> bool:
        """Whether the terminal has another size than at the last `show`."""
        return self._live.console.size != self._size

    def show(self, lines: Sequence[Text]) -> None:
        """Draws lines instead of those before. Lines below the end of the terminal are left out, and the last line says so."""
        self._size = self._live.console.size
        height = self._size.height
        if len(lines) > height:
            lines = [*lines[: height - 1], Text(counted(len(lines) - height + 1, "more line"), style="dim")]
        self._live.update(Text("\n", overflow="fold").join(lines), refresh=True)


@contextmanager
def live_view(console: Console) -> Iterator[LiveView]:
    """Gives a view for as long as the block lasts. The terminal is restored after Ctrl-C, and after a `kill`, too."""
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield LiveView(live)
