"""A component's policy: converts a request to a command, and the domain's policy to a message."""

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from rampd import v1
from rampd._contract import placeholders
from rampd._decision.resolution import Unit
from rampd_server.domain.automation.check_answer import Judgement
from rampd_server.domain.errors import InvalidRequestError
from rampd_server.domain.rollout import commands, model
from rampd_server.domain.rollout.automation_policy import AfterRollback, Automation, Check, OnRegression, Step


class _Field(NamedTuple):
    """A field of v1.Policy, and its place in the domain."""

    attribute: str
    read: Callable[[Any], object]
    write: Callable[[Any], object]


def basis_points(percent: float) -> int:
    """Returns a valid percentage in basis points."""
    return round(percent * 100)


def _same(attribute: str) -> _Field:
    return _Field(attribute, lambda value: value, lambda value: value)


def _enum(attribute: str, prefix: str, names: Any, kind: Callable[[str], object]) -> _Field:  # noqa: ANN401 - no type of enums
    return _Field(
        attribute, lambda number: kind(names.Name(number).removeprefix(prefix)), lambda value: f"{prefix}{value}"
    )


def _milliseconds(duration: Duration) -> int:
    return duration.ToMilliseconds()


def _duration(milliseconds: int) -> Duration:
    made = Duration()
    made.FromMilliseconds(milliseconds)
    return made


def _percent(share: int) -> float:
    return share / 100


def _steps(messages: list[v1.Step]) -> tuple[Step, ...]:
    return tuple(
        Step(basis_points(each.percent), _milliseconds(each.hold), each.min_jobs, each.approval) for each in messages
    )


def _step_messages(steps: tuple[Step, ...]) -> list[v1.Step]:
    return [
        v1.Step(
            percent=_percent(step.basis_points),
            hold=_duration(step.hold_ms),
            min_jobs=step.min_jobs,
            approval=step.approval,
        )
        for step in steps
    ]


def _checks(messages: list[v1.Check]) -> tuple[Check, ...]:
    return tuple(map(_check, messages))


def _check(message: v1.Check) -> Check:
    default = Check(message.name, message.query)
    return Check(
        name=message.name,
        query=message.query,
        interval_ms=_milliseconds(message.interval) if message.HasField("interval") else default.interval_ms,
        minimum=message.min if message.HasField("min") else None,
        maximum=message.max if message.HasField("max") else None,
        failures_allowed=message.failures_allowed,
        errors_allowed=message.errors_allowed if message.HasField("errors_allowed") else default.errors_allowed,
    )


def _check_messages(checks: tuple[Check, ...]) -> list[v1.Check]:
    return [
        v1.Check(
            name=check.name,
            query=check.query,
            interval=_duration(check.interval_ms),
            min=check.minimum,
            max=check.maximum,
            failures_allowed=check.failures_allowed,
            errors_allowed=check.errors_allowed,
        )
        for check in checks
    ]


_POLICY: Mapping[str, _Field] = {
    "queue_mode": _enum("queue_mode", "QUEUE_MODE_", v1.QueueMode, model.QueueMode),
    "unit": _enum("unit", "UNIT_", v1.Unit, Unit),
}
_AUTOMATION: Mapping[str, _Field] = {
    "steps": _Field("steps", _steps, _step_messages),
    "max_percent": _Field("max_basis_points", basis_points, _percent),
    "auto_start": _same("auto_start"),
    "auto_finalize": _same("auto_finalize"),
    "on_regression": _enum("on_regression", "ON_REGRESSION_", v1.OnRegression, OnRegression),
    "after_rollback": _enum("after_rollback", "AFTER_ROLLBACK_", v1.AfterRollback, AfterRollback),
    "alpha": _same("alpha"),
    "tolerance": _same("tolerance"),
    "maturation": _Field("maturation_ms", _milliseconds, _duration),
    "max_failure_rate": _same("max_failure_rate"),
    "on_max_failure_rate": _enum("on_max_failure_rate", "ON_REGRESSION_", v1.OnRegression, OnRegression),
    "checks": _Field("checks", _checks, _check_messages),
    "confirm_within": _Field("confirm_within_ms", _milliseconds, _duration),
    "stuck_after": _Field("stuck_after_ms", _milliseconds, _duration),
}


def set_policy_of(request: v1.SetPolicyRequest) -> commands.SetPolicy:
    """Returns the change that a request asks for: the fields that it has, or with a mask the fields of the mask."""
    given = {field.name for field, value in request.policy.ListFields() if not _is_unspecified(field, value)}
    names = set(request.update_mask.paths) or given

    def changes(fields: Mapping[str, _Field], default: object) -> dict[str, object]:
        return {
            field.attribute: field.read(getattr(request.policy, name))
            if name in given
            else getattr(default, field.attribute)
            for name, field in fields.items()
            if name in names
        }

    return commands.SetPolicy(changes(_POLICY, model.Policy()), changes(_AUTOMATION, Automation()))


def _is_unspecified(field: Any, value: object) -> bool:  # noqa: ANN401 - protobuf's descriptors have no common type
    return field.enum_type is not None and value == 0


def policy_message(policy: model.Policy) -> v1.Policy:
    """Returns the settings in force with their defaults; a setting that is off is absent."""
    fields = {name: field.write(getattr(policy, field.attribute)) for name, field in _POLICY.items()}
    for name, field in _AUTOMATION.items():
        value = getattr(policy.automation, field.attribute)
        if value is not None:
            fields[name] = field.write(value)
    return v1.Policy(**fields)  # type: ignore[arg-type]


_DEFAULT_POLICY = policy_message(model.Policy())
_DEFAULT_STEP = v1.Step(hold=_duration(0))
_DEFAULT_CHECK = _check_messages((Check("", ""),))[0]


@lru_cache(maxsize=256)
def set_policy_message(policy: model.Policy) -> v1.Policy:
    """Returns the settings that are not at their default. The message is for all callers: do not change it."""
    message = policy_message(policy)
    _drop_defaults(message, _DEFAULT_POLICY)
    for step in message.steps:
        _drop_defaults(step, _DEFAULT_STEP)
    for check in message.checks:
        _drop_defaults(check, _DEFAULT_CHECK)
    return message


def _drop_defaults(message: Message, defaults: Message) -> None:
    for field, value in defaults.ListFields():
        if getattr(message, field.name) == value:
            message.ClearField(field.name)


class Judge(Protocol):
    """Checks queries, by asking the source of checks."""

    async def judge(self, query: str, *, timeout_s: float | None = None) -> Judgement:
        """Returns whether the source accepts a query, or a doubt if the source does not answer in time."""


async def judged(command: commands.SetPolicy, component: str, judge: Judge, *, timeout_s: float | None) -> str:
    """Checks the queries that a command sets. Returns a sentence for each doubt; each sentence begins with a space.

    A policy is not refused if the source does not answer: its check then passes nothing, and pauses the rollout in the
    end. Raises InvalidRequestError for queries that the source does not accept.
    """
    checks = cast("tuple[Check, ...]", command.automation.get("checks", ()))
    queries = [placeholders.fill(check.query, component=component, tag="tag", channel="next") for check in checks]
    judgements = await asyncio.gather(*(judge.judge(query, timeout_s=timeout_s) for query in queries))
    wrong = [
        (f"policy.checks[{index}].query", judgement.wrong)
        for index, judgement in enumerate(judgements)
        if judgement.wrong
    ]
    if wrong:
        raise InvalidRequestError(wrong)
    doubts: dict[str, list[str]] = {}
    for check, judgement in zip(checks, judgements, strict=True):
        if judgement.doubt:
            doubts.setdefault(judgement.doubt, []).append(check.name)
    return "".join(
        f" rampd could not ask whether the query of {', '.join(names)} is right: {doubt}."
        for doubt, names in doubts.items()
    )
