"""How long a change waits until replicas have it too."""

from typing import Final

_SHARE: Final = 0.5
"""The share of a call's time."""
_SHORT_MS: Final = 50
"""How long the changes wait after one for which too few replicas answered."""


class ReplicaWait:
    """The waits of one link."""

    def __init__(self, replicas: int, deadline_s: float) -> None:
        self.replicas = replicas
        """How many replicas a change waits for."""
        self.ms = self._longest_ms = int(deadline_s * 1000 * _SHARE)
        """How long the next change waits for them."""

    def note(self, found: int) -> None:
        """Takes in how many replicas had a change in time."""
        # The component's other writers wait meanwhile. While replicas are away, they do not wait for nothing.
        self.ms = self._longest_ms if found >= self.replicas else min(_SHORT_MS, self.ms)
