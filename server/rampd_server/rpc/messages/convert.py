"""Converts the domain's values to messages of rampd.v1, and back. Messages do not go further than `rpc`."""

from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout import model
from rampd_server.domain.rollout.model import FULL, Absent, Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.ports import Event, ListedOverride, Namespace, Override
from rampd_server.replica.damage import shown
from rampd_server.rpc.messages.policy import set_policy_message


def timestamp(milliseconds: int) -> Timestamp:
    """A time of the store's clock."""
    made = Timestamp()
    made.FromMilliseconds(milliseconds)
    return made


def milliseconds(time: Timestamp) -> int:
    """A time of the store's clock."""
    return time.ToMilliseconds()


def rollout_message(rollout: Rollout, namespace: Namespace, now_ms: int) -> v1.Rollout:
    """Returns a component as readers see it at `now_ms`."""
    in_force = freezes(rollout, Context(now_ms, freeze_all=namespace.freeze))
    message = v1.Rollout(
        component=rollout.component,
        state=f"ROLLOUT_STATE_{rollout.state}",
        current=release_message(rollout.current_release),
        next_percent=rollout.basis_points * 100 / FULL,
        queue=[release_message(release, with_attributes=False) for release in rollout.queued_releases],
        previous=[release_message(release, with_attributes=False) for release in rollout.previous_releases],
        revision=rollout.revision,
        held_reason=rollout.held_reason,
        frozen=bool(in_force),
        freezes=[freeze_message(freeze, is_all=freeze is namespace.freeze) for freeze in in_force],
        paused=rollout.paused,
        unit=f"UNIT_{rollout.unit}",
        policy=set_policy_message(rollout.policy),
        create_time=timestamp(rollout.create_ms),
        update_time=timestamp(rollout.update_ms),
        trial=rollout.trial,
    )
    if rollout.next_release:
        message.next.CopyFrom(release_message(rollout.next_release))
    for channel, release in ((v1.CHANNEL_CURRENT, rollout.current_release), (v1.CHANNEL_NEXT, rollout.next_release)):
        if release and release.tag in rollout.quarantine:
            message.quarantined.append(channel)
    if rollout.paused:
        message.pause.CopyFrom(_pause_message(rollout))
    if rollout.held_reason:
        message.held.reason = rollout.held_reason
        if rollout.hold:
            message.held.actor = rollout.hold.actor
            message.held.create_time.FromMilliseconds(rollout.hold.create_ms)
    if rollout.confirm_deadline_ms is not None:
        message.confirm_deadline.FromMilliseconds(rollout.confirm_deadline_ms)
    return message


def damaged_message(component: str, error: StoreCorruptError) -> v1.Rollout:
    """A component that can't be read."""
    return v1.Rollout(component=component, damage=damage_message(error))


def damage_message(error: StoreCorruptError) -> v1.Damage:
    """Returns the damage of a component's data."""
    return v1.Damage(key=shown(error.metadata["key"]), problem=shown(error.message))


def rollout_or_none(rollout: Rollout | Absent | None, namespace: Namespace, now_ms: int) -> v1.Rollout | None:
    """Returns the rollout for a response; None if the component does not exist any more."""
    return rollout_message(rollout, namespace, now_ms) if isinstance(rollout, Rollout) else None


def _pause_message(rollout: Rollout) -> v1.PauseStatus:
    message = v1.PauseStatus(cause=f"PAUSE_CAUSE_{rollout.pause_cause or 'UNSPECIFIED'}")
    if rollout.pause:
        message.reason, message.actor = rollout.pause.note, rollout.pause.actor
        message.create_time.FromMilliseconds(rollout.pause.create_ms)
    return message


def release_message(release: model.Release, *, with_attributes: bool = True) -> v1.Release:
    """A release."""
    return v1.Release(
        number=release.number,
        tag=release.tag,
        state=f"RELEASE_STATE_{release.state}",
        attributes=release.attributes if with_attributes else None,
        actor=release.actor,
        note=release.note,
        create_time=timestamp(release.create_ms),
        update_time=timestamp(release.update_ms),
        end_reason=release.end_reason,
    )


def quarantined_message(tag: str, mark: model.Quarantine) -> v1.QuarantinedTag:
    """A tag that must not be rolled out."""
    return v1.QuarantinedTag(tag=tag, actor=mark.actor, note=mark.note, create_time=timestamp(mark.create_ms))


def override_message(listed: ListedOverride) -> v1.Override:
    """A repo's fixed choice, and who set it."""
    override, origin = listed.override, listed.origin
    message = v1.Override(repo=listed.repo, channel=f"CHANNEL_{override.channel or 'UNSPECIFIED'}", tag=override.tag)
    if override.expire_ms is not None:
        message.expire_time.FromMilliseconds(override.expire_ms)
    if origin is not None:
        message.actor, message.actor_claimed, message.note = origin.actor, origin.is_claimed, origin.note
        message.create_time.FromMilliseconds(origin.time_ms)
    return message


def override_of(message: v1.SetOverrideRequest | v1.OverrideChange) -> Override:
    """Returns the override that a request asks for."""
    return Override(
        channel=v1.Channel.Name(message.channel).removeprefix("CHANNEL_") if message.channel else "",
        tag=message.tag,
        expire_ms=milliseconds(message.expire_time) if message.HasField("expire_time") else None,
    )


def event_message(event: Event) -> v1.Event:
    """An entry of the history."""
    return v1.Event(
        revision=event.revision,
        time=timestamp(event.time_ms),
        actor=event.actor,
        actor_claimed=event.is_claimed,
        action=event.action,
        note=event.note,
        request_id=event.request_id,
        count=event.count,
        component=event.component,
        id=event.id,
        changes=[
            v1.FieldChange(field=change.field, before=change.before, after=change.after) for change in event.changes
        ],
    )


def freeze_message(freeze: model.Freeze, *, is_all: bool) -> v1.FreezeStatus:
    """Returns a freeze as readers see it. `is_all`: it is that of the namespace."""
    message = v1.FreezeStatus(all=is_all, actor=freeze.actor, note=freeze.note, create_time=timestamp(freeze.create_ms))
    if freeze.expire_ms is not None:
        message.expire_time.FromMilliseconds(freeze.expire_ms)
    return message
