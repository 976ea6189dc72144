"""The part that both resolvers share: from a question to a request, and from a response to a `Resolution`. No I/O."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias, get_args

from rampd import v1
from rampd._calls.request import make
from rampd._calls.status import error_of_status
from rampd._contract.component_state import CHANNELS
from rampd._contract.grammar import check_resolve, shown
from rampd._decision.resolution import Channel, Decision, Resolution, ResolveReason
from rampd.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RampdError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)

Mode: TypeAlias = Literal["local", "rpc"]
"""How a resolver answers: `local` from the state that the server sends to this process; `rpc` asks the server each time."""
DEFAULT_MODE: Mode = "local"
NO_ANSWER = (
    *(UnavailableError, DeadlineExceededError, NotFoundError, InternalError),
    *(UnauthenticatedError, PermissionDeniedError, ResourceExhaustedError),
)
"""The errors for which a caller gets its fallback: no job fails because a token has ended."""

_MAX_INT64 = 2**63 - 1
_REASONS = {
    value.number: ResolveReason(value.name.removeprefix("RESOLVE_REASON_"))
    for value in v1.ResolveReason.DESCRIPTOR.values
    if value.number
}


class Job(NamedTuple):
    """One entry of `resolve_batch`: a job that is to run."""

    component: str
    repo: str
    job_id: str = ""
    min_revision: int = 0


JobLike: TypeAlias = Job | tuple[str, str] | tuple[str, str, str]


def checked_mode(mode: Mode) -> Mode:
    """Returns the mode if it is valid. Raises InvalidArgumentError."""
    if not isinstance(mode, str) or mode not in get_args(Mode):
        raise InvalidArgumentError(violations=[("mode", f"must be 'local' or 'rpc'; got {shown(mode)}")])
    return mode


def resolve_request(job: Job) -> v1.ResolveRequest:
    """Returns the request for one job. Raises InvalidArgumentError."""
    component, repo, job_id, min_revision = job
    if not check_resolve(component, repo, job_id) and type(min_revision) is int and 0 <= min_revision <= _MAX_INT64:
        return v1.ResolveRequest(component=component, repo=repo, job_id=job_id, min_revision=min_revision)
    return make(v1.ResolveRequest, component=component, repo=repo, job_id=job_id, min_revision=min_revision)


def batch_request(jobs: Iterable[JobLike]) -> v1.BatchResolveRequest:
    """Returns the request for many jobs. Raises InvalidArgumentError with every wrong field: `requests[3].repo`."""
    if not isinstance(jobs, Iterable):
        raise InvalidArgumentError(violations=[("requests", f"must be jobs; got {shown(jobs)}")])
    requests = []
    wrong = []
    for index, job in enumerate(jobs):
        try:
            requests.append(resolve_request(Job(*job)))
        except TypeError:
            wrong.append((f"requests[{index}]", f"must be a Job(component, repo); got {shown(job)}"))
        except InvalidArgumentError as error:
            wrong.extend((f"requests[{index}].{field}", text) for field, text in error.violations)
    if wrong:
        raise InvalidArgumentError(violations=wrong)
    return make(v1.BatchResolveRequest, requests=requests)


def resolution_of(response: v1.ResolveResponse, attributes: Mapping[str, str] | None = None) -> Resolution:
    """Returns the answer for one job. `attributes` replaces those of the response. Raises InternalError."""
    if not response.tag:
        raise InternalError("The server answered no tag. Is it a rampd server of this version?")
    channel = CHANNELS.get(response.channel)
    decision = Decision(
        tag=response.tag,
        channel=channel,
        reason=_reason(response.reason, channel),
        release=response.release,
        attributes=dict(response.attributes) if attributes is None else attributes,
    )
    age = response.snapshot_age
    return Resolution(
        decision,
        revision=response.revision,
        bucket=response.bucket if response.HasField("bucket") else None,
        snapshot_age_s=age.seconds + age.nanos / 1e9,
    )


def results_of(request: v1.BatchResolveRequest, response: v1.BatchResolveResponse) -> list[Resolution | RampdError]:
    """Returns the answer or the error for each job of a batch, in its order. Raises InternalError."""
    if len(response.results) != len(request.requests):
        raise InternalError(f"The server gave {len(response.results)} answers to {len(request.requests)} jobs.")
    attributes = {(each.component, each.release): dict(each.attributes) for each in response.release_attributes}
    return [
        error_of_status(result.status)
        if result.HasField("status")
        else resolution_of(result.response, attributes.get((job.component, result.response.release), {}))
        for job, result in zip(request.requests, response.results, strict=True)
    ]


def _reason(number: int, channel: Channel | None) -> ResolveReason:
    # A newer server may send a reason that this library does not know. Such a job must not count as WEIGHT.
    by_override = ResolveReason.OVERRIDE_CHANNEL if channel is not None else ResolveReason.OVERRIDE_TAG
    return _REASONS.get(number, by_override)
