"""One function for each reason of a refusal. Its keywords are the metadata that rampd.v1.ErrorReason lists for the reason.

Errors about wrong fields and errors of the store have classes in errors.py.
"""

from rampd_server.domain.errors import RampdError, Reason, RefusedError

_DECIDE_AGAIN = "Read it with GetRollout and decide again."


def request_id_reused(
    what: str = "", *, request_id: str, method: str | None = None, differs: str | None = None
) -> RefusedError:
    """`what` says what the request id was used for before, if that is known."""
    return RefusedError(
        Reason.REQUEST_ID_REUSED,
        f"{what or f'The request id {request_id} was used for another request.'} To repeat the first request, send it "
        "unchanged. For any other request, choose a new request id.",
        request_id=request_id,
        method=method,
        differs=differs,
    )


def too_large(message: str, *, limit: int) -> RefusedError:
    return RefusedError(Reason.TOO_LARGE, message, limit=limit)


def component_not_found(*, component: str) -> RefusedError:
    return RefusedError(
        Reason.COMPONENT_NOT_FOUND,
        f"There is no component {component}. A first Release creates it. ListRollouts shows the components that exist.",
        component=component,
    )


def component_hidden(*, component: str) -> RefusedError:
    """Returns the error for a component that the caller does not see: the same as for one that does not exist."""
    refusal = component_not_found(component=component)
    refusal.log_message = f"{component} is not among the components of the grant."
    return refusal


def release_not_found(
    message: str = "", *, component: str, release: int | None = None, tag: str | None = None
) -> RefusedError:
    """Without `message`, the error says that rampd does not keep a release with this number."""
    return RefusedError(
        Reason.RELEASE_NOT_FOUND,
        message or f"{component} has no release {release} among its last releases. ListReleases shows them.",
        component=component,
        release=release,
        tag=tag,
    )


def override_not_found(*, component: str, repo: str) -> RefusedError:
    return RefusedError(
        Reason.OVERRIDE_NOT_FOUND,
        f"{component} has no override for {repo}. ListOverrides shows the overrides that exist.",
        component=component,
        repo=repo,
    )


def no_rollout(message: str) -> RefusedError:
    return RefusedError(Reason.NO_ROLLOUT, message)


def tag_mismatch(component: str, *, expected: str, actual: str) -> RefusedError:
    return RefusedError(
        Reason.TAG_MISMATCH,
        f"Next of {component} is {actual}, not {expected}. GetRollout shows the rollout.",
        expected=expected,
        actual=actual,
    )


def not_ramped(message: str) -> RefusedError:
    return RefusedError(Reason.NOT_RAMPED, message)


def held(message: str, *, held_reason: str) -> RefusedError:
    return RefusedError(Reason.HELD, message, held_reason=held_reason)


def frozen(message: str, *, scope: str) -> RefusedError:
    return RefusedError(Reason.FROZEN, message, scope=scope)


def tag_quarantined(message: str, *, tag: str) -> RefusedError:
    return RefusedError(Reason.TAG_QUARANTINED, message, tag=tag)


def no_previous(message: str) -> RefusedError:
    return RefusedError(Reason.NO_PREVIOUS, message)


def queue_rejects(message: str) -> RefusedError:
    return RefusedError(Reason.QUEUE_REJECTS, message)


def not_queued(message: str, *, release: int, state: str) -> RefusedError:
    return RefusedError(Reason.NOT_QUEUED, message, release=release, state=state)


def nothing_to_confirm(component: str) -> RefusedError:
    return RefusedError(Reason.NOTHING_TO_CONFIRM, f"No Ramp of {component} waits to be confirmed.")


def rollout_in_progress(message: str, *, tag: str) -> RefusedError:
    return RefusedError(Reason.ROLLOUT_IN_PROGRESS, message, tag=tag)


def revision_mismatch(component: str, why: str = "somebody changed it", *, expected: int, actual: int) -> RefusedError:
    return RefusedError(
        Reason.REVISION_MISMATCH,
        f"{component} is at revision {actual}, not {expected}: {why}. {_DECIDE_AGAIN}",
        expected=expected,
        actual=actual,
    )


def contention(message: str) -> RefusedError:
    return RefusedError(Reason.CONTENTION, message)


def queue_full(component: str, *, limit: int) -> RefusedError:
    return RefusedError(
        Reason.QUEUE_FULL,
        f"{limit} releases of {component} are in the queue already. CancelRelease takes one out.",
        limit=limit,
    )


def no_credentials(message: str) -> RefusedError:
    return RefusedError(Reason.NO_CREDENTIALS, message)


def bad_credentials(message: str) -> RefusedError:
    return RefusedError(Reason.BAD_CREDENTIALS, message)


def role_required(message: str, *, role: str, component: str | None = None) -> RefusedError:
    return RefusedError(Reason.ROLE_REQUIRED, message, role=role, component=component)


def not_implemented(what: str) -> RampdError:
    """Returns the error for an RPC or a field that rampd.v1 declares and that has no code yet."""
    return RampdError(
        Reason.NOT_IMPLEMENTED, f"{what} is declared but not there yet: it comes with a later version of rampd."
    )


def internal(*, request_id: str) -> RampdError:
    return RampdError(
        Reason.INTERNAL,
        f"This is a defect of rampd, not of your request. The server's log has the details under request id {request_id}.",
        request_id=request_id,
    )
