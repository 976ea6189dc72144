"""Which components a watcher hears about."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Selection:
    """The components of one watcher. Watchers with equal selections get the same whole state. A selection of every component is
    false.
    """

    wanted: frozenset[str] = frozenset()
    """The names that the caller gave. Empty: all."""
    globs: tuple[str, ...] = ()
    """The globs of the caller's grant. Empty if the grant has every component."""
    sees: Callable[[str], bool] = field(default=lambda _component: True, compare=False)
    """Returns whether the caller may see a component, by `globs`."""

    @property
    def mark(self) -> str:
        """The part of a cursor after the epoch. A cursor with another mark can't be continued, because it belongs to a state of
        other components. Empty if the caller may see all components.
        """
        return f"+{hashlib.sha256(' '.join(sorted(self.globs)).encode()).hexdigest()[:8]}" if self.globs else ""

    def __bool__(self) -> bool:
        return bool(self.wanted or self.globs)

    def __contains__(self, component: object) -> bool:
        return (
            isinstance(component, str)
            and (not self.wanted or component in self.wanted)
            and (not self.globs or self.sees(component))
        )
