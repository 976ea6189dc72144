"""Every call of `Admin`, written once: what it takes, and what it asks of which method of the server. No I/O.

`Admin` and `AsyncAdmin` make each function a method of the same name and arguments, which makes the call.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from rampd import v1
from rampd._calls.request import make
from rampd._contract.grammar import shown
from rampd._decision.resolution import Channel
from rampd._verbs.pending_call import Ask, Change, Follow, Pages, Read, change_of
from rampd.errors import InvalidArgumentError

# ReleaseService


def release(
    component: str,
    tag: str,
    *,
    attributes: Mapping[str, str] | None = None,
    expedite: bool = False,
    force: bool = False,
    **change: Unpack[Change],
) -> Ask[v1.ReleaseResponse]:
    """Hands in a tag: it becomes current (the first of a component, or with `expedite`), next at 0 %, or waits.

        admin.release("restyler", "20200409", attributes={"commit": "1a2b3c"})

    `attributes` go to the launchers with every answer. `force` lifts a quarantine of the tag. Raises
    FailedPreconditionError (TAG_QUARANTINED, QUEUE_REJECTS, FROZEN), ResourceExhaustedError (QUEUE_FULL).
    """
    return change_of(
        v1.ReleaseRequest,
        v1.ReleaseResponse,
        change,
        component=component,
        tag=tag,
        attributes=attributes,
        expedite=expedite,
        force=force,
    )


def cancel_release(component: str, release: int, **change: Unpack[Change]) -> Ask[v1.CancelReleaseResponse]:
    """Takes a release, by its number, out of the queue. Raises NotFoundError, FailedPreconditionError (NOT_QUEUED)."""
    return change_of(v1.CancelReleaseRequest, v1.CancelReleaseResponse, change, component=component, release=release)


def get_release(component: str, release: int, **read: Unpack[Read]) -> Ask[v1.Release]:
    """One of the last 100 releases of a component, by its number. Raises NotFoundError."""
    request = make(v1.GetReleaseRequest, component=component, release=release)
    return Ask(request, v1.GetReleaseResponse, attrgetter("release"), read.get("timeout"))


def list_releases(component: str, *, page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.Release]:
    """The last 100 releases of a component, newest first."""
    request = make(v1.ListReleasesRequest, component=component, page_size=page_size)
    return Pages(request, v1.ListReleasesResponse, attrgetter("releases"), read.get("timeout"))


def watch_release(
    component: str,
    release: int,
    *,
    until_held: bool = True,
    until_paused: bool | None = None,
    timeout: float | None = None,
) -> Follow[v1.WatchReleaseResponse]:
    """A release's state, percent and reasons as they change, until it ends or (`until_held`) its rollout is HELD.

    With `until_paused` it ends as well when its rollout is paused, with None only where automation paused it because
    something is wrong: neither for a person's pause nor for a step that waits for approval. Goes on for as long as that takes, unless there is a `timeout` in seconds.
    """
    request = make(
        v1.WatchReleaseRequest,
        component=component,
        release=release,
        until_held=until_held,
        until_paused=until_paused,
    )
    return Follow(request, v1.WatchReleaseResponse, timeout)


# RolloutService, the verbs


def ramp(
    component: str,
    percent: float,
    *,
    tag: str = "",
    confirm_within: timedelta | None = None,
    **change: Unpack[Change],
) -> Ask[v1.RampResponse]:
    """Sets next's percent, 0 to 100 in hundredths, up or down; from HELD it resumes the rollout.

        admin.ramp("restyler", 10, tag="20200409")

    `tag`: only if this is next's tag. `confirm_within`: without a `confirm` in this time, next goes to 0 %, HELD. Raises
    FailedPreconditionError (NO_ROLLOUT, TAG_MISMATCH, FROZEN, TAG_QUARANTINED).
    """
    return change_of(
        v1.RampRequest,
        v1.RampResponse,
        change,
        component=component,
        percent=percent,
        tag=tag,
        confirm_within=confirm_within,
    )


def confirm(component: str, *, tag: str = "", **change: Unpack[Change]) -> Ask[v1.ConfirmResponse]:
    """Keeps a ramp that was made with `confirm_within`. Raises FailedPreconditionError (NOTHING_TO_CONFIRM, HELD)."""
    return change_of(v1.ConfirmRequest, v1.ConfirmResponse, change, component=component, tag=tag)


def rollback(
    component: str, *, tag: str = "", quarantine: bool = False, **change: Unpack[Change]
) -> Ask[v1.RollbackResponse]:
    """Next to 0 %, kept, HELD; with `quarantine`, its tag is quarantined too. Works frozen.

    `tag`: only if this is next's tag. Raises FailedPreconditionError (NO_ROLLOUT, TAG_MISMATCH).
    """
    return change_of(
        v1.RollbackRequest, v1.RollbackResponse, change, component=component, tag=tag, quarantine=quarantine
    )


def finalize(
    component: str, *, tag: str = "", force: bool = False, **change: Unpack[Change]
) -> Ask[v1.FinalizeResponse]:
    """Current := next; the queue's head becomes next at 0 %. `force`: even if nobody has tried next.

    `tag`: only if this is next's tag. Raises FailedPreconditionError (NO_ROLLOUT, TAG_MISMATCH, FROZEN,
    TAG_QUARANTINED, NOT_RAMPED).
    """
    return change_of(v1.FinalizeRequest, v1.FinalizeResponse, change, component=component, tag=tag, force=force)


def abandon(
    component: str, *, tag: str = "", quarantine: bool = False, **change: Unpack[Change]
) -> Ask[v1.AbandonResponse]:
    """Drops next; the queue's head becomes next at 0 %. Works frozen.

    `tag`: only if this is next's tag. Raises FailedPreconditionError (NO_ROLLOUT, TAG_MISMATCH).
    """
    return change_of(v1.AbandonRequest, v1.AbandonResponse, change, component=component, tag=tag, quarantine=quarantine)


def revert(
    component: str, *, tag: str = "", quarantine: bool = True, **change: Unpack[Change]
) -> Ask[v1.RevertResponse]:
    """Current := a previous current (default: the newest that is not quarantined), at once. Works frozen.

    Without `tag` it goes back once: where current came by a Revert already, nothing changes, and the message says who
    reverted what. The tag that is left is quarantined unless told not to. Raises FailedPreconditionError
    (ROLLOUT_IN_PROGRESS: without `tag` while next is over 0 %; NO_PREVIOUS, TAG_QUARANTINED), NotFoundError
    (RELEASE_NOT_FOUND).
    """
    return change_of(v1.RevertRequest, v1.RevertResponse, change, component=component, tag=tag, quarantine=quarantine)


def pause(component: str, **change: Unpack[Change]) -> Ask[v1.PauseResponse]:
    """Stops what raises exposure by itself; guards go on. Raises FailedPreconditionError (NO_ROLLOUT, HELD)."""
    return change_of(v1.PauseRequest, v1.PauseResponse, change, component=component)


def resume(component: str, **change: Unpack[Change]) -> Ask[v1.ResumeResponse]:
    """Lets automation raise exposure again. Raises FailedPreconditionError (NO_ROLLOUT, HELD, FROZEN)."""
    return change_of(v1.ResumeRequest, v1.ResumeResponse, change, component=component)


def freeze(
    component: str = "",
    *,
    all: bool = False,  # noqa: A002 - the word of rampd.v1
    expire_time: datetime | None = None,
    **change: Unpack[Change],
) -> Ask[v1.FreezeResponse]:
    """Nothing of a component, or with `all` of any, starts, rises or finalizes, until `expire_time` or `unfreeze`."""
    return change_of(v1.FreezeRequest, v1.FreezeResponse, change, component=component, all=all, expire_time=expire_time)


def unfreeze(
    component: str = "",
    *,
    all: bool = False,  # noqa: A002 - the word of rampd.v1
    **change: Unpack[Change],
) -> Ask[v1.UnfreezeResponse]:
    """Ends the freeze of a component, or with `all` that of the namespace; they don't end each other."""
    return change_of(v1.UnfreezeRequest, v1.UnfreezeResponse, change, component=component, all=all)


def quarantine(component: str, tag: str, **change: Unpack[Change]) -> Ask[v1.QuarantineResponse]:
    """Marks a tag as bad: it can't be released, ramped up, finalized or reverted to. Next of that tag is rolled back."""
    return change_of(v1.QuarantineRequest, v1.QuarantineResponse, change, component=component, tag=tag)


def unquarantine(component: str, tag: str, **change: Unpack[Change]) -> Ask[v1.UnquarantineResponse]:
    """Lifts a quarantine."""
    return change_of(v1.UnquarantineRequest, v1.UnquarantineResponse, change, component=component, tag=tag)


def list_quarantine(component: str, *, page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.QuarantinedTag]:
    """The quarantined tags of a component, in order."""
    request = make(v1.ListQuarantineRequest, component=component, page_size=page_size)
    return Pages(request, v1.ListQuarantineResponse, attrgetter("tags"), read.get("timeout"))


def delete_component(component: str, *, confirm: str, **change: Unpack[Change]) -> Ask[v1.DeleteComponentResponse]:
    """Deletes a component with its queue, quarantine and overrides; `confirm` is its name once more. Its history stays."""
    return change_of(
        v1.DeleteComponentRequest, v1.DeleteComponentResponse, change, component=component, confirm=confirm
    )


# RolloutService, overrides and policy


def set_override(
    component: str,
    repo: str,
    *,
    channel: Channel | None = None,
    tag: str = "",
    expire_time: datetime | None = None,
    **change: Unpack[Change],
) -> Ask[v1.SetOverrideResponse]:
    """Pins a repo, or all repos below a prefix of whole path segments (`acme/*`, `group/sub/*`), to either a channel or
    a tag, until `expire_time`. A repo's own wins, then the longest prefix.

        admin.set_override("restyler", "acme/app", tag="pb/secret-branch")

    The tag need not be a release. `expire_time` has a time zone.
    """
    return change_of(
        v1.SetOverrideRequest,
        v1.SetOverrideResponse,
        change,
        component=component,
        repo=repo,
        channel=channel,
        tag=tag,
        expire_time=expire_time,
    )


def delete_override(component: str, repo: str, **change: Unpack[Change]) -> Ask[v1.DeleteOverrideResponse]:
    """Unpins a repo, or a prefix such as `acme/*`, as it was set. Raises NotFoundError (OVERRIDE_NOT_FOUND)."""
    return change_of(v1.DeleteOverrideRequest, v1.DeleteOverrideResponse, change, component=component, repo=repo)


def batch_set_overrides(
    component: str, overrides: Iterable[v1.OverrideChange], **change: Unpack[Change]
) -> Ask[v1.BatchSetOverridesResponse]:
    """Pins and unpins 1 to 1000 repos, all or none: one revision, one history entry."""
    return change_of(
        v1.BatchSetOverridesRequest,
        v1.BatchSetOverridesResponse,
        change,
        component=component,
        overrides=list(overrides) if isinstance(overrides, Iterable) else overrides,
    )


def list_overrides(component: str, *, prefix: str = "", page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.Override]:
    """The overrides of a component, ordered by repo: of all repos, or of those that begin with `prefix`."""
    request = make(v1.ListOverridesRequest, component=component, prefix=prefix, page_size=page_size)
    return Pages(request, v1.ListOverridesResponse, attrgetter("overrides"), read.get("timeout"))


def set_policy(
    component: str, policy: v1.Policy, *, update_mask: Iterable[str] = (), **change: Unpack[Change]
) -> Ask[v1.SetPolicyResponse]:
    """Changes a component's settings: the fields that `policy` has.

        admin.set_policy("restyler", v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST))

    With `update_mask` exactly the fields that it names; those that `policy` lacks go back to their default.
    """
    try:
        mask = FieldMask(paths=update_mask)
    except (TypeError, ValueError):
        wrong = f"must be names of fields of Policy; got {shown(update_mask)}"
        raise InvalidArgumentError(violations=[("update_mask", wrong)]) from None
    return change_of(
        v1.SetPolicyRequest,
        v1.SetPolicyResponse,
        change,
        component=component,
        policy=policy,
        update_mask=mask if mask.paths else None,
    )


def get_policy(component: str, **read: Unpack[Read]) -> Ask[v1.Policy]:
    """A component's settings, defaults filled in."""
    request = make(v1.GetPolicyRequest, component=component)
    return Ask(request, v1.GetPolicyResponse, attrgetter("policy"), read.get("timeout"))


# RolloutService, reading


def who_am_i(**read: Unpack[Read]) -> Ask[v1.WhoAmIResponse]:
    """Who the server takes this client for: the identity, its role and components, how it was proven, and when that ends."""
    return Ask(make(v1.WhoAmIRequest), v1.WhoAmIResponse, lambda response: response, read.get("timeout"))


def get_rollout(component: str, **read: Unpack[Read]) -> Ask[v1.Rollout]:
    """A component's whole state. Raises NotFoundError."""
    request = make(v1.GetRolloutRequest, component=component)
    return Ask(request, v1.GetRolloutResponse, attrgetter("rollout"), read.get("timeout"))


def list_rollouts(*, page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.Rollout]:
    """All components, by name."""
    request = make(v1.ListRolloutsRequest, page_size=page_size)
    return Pages(request, v1.ListRolloutsResponse, attrgetter("rollouts"), read.get("timeout"))


def list_events(component: str = "", *, page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.Event]:
    """The history of a component, or without one that of the namespace (freezes of all), newest first."""
    request = make(v1.ListEventsRequest, component=component, page_size=page_size)
    return Pages(request, v1.ListEventsResponse, attrgetter("events"), read.get("timeout"))
