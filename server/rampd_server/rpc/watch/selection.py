"""The components that a watcher is told of."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Selection:
    """Equal selections share a whole state. False where it has every component."""

    wanted: frozenset[str] = frozenset()
    """The names that the caller gave; none: all."""
    globs: tuple[str, ...] = ()
    """Of the caller's grant, where that does not have every component."""
    sees: Callable[[str], bool] = field(default=lambda _component: True, compare=False)
    """Whether a component is there for the caller: what `globs` says."""

    @property
    def mark(self) -> str:
        """What cursors have after the epoch: a state of other components can't be continued. Empty where the caller may see all."""
        return f"+{hashlib.sha256(' '.join(sorted(self.globs)).encode()).hexdigest()[:8]}" if self.globs else ""

    def __bool__(self) -> bool:
        return bool(self.wanted or self.globs)

    def __contains__(self, component: object) -> bool:
        return (
            isinstance(component, str)
            and (not self.wanted or component in self.wanted)
            and (not self.globs or self.sees(component))
        )
