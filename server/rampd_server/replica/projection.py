"""Converts the server's rollout into the values that resolving needs."""

from rampd._decision.resolution import Channel, Choice, ComponentSnapshot, SnapshotRelease
from rampd_server.domain.rollout.model import Release, Rollout
from rampd_server.ports import Override


def snapshot_of(rollout: Rollout) -> ComponentSnapshot:
    """Returns the part of a rollout that resolving needs, without its overrides."""
    return ComponentSnapshot(
        component=rollout.component,
        revision=rollout.revision,
        state=rollout.state,
        current=_release(rollout.current_release),
        next=_release(rollout.next_release) if rollout.next_release else None,
        basis_points=rollout.basis_points,
        unit=rollout.unit,
        queued=tuple(map(_release, rollout.queued_releases)),
        # Quarantined releases too: an override to such a tag still works, and gets the release's attributes.
        previous=tuple(_release(rollout.releases[number]) for number in rollout.previous),
        lost=rollout.lost,
    )


def choice_of(override: Override) -> Choice:
    """Returns the choice that an override pins a repo to."""
    return Choice(Channel(override.channel) if override.channel else None, override.tag, override.expire_ms)


def override_of(choice: Choice) -> Override:
    """Returns the override that pins a repo to a choice."""
    return Override(choice.channel or "", choice.tag, choice.expire_ms)


def _release(release: Release) -> SnapshotRelease:
    return SnapshotRelease(release.number, release.tag, release.attributes)
