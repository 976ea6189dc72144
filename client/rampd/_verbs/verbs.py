"""Every call of `Admin`, written once: its arguments, and the request that it makes of them. No I/O.

`Admin` and `AsyncAdmin` make a method of each function, with the same name and arguments. The method makes the call.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from rampd import v1
from rampd._calls.request import make
from rampd._contract.grammar import shown
from rampd._decision.overrides import Channel
from rampd._verbs.pending_call import Ask, ChangeOptions, Follow, Pages, Read, change_of
from rampd.errors import InvalidArgumentError

# ReleaseService


def release(
    component: str,
    tag: str,
    *,
    attributes: Mapping[str, str] | None = None,
    expedite: bool = False,
    force: bool = False,
    **change: Unpack[ChangeOptions],
) -> Ask[v1.ReleaseResponse]:
    """Hands in a tag. The release becomes next at 0 %, or waits. With `expedite` it becomes current at once.

        admin.release("restyler", "20200409", attributes={"commit": "1a2b3c"})

    The first release of a component becomes current at once, too. Launchers get the `attributes` with every answer. `force`
    ends a quarantine of the tag. Raises
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


def cancel_release(component: str, release: int, **change: Unpack[ChangeOptions]) -> Ask[v1.CancelReleaseResponse]:
    """Takes the release with this number out of the queue. Raises NotFoundError, FailedPreconditionError (NOT_QUEUED)."""
    return change_of(v1.CancelReleaseRequest, v1.CancelReleaseResponse, change, component=component, release=release)


def get_release(component: str, release: int, **read: Unpack[Read]) -> Ask[v1.Release]:
    """Returns one of the last 100 releases of a component, by its number. Raises NotFoundError."""
    request = make(v1.GetReleaseRequest, component=component, release=release)
    return Ask(request, v1.GetReleaseResponse, attrgetter("release"), read.get("timeout"))


def list_releases(component: str, *, page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.Release]:
    """Lists the last 100 releases of a component, newest first."""
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
    """Streams the state, percent and reasons of a release as they change, until the release ends.

    With `until_held` the stream also ends when the rollout is HELD. With `until_paused=True` it also ends when the rollout
    is paused. With None, the default, it ends only if automation paused the rollout because something is wrong, but not at
    a person's pause or at a step that waits for approval. `timeout` is in seconds; without it the stream has no limit.
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
    **change: Unpack[ChangeOptions],
) -> Ask[v1.RampResponse]:
    """Sets next's percent, up or down: 0 to 100, with at most two decimals. From HELD it resumes the rollout.

        admin.ramp("restyler", 10, tag="20200409")

    `tag`: only if this is next's tag. `confirm_within`: if nobody calls `confirm` within this time, next goes to 0 % and
    the rollout is HELD. Raises FailedPreconditionError (NO_ROLLOUT, TAG_MISMATCH, FROZEN, TAG_QUARANTINED).
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


def confirm(component: str, *, tag: str = "", **change: Unpack[ChangeOptions]) -> Ask[v1.ConfirmResponse]:
    """Keeps a ramp that was made with `confirm_within`. Raises FailedPreconditionError (NOTHING_TO_CONFIRM, HELD)."""
    return change_of(v1.ConfirmRequest, v1.ConfirmResponse, change, component=component, tag=tag)


def rollback(
    component: str, *, tag: str = "", quarantine: bool = False, **change: Unpack[ChangeOptions]
) -> Ask[v1.RollbackResponse]:
    """Sets next to 0 % and keeps it. The rollout is then HELD. Works during a freeze.

    `quarantine`: also quarantine its tag. `tag`: only if this is next's tag. Raises FailedPreconditionError
    (NO_ROLLOUT, TAG_MISMATCH).
    """
    return change_of(
        v1.RollbackRequest, v1.RollbackResponse, change, component=component, tag=tag, quarantine=quarantine
    )


def finalize(
    component: str, *, tag: str = "", force: bool = False, **change: Unpack[ChangeOptions]
) -> Ask[v1.FinalizeResponse]:
    """Makes next current. The first release of the queue becomes next at 0 %. `force`: even if nobody has tried next.

    `tag`: only if this is next's tag. Raises FailedPreconditionError (NO_ROLLOUT, TAG_MISMATCH, FROZEN,
    TAG_QUARANTINED, NOT_RAMPED).
    """
    return change_of(v1.FinalizeRequest, v1.FinalizeResponse, change, component=component, tag=tag, force=force)


def abandon(
    component: str, *, tag: str = "", quarantine: bool = False, **change: Unpack[ChangeOptions]
) -> Ask[v1.AbandonResponse]:
    """Drops next. The first release of the queue becomes next at 0 %. Works during a freeze.

    `quarantine`: also quarantine its tag. `tag`: only if this is next's tag. Raises FailedPreconditionError
    (NO_ROLLOUT, TAG_MISMATCH).
    """
    return change_of(v1.AbandonRequest, v1.AbandonResponse, change, component=component, tag=tag, quarantine=quarantine)


def revert(
    component: str, *, tag: str = "", quarantine: bool = True, **change: Unpack[ChangeOptions]
) -> Ask[v1.RevertResponse]:
    """Makes a previous current the current release again, at once. Works during a freeze.

    Default of `tag`: the newest previous tag that is not quarantined. Without `tag` it goes back only once: if current
    already came by a Revert, nothing changes, and the message says who reverted what. `quarantine`: also quarantine the tag
    that is current now. Raises FailedPreconditionError (ROLLOUT_IN_PROGRESS: without `tag` while next is over 0 %;
    NO_PREVIOUS, TAG_QUARANTINED), NotFoundError (RELEASE_NOT_FOUND).
    """
    return change_of(v1.RevertRequest, v1.RevertResponse, change, component=component, tag=tag, quarantine=quarantine)


def pause(component: str, **change: Unpack[ChangeOptions]) -> Ask[v1.PauseResponse]:
    """Stops automation from raising exposure. The guards go on. Raises FailedPreconditionError (NO_ROLLOUT, HELD)."""
    return change_of(v1.PauseRequest, v1.PauseResponse, change, component=component)


def resume(component: str, **change: Unpack[ChangeOptions]) -> Ask[v1.ResumeResponse]:
    """Lets automation raise exposure again. Raises FailedPreconditionError (NO_ROLLOUT, HELD, FROZEN)."""
    return change_of(v1.ResumeRequest, v1.ResumeResponse, change, component=component)


def freeze(
    component: str = "",
    *,
    all: bool = False,  # noqa: A002 - the word of rampd.v1
    expire_time: datetime | None = None,
    **change: Unpack[ChangeOptions],
) -> Ask[v1.FreezeResponse]:
    """Freezes a component, or with `all` the namespace: until `expire_time` or `unfreeze`, no release starts, rises or is
    finalized.
    """
    return change_of(v1.FreezeRequest, v1.FreezeResponse, change, component=component, all=all, expire_time=expire_time)


def unfreeze(
    component: str = "",
    *,
    all: bool = False,  # noqa: A002 - the word of rampd.v1
    **change: Unpack[ChangeOptions],
) -> Ask[v1.UnfreezeResponse]:
    """Ends the freeze of a component, or with `all` the freeze of the namespace. Neither ends the other."""
    return change_of(v1.UnfreezeRequest, v1.UnfreezeResponse, change, component=component, all=all)


def quarantine(component: str, tag: str, **change: Unpack[ChangeOptions]) -> Ask[v1.QuarantineResponse]:
    """Quarantines a tag: it can't be released, ramped up, finalized or reverted to. If next has it, next is rolled back."""
    return change_of(v1.QuarantineRequest, v1.QuarantineResponse, change, component=component, tag=tag)


def unquarantine(component: str, tag: str, **change: Unpack[ChangeOptions]) -> Ask[v1.UnquarantineResponse]:
    """Ends the quarantine of a tag."""
    return change_of(v1.UnquarantineRequest, v1.UnquarantineResponse, change, component=component, tag=tag)


def list_quarantine(component: str, *, page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.QuarantinedTag]:
    """Lists the quarantined tags of a component, in order."""
    request = make(v1.ListQuarantineRequest, component=component, page_size=page_size)
    return Pages(request, v1.ListQuarantineResponse, attrgetter("tags"), read.get("timeout"))


def delete_component(
    component: str, *, confirm: str, **change: Unpack[ChangeOptions]
) -> Ask[v1.DeleteComponentResponse]:
    """Deletes a component with its queue, quarantine and overrides; `confirm` is its name again. Its history stays."""
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
    **change: Unpack[ChangeOptions],
) -> Ask[v1.SetOverrideResponse]:
    """Pins a repo, or all repos below a prefix of whole path segments (`acme/*`, `group/sub/*`), to a channel or a
    tag, until `expire_time`. The override of the repo itself wins over a prefix, and a longer prefix over a shorter one.

        admin.set_override("restyler", "acme/app", tag="pb/secret-branch")

    The tag may be one that was never released. `expire_time` must have a time zone.
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


def delete_override(component: str, repo: str, **change: Unpack[ChangeOptions]) -> Ask[v1.DeleteOverrideResponse]:
    """Deletes the override of a repo or a prefix, written as it was set. Raises NotFoundError (OVERRIDE_NOT_FOUND)."""
    return change_of(v1.DeleteOverrideRequest, v1.DeleteOverrideResponse, change, component=component, repo=repo)


def batch_set_overrides(
    component: str, overrides: Iterable[v1.OverrideChange], **change: Unpack[ChangeOptions]
) -> Ask[v1.BatchSetOverridesResponse]:
    """Sets and deletes 1 to 1000 overrides, all or none. They make one revision and one history entry."""
    return change_of(
        v1.BatchSetOverridesRequest,
        v1.BatchSetOverridesResponse,
        change,
        component=component,
        overrides=list(overrides) if isinstance(overrides, Iterable) else overrides,
    )


def list_overrides(component: str, *, prefix: str = "", page_size: int = 0, **read: Unpack[Read]) -> Pages[v1.Override]:
    """Lists the overrides of a component, ordered by repo. With `prefix`: only those whose repo begins with it."""
    request = make(v1.ListOverridesRequest, component=component, prefix=prefix, page_size=page_size)
    return Pages(request, v1.ListOverridesResponse, attrgetter("overrides"), read.get("timeout"))


def set_policy(
    component: str, policy: v1.Policy, *, update_mask: Iterable[str] = (), **change: Unpack[ChangeOptions]
) -> Ask[v1.SetPolicyResponse]:
    """Changes the settings of a component that `policy` has.

        admin.set_policy("restyler", v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST))

    With `update_mask` it sets exactly the fields that the mask names. A field that is named there and absent in `policy`
    goes back to its default.
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
    """Returns the settings of a component, with the defaults filled in."""
    request = make(v1.GetPolicyRequest, component=component)
    return Ask(request, v1.GetPolicyResponse, attrgetter("policy"), read.get("timeout"))


# RolloutService, reading


def who_am_i(**read: Unpack[Read]) -> Ask[v1.WhoAmIResponse]:
    """Who the server takes this client for: the identity, its role and components, how it was proven, and when that ends."""
    return Ask(make(v1.WhoAmIRequest), v1.WhoAmIResponse, lambda response: response, read.get("timeout"))


def get_server(**read: Unpack[Read]) -> Ask[v1.Server]:
    """Returns how the server and its store are set up, and how they are. With several servers behind one address, one of them
    answers for itself. Raises UnimplementedError if the server is older than this call.
    """
    return Ask(make(v1.GetServerRequest), v1.GetServerResponse, attrgetter("server"), read.get("timeout"))


def get_rollout(component: str, **read: Unpack[Read]) -> Ask[v1.Rollout]:
    """Returns the whole state of a component. Raises NotFoundError."""
    request = make(v1.GetRolloutRequest, component=component)
    return Ask(request, v1.GetRolloutResponse, attrgetter("rollout"), read.get("timeout"))


def list_rollouts(*, page_size: int = 0, current_outcomes: bool = False, **read: Unpack[Read]) -> Pages[v1.Rollout]:
    """Lists all components, by name. With `current_outcomes`, each has the jobs of current, too."""
    request = make(v1.ListRolloutsRequest, page_size=page_size, current_outcomes=current_outcomes)
    return Pages(request, v1.ListRolloutsResponse, attrgetter("rollouts"), read.get("timeout"))


def list_events(
    component: str = "",
    *,
    every_component: bool = False,
    after: str = "",
    page_size: int = 0,
    on_damage: Callable[[v1.Damage], None] | None = None,
    **read: Unpack[Read],
) -> Pages[v1.Event]:
    """Lists the history of a component, newest first. Without a component: that of the namespace (freezes of all).

    With `every_component` and no component: all histories together, as far as the caller may see them. With `after`, the
    `id` of an event: only later events. So a program follows the history:

        for event in admin.list_events(every_component=True, after=last.id):

    With `every_component`, a history that the server can't read is left out. `on_damage` is called with each one, for each page.
    """

    def events(response: v1.ListEventsResponse) -> Sequence[v1.Event]:
        if on_damage is not None:
            for damage in response.damage:
                on_damage(damage)
        return response.events

    request = make(
        v1.ListEventsRequest, component=component, every_component=every_component, after=after, page_size=page_size
    )
    return Pages(request, v1.ListEventsResponse, events, read.get("timeout"))
