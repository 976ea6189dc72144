"""What the rules share: the record, its histories, and how a violation is told. Pure."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rampd_server.domain.errors import RampdError
from rampd_server.domain.rollout.effect import Effect
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from tests.chaos.histories import Histories, Node
from tests.chaos.record import Call, Fault, Record, line_of
from tests.chaos.requests import Asked, asked

RECOVERY_S = 6.0
"""How long after a fault nothing is promised in time."""
BUSY_S = 1.0
"""A Resolve asks no store: it takes longer only if the machine is busy, or the server stands still."""
_BEFORE_S, _AFTER_S, _MOST_LINES, _WIDTH = 3.0, 0.3, 20, 400


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that rampd promises not to do. `rule` is filled in by the judge."""

    what: str
    at_s: float
    component: str = ""
    rule: str = ""


@dataclass
class Case:
    """A record with what rules compute of it more than once."""

    record: Record
    histories: Histories = field(init=False)

    def __post_init__(self) -> None:
        self.histories = Histories(self.record)

    @cached_property
    def mutations(self) -> list[Call]:
        """The calls that were to change something."""
        return [call for call in self.record.calls if call.is_mutation and not call.request.dry_run]  # type: ignore[attr-defined]

    @cached_property
    def by_request(self) -> Mapping[str, list[Call]]:
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.mutations:
            found[call.request_id].append(call)
        return found

    @cached_property
    def _asked(self) -> dict[int, Asked]:
        return {}

    def asked(self, call: Call) -> Asked:
        key = id(call.request)
        if key not in self._asked:
            self._asked[key] = asked(call.method, call.request)
        return self._asked[key]

    @cached_property
    def _disturbances(self) -> list[Fault]:
        """The faults, and the times in which the machine was busy with something else, by their beginnings."""
        busy = (
            Fault("busy", call.server, call.began_s, call.ended_s)
            for call in self.record.calls
            if call.method == "Resolve" and call.ended_s - call.began_s > BUSY_S
        )
        return sorted((*self.record.faults, *busy), key=lambda fault: fault.began_s)

    def calm_s(self, began_s: float, ended_s: float, *, besides: Iterable[str] = ()) -> float:
        """How much of a time was without any fault and its consequences. Kinds of `besides` do not count as faults, but a busy machine
        does.
        """
        left, at_s = 0.0, began_s
        for fault in self._disturbances:
            if fault.kind in besides or fault.ended_s + RECOVERY_S < at_s:
                continue
            if fault.began_s >= ended_s:
                break
            left += max(0.0, fault.began_s - at_s)
            at_s = max(at_s, fault.ended_s + RECOVERY_S)
        return left + max(0.0, ended_s - at_s)

    def faults(self, began_s: float, ended_s: float, *kinds: str, server: int | None = None) -> list[Fault]:
        """The faults of these kinds (none: of all kinds) that overlap with a time."""
        return [
            fault
            for fault in self.record.faults
            if fault.began_s <= ended_s
            and fault.ended_s >= began_s
            and (not kinds or fault.kind in kinds)
            and (server is None or fault.server == server)
        ]

    @cached_property
    def end_s(self) -> float:
        """The time of the last call."""
        return max((call.ended_s for call in self.record.calls), default=0.0)

    def slice_of(self, violations: Iterable[Violation]) -> Iterator[str]:
        """The parts of the record around violations, as lines."""
        for violation in violations:
            yield from self._around(violation)

    def _around(self, violation: Violation) -> Iterator[str]:
        began_s, ended_s = violation.at_s - _BEFORE_S, violation.at_s + _AFTER_S
        lines = []
        for event in self.record.events():
            times = [
                getattr(event, name)
                for name in ("at_s", "began_s", "ended_s", "after_s", "by_s")
                if hasattr(event, name)
            ]
            if not times or max(times) < began_s or min(times) > ended_s:
                continue
            if isinstance(event, Call) and _is_noise(event, violation):
                continue
            text = line_of(event)
            if not violation.component or violation.component in text or isinstance(event, Fault):
                lines.append((max(times), text))
        yield from (text[:_WIDTH] for _, text in sorted(lines)[-_MOST_LINES:])


def _is_noise(call: Call, violation: Violation) -> bool:
    """Whether a call says nothing about a violation: it has reached no server, or only asked for a version."""
    is_lost = call.code == "UNAVAILABLE" and not call.reason
    return is_lost or (call.method == "Resolve" and call.ended_s != violation.at_s)


def outcome_of(before: Rollout | Absent, asked: Asked, context: Context) -> Effect | RampdError:
    """Returns what the state machine does with a command, or how it refuses."""
    assert asked.command is not None
    try:
        return transition(before, asked.command, context)
    except RampdError as error:
        return error


def actor_and_note(node: Node) -> tuple[str, str]:
    return node.author.get("actor", ""), node.author.get("note", "")


def following(nodes: Iterable[Node]) -> Iterator[tuple[Node, Node | None]]:
    """Each node with the one after it."""
    listed = list(nodes)
    yield from itertools.zip_longest(listed, listed[1:])
