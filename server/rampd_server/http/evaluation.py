"""A component as a flag of OpenFeature: what a context asks, and what an answer or a refusal of Resolve says in the words of
OpenFeature's remote evaluation protocol (OFREP, open-feature/protocol 0.3). Pure.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from rampd import v1
from rampd._contract.grammar import MAX_BATCH, MAX_MESSAGE_BYTES
from rampd_server.domain.errors import Reason
from rampd_server.http.errors import STATUS_OF, code_of

Json: TypeAlias = Mapping[str, Any]
Metadata: TypeAlias = Mapping[str, str | int | float | bool]
"""Flat: OFREP allows no lists and no objects here."""

MAX_CONTEXT_BYTES: Final = 64 * 1024
"""The size of a request, whatever it asks for. Most of a context is of no use to rampd."""

TARGETING_KEY: Final = "targetingKey"
JOB_ID: Final = "job_id"
_NAMES_IN_CONTEXT: Final = {"repo": f"{TARGETING_KEY} (the repo)"}
_NANOS_PER_S: Final = 1_000_000_000

REASONS: Final = {
    v1.RESOLVE_REASON_STEADY: "STATIC",
    v1.RESOLVE_REASON_WEIGHT: "SPLIT",
    v1.RESOLVE_REASON_OVERRIDE_CHANNEL: "TARGETING_MATCH",
    v1.RESOLVE_REASON_OVERRIDE_TAG: "TARGETING_MATCH",
}
"""The protocol has no word for every reason: STALE, for one, is UNKNOWN there. The metadata has the true reason."""
UNKNOWN: Final = "UNKNOWN"


class ErrorCode(StrEnum):
    """OpenFeature's error codes, as far as OFREP has them."""

    PARSE_ERROR = "PARSE_ERROR"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    GENERAL = "GENERAL"


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """Why there is no answer, as OFREP says it."""

    def __init__(
        self,
        code: ErrorCode,
        details: str,
        status: int = HTTPStatus.BAD_REQUEST,
        *,
        reason: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        """`reason` is rampd's, if the refusal has one."""
        super().__init__(details)
        self.code = code
        self.details = details
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s

    def body(self, key: str | None = None) -> Json:
        """`key` is the flag. `errorDetails` is always there, because providers read it without checking that it is there."""
        answer: dict[str, Any] = {} if key is None else {"key": key}
        answer |= {"errorCode": self.code, "errorDetails": self.details}
        return answer | ({"metadata": {"rampd_reason": self.reason}} if self.reason else {})

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of an answer that is this refusal."""
        headers = {"cache-control": "no-store"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        return headers


# What is asked.


@dataclass(frozen=True)
class Question:
    """For whom flags are evaluated."""

    repo: str
    job_id: str = ""


def question_of(body: bytes) -> Question:
    """Reads a request. Keys of the context that rampd does not know have no effect. Raises Refusal."""
    if len(body) > MAX_CONTEXT_BYTES:
        raise Refusal(
            ErrorCode.INVALID_CONTEXT,
            f"The request is too large: rampd reads at most {MAX_CONTEXT_BYTES} bytes. It needs only {TARGETING_KEY} (the "
            f"repo) and {JOB_ID}: leave other keys out of the context.",
        )
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(ErrorCode.PARSE_ERROR, f"The request is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise Refusal(ErrorCode.PARSE_ERROR, f"The request must be an object with a context; got {_kind(request)}.")
    context = request.get("context")
    if context is None:
        raise _no_targeting_key()
    if not isinstance(context, dict):
        raise Refusal(ErrorCode.INVALID_CONTEXT, f"The context must be an object; got {_kind(context)}.")
    repo = _text(context, TARGETING_KEY, "such as acme/app")
    if not repo:
        raise _no_targeting_key()
    return Question(repo, _text(context, JOB_ID, "such as 42 in quotation marks"))


def _text(context: Json, name: str, example: str) -> str:
    value = context.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refusal(
            ErrorCode.INVALID_CONTEXT, f"{name} of the context must be a string, {example}; got {_kind(value)}."
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON can have half of a surrogate pair. A message can't.
        raise Refusal(ErrorCode.INVALID_CONTEXT, f"{name} of the context is no valid Unicode.") from None
    return value


def _no_targeting_key() -> Refusal:
    return Refusal(
        ErrorCode.TARGETING_KEY_MISSING,
        f"The context has no {TARGETING_KEY}. It is the repo that the job is for, such as acme/app.",
    )


def _kind(value: object) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "null")


# What is answered.


def flag(key: str, answer: v1.ResolveResponse, attributes: Mapping[str, str], *, has_age: bool = True) -> Json:
    """An answer of Resolve as an evaluated flag. `has_age` is false where a client keeps the answer, because an age that is
    kept is wrong.
    """
    channel = _channel(answer)
    return {
        "key": key,
        "value": answer.tag,
        "variant": channel or answer.tag,
        "reason": REASONS.get(answer.reason, UNKNOWN),
        "metadata": _metadata(answer, channel, attributes, has_age=has_age),
    }


def _channel(answer: v1.ResolveResponse) -> str:
    if answer.channel == v1.CHANNEL_UNSPECIFIED:
        return ""
    return v1.Channel.Name(answer.channel).removeprefix("CHANNEL_").lower()


def _metadata(answer: v1.ResolveResponse, channel: str, attributes: Mapping[str, str], *, has_age: bool) -> Metadata:
    """The same names as those of `rampd.openfeature`."""
    found: dict[str, str | int | float | bool] = {
        "release": answer.release,
        "revision": answer.revision,
        "rampd_reason": v1.ResolveReason.Name(answer.reason).removeprefix("RESOLVE_REASON_"),
        "stale": answer.stale,
    }
    if channel:
        found["channel"] = channel
    if has_age:
        found["snapshot_age_s"] = _seconds(answer.snapshot_age)
    if answer.HasField("bucket"):
        found["bucket"] = answer.bucket
    return found | {f"attribute.{name}": value for name, value in attributes.items()}


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / _NANOS_PER_S


# What is refused.


def refusal(status: status_pb2.Status) -> Refusal:
    """A refusal of Resolve in the words of OFREP."""
    info, wrong, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        any(detail.Unpack(each) for each in (info, wrong, retry))
    http = STATUS_OF[status.code]
    code = ErrorCode.FLAG_NOT_FOUND if http == HTTPStatus.NOT_FOUND else ErrorCode.GENERAL
    details = status.message or code_of(status)
    violations = [(each.field.rpartition(".")[2], each.description) for each in wrong.field_violations]
    if violations:
        # A name that is not valid cannot be the name of a component.
        is_flag = any(field == "component" for field, _ in violations)
        http = HTTPStatus.NOT_FOUND if is_flag else HTTPStatus.BAD_REQUEST
        code = ErrorCode.FLAG_NOT_FOUND if is_flag else ErrorCode.INVALID_CONTEXT
        texts = (f"{_NAMES_IN_CONTEXT.get(field, field)}: {text}" for field, text in violations)
        # A bulk call has the same violation for each component.
        details = "; ".join(dict.fromkeys(texts))
    wait_s = math.ceil(_seconds(retry.retry_delay)) if retry.HasField("retry_delay") else None
    return Refusal(code, details, http, reason=info.reason, retry_after_s=wait_s)


# All flags at once.


def batch(components: Sequence[str], question: Question) -> v1.BatchResolveRequest:
    """The call that answers for all components from one state. Raises Refusal if there are too many."""
    if len(components) > MAX_BATCH:
        raise _beyond(f"You see {len(components)} components, and a bulk answer holds at most {MAX_BATCH}.")
    return v1.BatchResolveRequest(
        requests=[
            v1.ResolveRequest(component=component, repo=question.repo, job_id=question.job_id)
            for component in components
        ]
    )


def flags(components: Sequence[str], answer: v1.BatchResolveResponse) -> Iterator[Json]:
    """The answer of `batch`, flag by flag. A component that cannot be answered is a failure of its own."""
    attributes = {(each.component, each.release): each.attributes for each in answer.release_attributes}
    for component, result in zip(components, answer.results, strict=True):
        if result.HasField("status"):
            yield refusal(result.status).body(component)
            continue
        resolved = result.response
        yield flag(component, resolved, attributes.get((component, resolved.release), {}), has_age=False)


def bulk_refusal(status: status_pb2.Status) -> Refusal:
    """A refusal of `batch`."""
    found = refusal(status)
    if found.reason == Reason.TOO_LARGE:
        return _beyond(f"The answer for all components that you see has more than {MAX_MESSAGE_BYTES} bytes.")
    return found


def etag(components: Sequence[str], answer: v1.BatchResolveResponse) -> str:
    """Returns an ETag, which is the same on each server as long as `flags` are the same. It also changes with time: when an override
    expires, and when the state becomes stale.
    """
    lasting = v1.BatchResolveResponse()
    lasting.CopyFrom(answer)
    for result in lasting.results:
        if result.HasField("response"):
            result.response.ClearField("snapshot_age")
    content = "\n".join(components).encode() + lasting.SerializeToString(deterministic=True)
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether a caller has the answer with this ETag. Proxies may have marked it as weak, because they compress."""
    return etag in (each.strip().removeprefix("W/") for each in (if_none_match or "").split(","))


def _beyond(what: str) -> Refusal:
    return Refusal(
        ErrorCode.GENERAL,
        f"{what} Ask for each component by its name (POST /ofrep/v1/evaluate/flags/NAME), or use a credential whose grant "
        "names fewer components.",
        reason=Reason.TOO_LARGE,
    )
