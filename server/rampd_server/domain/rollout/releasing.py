"""The verbs that queue releases, make them current, and end them."""

from dataclasses import replace

from rampd_server.domain import refusals
from rampd_server.domain.rollout import commands, model, moves
from rampd_server.domain.rollout.advice import (
    everybody_gets,
    what_frees,
    what_raises,
    what_resumes,
    what_starts,
    what_thaws,
    who_froze,
)
from rampd_server.domain.rollout.effect import Done
from rampd_server.domain.rollout.model import (
    Absent,
    Arrival,
    Disposition,
    Means,
    QueueMode,
    Release,
    ReleaseState,
    Rollout,
)
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.rollout.requirements import refuse_frozen, refuse_quarantined, require_next
from rampd_server.domain.rollout.reverting import what_goes_back
from rampd_server.domain.wording import inside

_IF_FINE = "If the tag is fine after all, Release it with `force`."


def bootstrap(absent: Absent, command: commands.Release, context: Context) -> Done:
    """Makes the first release of a component current at once. Refuses a tag whose quarantine outlived a loss of the component."""
    if not command.force:
        refuse_quarantined(absent, command.tag, _IF_FINE)
    number = absent.last_number + 1
    rollout = Rollout(
        component=absent.component,
        revision=absent.revision,
        last_number=number,
        current=number,
        releases={number: moves.new_release(number, command.tag, ReleaseState.CURRENT, command.attributes, context)},
        create_ms=context.now_ms,
        update_ms=context.now_ms,
        quarantine={tag: mark for tag, mark in absent.quarantine.items() if tag != command.tag},
        arrival=Arrival(Means.BOOTSTRAP, context.actor, context.note, context.now_ms),
    )
    return Done(
        rollout,
        f"{absent.component} is new: everybody gets {command.tag}.",
        Disposition.BOOTSTRAPPED,
        number,
    )


def release(rollout: Rollout, command: commands.Release, context: Context) -> Done:
    lifted = moves.lift_quarantine(rollout, command.tag) if command.force else rollout
    done = _release(lifted, command, context)
    says = f" The quarantine of {command.tag} is lifted." if lifted is not rollout else ""
    return replace(done, message=done.message + says)


def _release(rollout: Rollout, command: commands.Release, context: Context) -> Done:
    live = _live_release(rollout, command.tag)
    if live is not None and not (command.expedite and live.number != rollout.current):
        message = _unchanged_message(rollout, live, command, context)
        return Done(rollout, message, Disposition.UNCHANGED, live.number)
    if command.expedite:
        refuse_frozen(rollout, context)
    refuse_quarantined(rollout, command.tag, _IF_FINE)
    if command.expedite:
        return _promote(rollout, live, command, context)
    return _enqueue(rollout, command, context)


def _live_release(rollout: Rollout, tag: str) -> Release | None:
    candidates = (rollout.current_release, rollout.next_release, *rollout.queued_releases)
    return next((candidate for candidate in candidates if candidate and candidate.tag == tag), None)


def _unchanged_message(rollout: Rollout, live: Release, command: commands.Release, context: Context) -> str:
    if live.number == rollout.current:
        message = f"{live.tag} is current already."
    elif live.number == rollout.next and rollout.held_reason:
        message = (
            f"{live.tag} is next already, and held ({inside(rollout.held_reason)}). {what_frees(rollout, context)}"
        )
    elif live.number == rollout.next:
        message = f"{live.tag} is next already."
    else:
        message = f"{live.tag} waits already."
    if command.attributes != live.attributes:
        message += f" It keeps the attributes of release {live.number}. The attributes in this request are not stored."
    return message


def _promote(rollout: Rollout, live: Release | None, command: commands.Release, context: Context) -> Done:
    end_reason = context.because(f"replaced by the expedited {command.tag}")
    left = _who_served(rollout)
    if live is not None and live.number == rollout.next:
        rollout = _next_becomes_current(rollout, live, Means.PROMOTE, context, end_reason)
        number = live.number
    else:
        if live is None:
            rollout = moves.add_release(rollout, command.tag, ReleaseState.QUEUED, command.attributes, context)
            number = rollout.last_number
        else:
            number = live.number
            rollout = moves.take_from_queue(rollout, number)
        rollout = moves.make_current(rollout, number, Means.PROMOTE, context, end_reason)
        rollout = moves.hold(rollout, context.because(f"held when {command.tag} was expedited"))
    message = everybody_gets(rollout, *(tag for tag in left if tag != command.tag))
    return Done(rollout, message + _what_became_of_next(rollout, context), Disposition.PROMOTED, number)


def _who_served(rollout: Rollout) -> list[str]:
    """Returns the tags that jobs got by the weights."""
    ramped = rollout.next_release if rollout.basis_points else None
    return [release.tag for release in (rollout.current_release, ramped) if release]


def _what_became_of_next(rollout: Rollout, context: Context) -> str:
    if rollout.held_reason and rollout.next_release:
        return f" {rollout.next_release.tag} is held at 0 %. {what_frees(rollout, context)}"
    return what_starts(rollout)


def _enqueue(rollout: Rollout, command: commands.Release, context: Context) -> Done:
    must_wait = rollout.next is not None or bool(freezes(rollout, context))
    if must_wait and rollout.policy.queue_mode is QueueMode.REJECT:
        raise refusals.queue_rejects(
            f"{command.tag} would have to wait, and the queue mode of {rollout.component} is REJECT: "
            f"{what_blocks(rollout, context)}"
        )
    if rollout.policy.queue_mode is QueueMode.LATEST:
        for waiting in rollout.queue:
            rollout = moves.mark(rollout, waiting, ReleaseState.SUPERSEDED, context, f"superseded by {command.tag}")
        rollout = replace(rollout, queue=())
    if len(rollout.queue) >= model.MAX_QUEUE:
        raise refusals.queue_full(rollout.component, limit=model.MAX_QUEUE)
    rollout = moves.add_release(rollout, command.tag, ReleaseState.QUEUED, command.attributes, context)
    number = rollout.last_number
    rollout = replace(rollout, queue=(*rollout.queue, number))
    if must_wait:
        message = f"{command.tag} waits at position {len(rollout.queue)}: {what_blocks(rollout, context)}"
        return Done(rollout, message, Disposition.QUEUED, number)
    return Done(
        moves.start_head(rollout, context),
        f"{command.tag} is next, at 0 %. {what_raises(rollout)}",
        Disposition.STARTED,
        number,
    )


def what_blocks(rollout: Rollout, context: Context) -> str:
    """Says why the head of the queue does not start, and what starts it."""
    next_release = rollout.next_release
    thaw = ", then ".join(what_thaws(rollout, context))
    if next_release is None:
        by = " and ".join(map(who_froze, freezes(rollout, context)))
        return f"frozen by {by}. {thaw} starts it." if by else "the freeze has ended, and it starts in a moment."
    start = f", and {thaw} starts the head of the queue." if thaw else " and starts the head of the queue."
    if rollout.held_reason:
        return f"{next_release.tag} is held ({inside(rollout.held_reason)}). Abandon drops it{start}"
    if thaw or next_release.tag in rollout.quarantine:
        return f"{next_release.tag} is being rolled out. Abandon ends that{start}"
    if rollout.paused:
        return f"{next_release.tag} is being rolled out. {what_resumes(rollout, context)}"
    ways = "Finalize or Abandon ends" if rollout.basis_points else "Ramp and Finalize, or Abandon, end"
    return f"{next_release.tag} is being rolled out. {ways} that."


def cancel_release(rollout: Rollout, command: commands.CancelRelease, context: Context) -> Done:
    number = command.release
    found = rollout.releases.get(number)
    if found is None:
        raise refusals.release_not_found(component=rollout.component, release=number)
    if found.state is ReleaseState.CANCELLED:
        return Done(rollout, f"{found.tag} was cancelled already.", release=number)
    if found.state is not ReleaseState.QUEUED:
        instead = {
            ReleaseState.NEXT: "Abandon drops it.",
            ReleaseState.CURRENT: what_goes_back(rollout, context),
        }.get(found.state, "It has ended already.")
        raise refusals.not_queued(
            f"{found.tag} is {found.state.lower()}, not in the queue. {instead}",
            release=number,
            state=found.state,
        )
    rollout = moves.take_from_queue(rollout, number)
    rollout = moves.mark(rollout, number, ReleaseState.CANCELLED, context, context.because("cancelled"))
    return Done(rollout, f"{found.tag} is out of the queue. {_what_waits(rollout, context)}", release=number)


def _what_waits(rollout: Rollout, context: Context) -> str:
    if not rollout.queued_releases:
        return "Nothing waits any more."
    return f"{rollout.queued_releases[0].tag} waits at position 1: {what_blocks(rollout, context)}"


def finalize(rollout: Rollout, command: commands.Finalize, context: Context) -> Done:
    release = require_next(rollout, command.tag)
    refuse_frozen(rollout, context)
    refuse_quarantined(rollout, release.tag, "Unquarantine it first, or Abandon it.")
    if not rollout.basis_points and not command.force:
        raise refusals.not_ramped(
            f"{release.tag} is {'held ' if rollout.held_reason else ''}at 0 %: nobody runs it. "
            "Ramp it first, or Finalize with `force`."
        )
    left = rollout.current_release.tag
    end_reason = context.because(f"replaced by {release.tag}, finalized")
    rollout = _next_becomes_current(rollout, release, Means.FINALIZE, context, end_reason)
    return Done(rollout, f"{everybody_gets(rollout, left)}{what_starts(rollout)}", release=release.number)


def _next_becomes_current(
    rollout: Rollout, release: Release, means: Means, context: Context, end_reason: str
) -> Rollout:
    rollout = moves.make_current(moves.drop_next(rollout), release.number, means, context, end_reason)
    return moves.start_head(rollout, context)


def abandon(rollout: Rollout, command: commands.Abandon, context: Context) -> Done:
    release = require_next(rollout, command.tag)
    rollout = moves.mark(
        moves.drop_next(rollout), release.number, ReleaseState.ABANDONED, context, context.because("abandoned")
    )
    if command.quarantine:
        rollout = moves.quarantine(rollout, release.tag, context)
    rollout = moves.start_head(rollout, context)
    dropped = "dropped and quarantined" if command.quarantine else "dropped"
    message = f"{everybody_gets(rollout, release.tag)} {release.tag} is {dropped}.{what_starts(rollout)}"
    if rollout.next is None and rollout.queue:
        message += f" {len(rollout.queue)} wait: {what_blocks(rollout, context)}"
    return Done(rollout, message, release=release.number)
