"""Converts the state that resolving needs to messages of Watch, and back. No I/O.

The only copy of both directions: a server writes with it, a client reads with it and writes its snapshot file with it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._decision.resolution import (
    Channel,
    Choice,
    ComponentSnapshot,
    Overrides,
    RolloutState,
    SnapshotRelease,
    Unit,
)

__all__ = ["Assembly", "Component", "MalformedStateError", "apply", "change_of", "parts_of", "service_of"]

PIECE_BYTES = 64 * 1024
"""About how large a piece of a component may be, so that a part of a whole state is smaller than 512 KiB."""

CHANNELS = {v1.CHANNEL_CURRENT: Channel.CURRENT, v1.CHANNEL_NEXT: Channel.NEXT}
_STATES = {
    v1.ROLLOUT_STATE_STEADY: RolloutState.STEADY,
    v1.ROLLOUT_STATE_ROLLING_OUT: RolloutState.ROLLING_OUT,
    v1.ROLLOUT_STATE_HELD: RolloutState.HELD,
}
_UNITS = {v1.UNIT_REPO: Unit.REPO, v1.UNIT_JOB: Unit.JOB}
CHANNEL_NUMBERS = {channel: number for number, channel in CHANNELS.items()}
_STATE_NUMBERS = {state: number for number, state in _STATES.items()}
_UNIT_NUMBERS = {unit: number for number, unit in _UNITS.items()}
_ENTRY_BYTES = 24
"""The largest size of an override without its texts."""


class MalformedStateError(Exception):
    """Raised when a message makes no sense: a newer server sent it, or a message before it was lost."""


@dataclass(slots=True)
class Component:
    """One component as a watcher knows it. One thread writes it, any thread may resolve from it."""

    snapshot: ComponentSnapshot
    overrides: Overrides


# From values to messages.


def parts_of(snapshot: ComponentSnapshot, overrides: Iterable[tuple[str, Choice]]) -> Iterator[v1.ComponentState]:
    """Yields a whole component in pieces of about `PIECE_BYTES` at most."""
    piece = v1.ComponentState(
        component=snapshot.component, revision=snapshot.revision, resolution=_resolution_of(snapshot)
    )
    size = 0
    for release in _releases(snapshot):
        message = _release_of(release)
        size += message.ByteSize()
        piece.releases.append(message)
        if size >= PIECE_BYTES:
            yield piece
            piece, size = v1.ComponentState(component=snapshot.component, revision=snapshot.revision), 0
    add = piece.overrides.add
    for repo, choice in overrides:
        _fill(add(), repo, choice)
        size += len(repo) + len(choice.tag) + _ENTRY_BYTES
        if size >= PIECE_BYTES:
            yield piece
            piece, size = v1.ComponentState(component=snapshot.component, revision=snapshot.revision), 0
            add = piece.overrides.add
    yield piece


def change_of(
    before: ComponentSnapshot | None,
    after: ComponentSnapshot,
    overrides_set: Mapping[str, Choice],
    overrides_deleted: Iterable[str],
) -> v1.ComponentState:
    """Returns what is new in `after`."""
    message = v1.ComponentState(component=after.component, revision=after.revision, deleted_overrides=overrides_deleted)
    if before is None or before.plan is not after.plan:
        known = {} if before is None else {release.number: release for release in _releases(before)}
        releases = [release for release in _releases(after) if known.get(release.number) != release]
        if before is None or releases or _numbers(before) != _numbers(after):
            message.resolution.CopyFrom(_resolution_of(after))
            message.releases.extend(map(_release_of, releases))
    for repo, choice in overrides_set.items():
        _fill(message.overrides.add(), repo, choice)
    return message


def _releases(snapshot: ComponentSnapshot) -> Iterator[SnapshotRelease]:
    yield snapshot.current
    if snapshot.next is not None:
        yield snapshot.next
    yield from snapshot.queued
    yield from snapshot.previous


def _numbers(snapshot: ComponentSnapshot) -> tuple[object, ...]:
    return (
        snapshot.state,
        snapshot.current.number,
        snapshot.next and snapshot.next.number,
        snapshot.basis_points,
        snapshot.unit,
        [release.number for release in snapshot.queued],
        [release.number for release in snapshot.previous],
        snapshot.lost,
    )


def _resolution_of(snapshot: ComponentSnapshot) -> v1.ResolutionState:
    return v1.ResolutionState(
        state=_STATE_NUMBERS[snapshot.state],
        current=snapshot.current.number,
        next=snapshot.next.number if snapshot.next else 0,
        next_percent=snapshot.basis_points / 100,
        unit=_UNIT_NUMBERS[snapshot.unit],
        queued=[release.number for release in snapshot.queued],
        previous=[release.number for release in snapshot.previous],
        lost=[v1.LostRevisions(first=first, last=last) for first, last in snapshot.lost],
    )


def _release_of(release: SnapshotRelease) -> v1.Release:
    return v1.Release(number=release.number, tag=release.tag, attributes=release.attributes)


def _fill(message: v1.Override, repo: str, choice: Choice) -> None:
    message.repo = repo
    if choice.tag:
        message.tag = choice.tag
    elif choice.channel is not None:
        message.channel = CHANNEL_NUMBERS[choice.channel]
    if choice.expire_ms is not None:
        message.expire_time.FromMilliseconds(choice.expire_ms)


# From messages to values.


@dataclass(slots=True)
class Assembly:
    """A whole state of which some parts are still missing. Nobody sees any of it before it is complete."""

    damaged: dict[str, int] = field(default_factory=dict)
    """Components that the server can't read, with the time when the store last confirmed them, in ms by its clock."""
    _components: dict[str, "_Unfinished"] = field(default_factory=dict)

    def note(self, damaged: Iterable[v1.DamagedComponent]) -> None:
        """Takes in those components of a part that the server can't read."""
        self.damaged.update((each.component, _milliseconds(each.confirmed_time)) for each in damaged)

    def add(self, pieces: Iterable[v1.ComponentState]) -> None:
        """Takes in the components of a part. Raises MalformedStateError."""
        for piece in pieces:
            unfinished = self._components.get(piece.component)
            if unfinished is None:
                unfinished = self._components[piece.component] = _Unfinished(piece.revision)
            if piece.HasField("resolution"):
                unfinished.resolution = piece.resolution
            unfinished.releases.update((release.number, _release_from(release)) for release in piece.releases)
            _set_overrides(unfinished.overrides, piece)

    def finish(self) -> dict[str, Component]:
        """Returns all components by name. Raises MalformedStateError."""
        return {name: unfinished.finish(name) for name, unfinished in self._components.items()}


@dataclass(slots=True)
class _Unfinished:
    revision: int
    resolution: v1.ResolutionState | None = None
    releases: dict[int, SnapshotRelease] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)

    def finish(self, name: str) -> Component:
        if self.resolution is None:
            raise MalformedStateError(f"the state of {name} has no weights")
        return Component(_snapshot_from(name, self.revision, self.resolution, self.releases), self.overrides)


def apply(known: Component | None, change: v1.ComponentState) -> Component:
    """Returns the component after a change. A known component is changed in place. Applying a change twice is harmless.
    Raises MalformedStateError, and then changes nothing.
    """
    snapshot = None if known is None else known.snapshot
    if change.HasField("resolution"):
        releases = {} if snapshot is None else {release.number: release for release in _releases(snapshot)}
        releases.update((release.number, _release_from(release)) for release in change.releases)
        snapshot = _snapshot_from(change.component, change.revision, change.resolution, releases)
    elif snapshot is not None:
        snapshot = snapshot.at_revision(change.revision)
    else:
        raise MalformedStateError(f"{change.component} is not known, and its change has no weights")
    overrides = Overrides() if known is None else known.overrides
    _set_overrides(overrides, change)
    if known is None:
        return Component(snapshot, overrides)
    known.snapshot = snapshot
    return known


def service_of(snapshot: ComponentSnapshot | None) -> Mapping[int, SnapshotRelease]:
    """Returns the releases that jobs may get by the weights or by an override to a channel, by their numbers."""
    if snapshot is None:
        return {}
    serving = {snapshot.current.number: snapshot.current}
    if snapshot.next is not None and snapshot.state is RolloutState.ROLLING_OUT:
        serving[snapshot.next.number] = snapshot.next
    return serving


def _snapshot_from(
    name: str, revision: int, resolution: v1.ResolutionState, releases: Mapping[int, SnapshotRelease]
) -> ComponentSnapshot:
    try:
        return ComponentSnapshot(
            component=name,
            revision=revision,
            state=_STATES[resolution.state],
            current=releases[resolution.current],
            next=releases[resolution.next] if resolution.next else None,
            basis_points=round(resolution.next_percent * 100),
            unit=_UNITS[resolution.unit],
            queued=tuple(releases[number] for number in resolution.queued),
            previous=tuple(releases[number] for number in resolution.previous),
            lost=tuple((each.first, each.last) for each in resolution.lost),
        )
    except (KeyError, ValueError, OverflowError) as error:
        raise MalformedStateError(f"the state of {name} makes no sense: {error!r}") from error


def _release_from(release: v1.Release) -> SnapshotRelease:
    return SnapshotRelease(release.number, release.tag, dict(release.attributes))


def _set_overrides(overrides: Overrides, message: v1.ComponentState) -> None:
    overrides.set_all(_choices_from(message.overrides))
    for repo in message.deleted_overrides:
        overrides.delete(repo)


def _choices_from(messages: Iterable[v1.Override]) -> list[tuple[str, Choice]]:
    choices: dict[tuple[v1.Channel, str], Choice] = {}
    pairs = []
    for message in messages:
        expire_ms = _milliseconds(message.expire_time) if message.HasField("expire_time") else None
        key = message.channel, message.tag
        choice = choices.get(key)
        if choice is None or expire_ms is not None:
            choice = _choice_from(*key, expire_ms)
            if expire_ms is None:
                choices[key] = choice
        pairs.append((message.repo, choice))
    return pairs


def _choice_from(channel: v1.Channel, tag: str, expire_ms: int | None) -> Choice:
    if tag:
        return Choice(None, tag, expire_ms)
    if channel not in CHANNELS:
        raise MalformedStateError("an override is neither to a tag nor to a known channel")
    return Choice(CHANNELS[channel], "", expire_ms)


def _milliseconds(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000
