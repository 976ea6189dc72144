"""The rule of every field of every request, by the field's name, and the rules between fields.

A field name means the same in every message, so each name has one rule. If a message differs, its field has a row of its
own (`FreezeRequest.component`). A field without a row raises LookupError when its message is first checked. A test checks
all messages.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._contract import grammar
from rampd._contract.grammar import MAX_BATCH, MAX_PAGE, Violation, Word, is_percent, shown, word_violation
from rampd._contract.policy_rules import contradictions
from rampd._contract.wording import exact, whole_span

_NANOS_PER_S = 1_000_000_000
MAX_DURATION_S = 366 * 24 * 3600
_MAX_TIME_S = 253_402_300_799  # the end of the year 9999, the last time that a Timestamp can hold
_MAX_STEPS = 50
_MAX_CHECKS = 20
_MAX_JOBS = 1_000_000_000
_DAY_S = 24 * 3600
_MAX_HOLD_S = 30 * _DAY_S
_TO_EVERYBODY = "set auto_finalize, which makes next current after the last step"


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a field. For a repeated field or a map, `holds` and `expected` are about each value."""

    expected: str = ""
    holds: Callable[[Any], object] | None = None
    required: bool = False
    whole: "Rule | None" = None
    """The rule of a repeated field or a map as a whole."""
    key: "Rule | None" = None
    """The rule of each key of a map."""
    told: Callable[[Any], str] | None = None
    """Writes a wrong value for a message. Without it, `_shown` does."""
    pattern: str = ""
    """What a text must match, as a regular expression of any language; empty where none says it all."""
    least: float | None = None
    """The smallest valid number, or the smallest valid count of entries."""
    most: float | None = None
    """The largest one."""

    def wrong(self, value: object) -> str | None:
        """Returns what is wrong with a value that is present, None if it is valid."""
        if self.holds is None or self.holds(value):
            return None
        return f"must be {self.expected}; got {(self.told or _shown)(value)}"


def rule_of(field: FieldDescriptor) -> Rule:
    """Returns the rule of a field. Raises LookupError if there is none."""
    where = field.containing_type
    name = f"{where.name}.{field.name}" if where is not None else field.name
    rule = FIELDS.get(name) or FIELDS.get(field.name)
    if rule is None:
        raise LookupError(f"no rule covers {name}: give it a row in rampd._contract.field_rules")
    return rule if field.enum_type is None else _known_number(field.enum_type, rule)


def is_required(field: FieldDescriptor) -> bool:
    """Returns whether a message without the field is wrong."""
    rule = rule_of(field)
    return rule.required or (rule.whole is not None and rule.whole.required)


def _known_number(enum: EnumDescriptor, rule: Rule) -> Rule:
    numbers = enum.values_by_number
    names = [value.name for number, value in numbers.items() if number]
    return replace(rule, expected=f"one of {', '.join(names)}", holds=numbers.__contains__)


def _required(rule: Rule) -> Rule:
    return replace(rule, required=True)


def _word(word: Word) -> Rule:
    return Rule(word.expected, word.matches, told=word.told, pattern=word.pattern)


def _pattern(expected: str, pattern: str) -> Rule:
    return Rule(expected, re.compile(pattern).fullmatch, pattern=f"^{pattern}$")


def _whole_number(least: int, most: int | None = None) -> Rule:
    if most is None:
        return Rule(f"a whole number from {least}", lambda number: number >= least, least=least)
    return Rule(
        f"a whole number from {least} to {most}", lambda number: least <= number <= most, least=least, most=most
    )


def _number(
    expected: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    holds: Callable[[float], bool] = lambda _: True,
) -> Rule:
    return Rule(
        expected,
        lambda number: math.isfinite(number) and least <= number <= most and holds(number),
        least=least if math.isfinite(least) else None,
        most=most if math.isfinite(most) else None,
    )


def _batch(each: Rule = Rule(), *, least: int = 1, most: int = MAX_BATCH) -> Rule:
    count = Rule(
        f"{least} to {most} entries",
        lambda entries: least <= len(entries) <= most,
        required=least > 0,
        least=least,
        most=most,
    )
    return replace(each, whole=count)


def _part(expected: str) -> Rule:
    return _number(
        f"a number from 0.01 to 99.99 with at most two decimals, {expected}", least=0.01, most=99.99, holds=is_percent
    )


def _is_time(time: Timestamp) -> bool:
    return 0 <= time.seconds <= _MAX_TIME_S and 0 <= time.nanos < _NANOS_PER_S


def _is_duration(duration: Duration) -> bool:
    return 0 <= duration.nanos < _NANOS_PER_S and 0 <= _seconds(duration) <= MAX_DURATION_S


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / _NANOS_PER_S


def _is_lasting(duration: Duration) -> bool:
    return _is_duration(duration) and (duration.seconds > 0 or duration.nanos >= _NANOS_PER_S // 1000)


def _lasting(expected: str, least_s: int, most_s: int) -> Rule:
    def holds(duration: Duration) -> bool:
        return _is_duration(duration) and least_s <= _seconds(duration) <= most_s

    return Rule(expected, holds)


def _is_policy_mask(mask: FieldMask) -> bool:
    known = v1.Policy.DESCRIPTOR.fields_by_name
    return all(path in known for path in mask.paths) and len(set(mask.paths)) == len(mask.paths)


def _shown(value: object) -> str:
    if isinstance(value, Duration) and 0 <= value.nanos < _NANOS_PER_S and value.seconds >= 0:
        milliseconds, nanos = divmod(value.nanos, 1_000_000)
        lasting = whole_span(value.seconds * 1000 + milliseconds)
        return f"{lasting} {nanos} ns" if nanos else lasting
    if isinstance(value, Timestamp | Duration):
        return f"{value.seconds} s and {value.nanos} ns"
    if isinstance(value, FieldMask):
        return shown(",".join(value.paths))
    return shown(value) if isinstance(value, str | int | float) or not isinstance(value, Sized) else str(len(value))


FLAG = Rule()
NUMBER_OF_ENUM = Rule()
MESSAGE = Rule()

_COMPONENT = _word(grammar.COMPONENT)
_TAG = _word(grammar.TAG)
_REPO = _word(grammar.REPO)
_PERCENT = _number(
    "a number from 0 to 100 with at most two decimals, such as 10 or 0.25", least=0, most=100, holds=is_percent
)
_TIME = Rule("a valid time from 1970 to 9999", _is_time)
_DURATION = Rule("a duration from 0 s to 366 days", _is_duration)
_LASTING = Rule("a duration from 1 ms to 366 days", _is_lasting)
_EVENT_ID = _pattern("the id of an event, such as 1795475919747-3120985532", grammar.EVENT_ID)
_PAGE_SIZE = _whole_number(0, MAX_PAGE)

FIELDS: Mapping[str, Rule] = {
    # The component, repo, job or client.
    "component": _required(_COMPONENT),
    "FreezeRequest.component": _COMPONENT,
    "UnfreezeRequest.component": _COMPONENT,
    "ListEventsRequest.component": _COMPONENT,
    "ListEventsRequest.after": _EVENT_ID,
    "components": _batch(_COMPONENT, least=0),
    "repo": _required(_REPO),
    "SetOverrideRequest.repo": _required(_word(grammar.PINNED)),
    "prefix": _REPO,
    "job_id": _REPO,
    "client_id": _required(_word(grammar.KEY)),
    # Fields of every change.
    "request_id": _word(grammar.KEY),
    "expected_revision": _whole_number(0),
    "note": _word(grammar.NOTE),
    "dry_run": FLAG,
    "confirm": Rule(),
    # Releases and ramps.
    "tag": _TAG,
    "ReleaseRequest.tag": _required(_TAG),
    "QuarantineRequest.tag": _required(_TAG),
    "UnquarantineRequest.tag": _required(_TAG),
    "attributes": replace(
        _batch(_word(grammar.ATTRIBUTE_VALUE), least=0, most=grammar.MAX_ATTRIBUTES), key=_word(grammar.ATTRIBUTE_KEY)
    ),
    "release": _required(_whole_number(1)),
    "Outcome.release": _whole_number(0),
    "percent": _required(_PERCENT),
    "confirm_within": _LASTING,
    "expire_time": _TIME,
    "channel": NUMBER_OF_ENUM,
    "expedite": FLAG,
    "force": FLAG,
    "quarantine": FLAG,
    "all": FLAG,
    "delete": FLAG,
    "every_component": FLAG,
    "ListRolloutsRequest.current_outcomes": FLAG,
    "until_held": FLAG,
    "until_paused": FLAG,
    # Batches.
    "requests": _batch(),
    "overrides": _batch(),
    "outcomes": _batch(),
    # Reading.
    "min_revision": _whole_number(0),
    "page_size": _PAGE_SIZE,
    "ListReleasesRequest.page_size": _whole_number(0, 100),
    "page_token": _word(grammar.OPAQUE),
    "cursor": _word(grammar.OPAQUE),
    "whole": FLAG,
    "snapshot_age": _DURATION,
    # Outcomes.
    "sequence": _required(_whole_number(1)),
    "revision": _whole_number(0),
    "reason": _required(NUMBER_OF_ENUM),
    "result": _required(NUMBER_OF_ENUM),
    "duration": _DURATION,
    # Policy.
    "policy": _required(MESSAGE),
    "update_mask": Rule(
        f"fields of Policy, each once: {', '.join(v1.Policy.DESCRIPTOR.fields_by_name)}", _is_policy_mask
    ),
    "queue_mode": NUMBER_OF_ENUM,
    "unit": NUMBER_OF_ENUM,
    "steps": _batch(least=0, most=_MAX_STEPS),
    "Step.percent": _required(_part(f"and a plan has no step of 100: {_TO_EVERYBODY}")),
    "hold": _lasting("a duration from 0 s to 30 days", 0, _MAX_HOLD_S),
    "min_jobs": _whole_number(0, _MAX_JOBS),
    "approval": FLAG,
    "max_percent": _part(f"so that some jobs still run current: {_TO_EVERYBODY}"),
    "auto_start": FLAG,
    "auto_finalize": FLAG,
    "on_regression": NUMBER_OF_ENUM,
    "after_rollback": NUMBER_OF_ENUM,
    "alpha": _number("a number from 0.000001 to 0.5, such as 0.01", least=1e-6, most=0.5),
    "tolerance": _number("a number from 1 to 10", least=1, most=10),
    "maturation": _lasting("a duration from 0 s to a day", 0, _DAY_S),
    "max_failure_rate": _number(
        "0 (off) or a number from 0.001 to 0.8, such as 0.05 for 5 %",
        least=0,
        most=0.8,
        holds=lambda number: number == 0 or number >= 0.001,
    ),
    "on_max_failure_rate": NUMBER_OF_ENUM,
    "Policy.confirm_within": _lasting("a duration from 1 s to 30 days", 1, _MAX_HOLD_S),
    "stuck_after": _lasting("a duration from 1 min to 30 days", 60, _MAX_HOLD_S),
    "checks": _batch(least=0, most=_MAX_CHECKS),
    "name": _required(_word(grammar.CHECK_NAME)),
    "query": _required(_word(grammar.QUERY)),
    "interval": _lasting("a duration from 1 s to a day", 1, _DAY_S),
    "min": _number("a finite number"),
    "max": _number("a finite number"),
    "failures_allowed": _whole_number(0, _MAX_JOBS),
    "errors_allowed": _whole_number(0, _MAX_JOBS),
}

MessageRule = Callable[[Any], Iterator[Violation]]
"""Yields violations of the rules between fields. Those of a field that is wrong in itself are dropped."""


def _release(message: v1.ReleaseRequest) -> Iterator[Violation]:
    size = sum(len(key.encode()) + len(value.encode()) for key, value in message.attributes.items())
    if size > grammar.MAX_ATTRIBUTES_BYTES:
        yield "attributes", f"must be at most {grammar.MAX_ATTRIBUTES_BYTES} bytes in all; got {size}"


def _set_override(message: v1.SetOverrideRequest) -> Iterator[Violation]:
    yield from _exactly_one({"channel": message.channel, "tag": message.tag})


def _override_change(message: v1.OverrideChange) -> Iterator[Violation]:
    yield from _exactly_one({"channel": message.channel, "tag": message.tag, "delete": message.delete})
    if message.delete and message.HasField("expire_time"):
        yield "expire_time", "must be absent if `delete` is set"
    if not message.delete and (wrong := word_violation(grammar.PINNED, message.repo, required=False)) is not None:
        yield "repo", wrong


def _exactly_one(choices: Mapping[str, object]) -> Iterator[Violation]:
    names = ", ".join(choices)
    given = [name for name, value in choices.items() if value]
    if not given:
        yield next(iter(choices)), f"is required: give one of {names}"
    for name in given[1:]:
        yield name, f"must be absent if {given[0]} is set: give only one of {names}"


def _batch_set_overrides(message: v1.BatchSetOverridesRequest) -> Iterator[Violation]:
    yield from _duplicates("overrides", [change.repo for change in message.overrides], ".repo")


def _watch(message: v1.WatchRequest) -> Iterator[Violation]:
    yield from _duplicates("components", message.components)


def _duplicates(field: str, values: Sequence[str], suffix: str = "") -> Iterator[Violation]:
    if len(values) > MAX_BATCH:
        return
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        if value and (earlier := first.setdefault(value, index)) != index:
            yield (
                f"{field}[{index}]{suffix}",
                f"must be there only once; {field}[{earlier}]{suffix} is {shown(value)} too",
            )


def _one_or_all(message: v1.FreezeRequest | v1.UnfreezeRequest) -> Iterator[Violation]:
    if not message.component and not message.all:
        yield "component", f"is required without `all`: {grammar.COMPONENT.expected}"
    if message.component and message.all:
        yield "component", f"must be empty if `all` is set; got {shown(message.component)}"
    if message.all and message.HasField("expected_revision"):
        yield "expected_revision", f"must be absent if `all` is set; got {message.expected_revision}"


def _list_events(message: v1.ListEventsRequest) -> Iterator[Violation]:
    if message.component and message.every_component:
        yield "component", f"must be empty if `every_component` is set; got {shown(message.component)}"


def _delete_component(message: v1.DeleteComponentRequest) -> Iterator[Violation]:
    if grammar.COMPONENT.matches(message.component) and message.confirm != message.component:
        yield (
            "confirm",
            f"must be the name of the component again, {shown(message.component)}; got {shown(message.confirm)}",
        )


def _policy(message: v1.Policy) -> Iterator[Violation]:
    yield from _duplicates("checks", [check.name for check in message.checks], ".name")
    if len(message.steps) > _MAX_STEPS:
        return
    for index, (before, step) in enumerate(pairwise(message.steps), start=1):
        if is_percent(before.percent) and step.percent <= before.percent:
            yield f"steps[{index}].percent", f"must be more than the percent of the step before; got {step.percent:g}"
    # A value that is beyond its own limit contradicts nothing else.
    holds_ms = (_milliseconds(step.hold) for step in message.steps)
    yield from contradictions(
        [
            (step.percent, ms if ms <= _MAX_HOLD_S * 1000 else 0)
            for step, ms in zip(message.steps, holds_ms, strict=True)
        ],
        message.max_percent if message.HasField("max_percent") and is_percent(message.max_percent) else None,
        _milliseconds(message.stuck_after) if message.HasField("stuck_after") else None,
    )


def _milliseconds(duration: Duration) -> int:
    return round(_seconds(duration) * 1000)


def _check(message: v1.Check) -> Iterator[Violation]:
    from rampd._contract import placeholders  # noqa: PLC0415 - slow to import, and only policies with checks need it

    if wrong := placeholders.wrong(message.query):
        yield "query", wrong
    if not message.HasField("min") and not message.HasField("max"):
        yield "min", "is required: at least one of min and max"
    elif (
        message.HasField("min") and message.HasField("max") and math.isfinite(message.min) and message.min > message.max
    ):
        yield "max", f"must be at least min, {exact(message.min)}; got {exact(message.max)}"


MESSAGES: Mapping[str, MessageRule] = {
    "ReleaseRequest": _release,
    "SetOverrideRequest": _set_override,
    "OverrideChange": _override_change,
    "BatchSetOverridesRequest": _batch_set_overrides,
    "WatchRequest": _watch,
    "FreezeRequest": _one_or_all,
    "UnfreezeRequest": _one_or_all,
    "ListEventsRequest": _list_events,
    "DeleteComponentRequest": _delete_component,
    "Policy": _policy,
    "Check": _check,
}
