"""The messages of the components of the copy, as lists show them. Each is encoded once, and kept until its component changes."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from rampd import v1
from rampd._decision.resolution import ComponentSnapshot
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.ports import FeedEntry, Namespace
from rampd_server.replica.replica import Replica
from rampd_server.rpc.messages.convert import rollout_message

_MAX_BYTES: Final = 32 * 1024 * 1024
"""The limit for all messages together. What does not fit is made again each time."""


class _Kept(NamedTuple):
    rollout: Rollout
    in_force: list[Freeze]
    """The freezes that the message shows. They also change with the namespace, and with time."""
    message: bytes


class KeptMessages:
    """Keeps what was asked for, and only of components that the copy has."""

    def __init__(self, replica: Replica, *, max_bytes: int = _MAX_BYTES) -> None:
        self._replica = replica
        self._kept: dict[str, _Kept] = {}
        self._room = max_bytes
        replica.subscribe(self)

    def message(self, rollout: Rollout, namespace: Namespace, now_ms: int) -> v1.Rollout:
        """Returns a component as readers see it at `now_ms`. The message is the caller's own."""
        in_force = freezes(rollout, Context(now_ms, freeze_all=namespace.freeze))
        kept = self._kept.get(rollout.component)
        if kept is not None and kept.rollout is rollout and kept.in_force == in_force:
            return v1.Rollout.FromString(kept.message)
        message = rollout_message(rollout, namespace, now_ms)
        known = self._replica.get(rollout.component)
        if known is not None and known.rollout is rollout:
            self._keep(_Kept(rollout, in_force, message.SerializeToString()))
        return message

    def _keep(self, kept: _Kept) -> None:
        self._forget(kept.rollout.component)
        if len(kept.message) <= self._room:
            self._kept[kept.rollout.component] = kept
            self._room -= len(kept.message)

    def _forget(self, component: str) -> None:
        kept = self._kept.pop(component, None)
        if kept is not None:
            self._room += len(kept.message)

    # What the replica tells.

    def applied(self, entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """A component changed."""
        self._forget(entry.component)

    def reloaded(self) -> Iterator[None]:
        """Forgets what the copy does not have any more."""
        for component, kept in list(self._kept.items()):
            known = self._replica.get(component)
            if known is None or known.rollout is not kept.rollout:
                self._forget(component)
            yield
