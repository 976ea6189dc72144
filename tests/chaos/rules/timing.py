"""What has to happen in time does, whatever else is going on: dead-man switches, ends of freezes, and steps of a plan."""

import math
from collections.abc import Iterator

from rampd_server.domain.automation.decision import step_at
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.moves import Context, settle
from rampd_server.domain.rollout.progress import Driver
from tests.chaos.histories import Node
from tests.chaos.judging import Case, Violation, following

SLACK_S = 3.0
"""How late something may be in a time without faults, on a busy machine."""
_TOLERANCE_MS = 1_100
"""How far the time of a decision may be from the store's clock."""


def every_dead_man_switch_fires_in_time(case: Case) -> Iterator[Violation]:
    """A Ramp that must be confirmed is confirmed, replaced or taken back before its time is over, or soon after."""
    for node, after in _steps_of_components(case):
        state = node.own
        if not isinstance(state, Rollout) or state.confirm_deadline_ms is None:
            continue
        due_s = node.by_s + (state.confirm_deadline_ms - state.update_ms) / 1000
        if case.faults(due_s, node.by_s, "clock"):
            # By a clock that was set on, the time was over before it was. The switch had to fire from then on.
            due_s = max(due_s, node.by_s)
        ended_s = after.after_s if after else _end_of(case, node)
        if case.calm_s(due_s, ended_s, besides=("scripts",)) > SLACK_S:
            what = f"{node.component} at revision {state.revision} was not confirmed in time, and nothing happened until {ended_s:.3f}"
            yield Violation(f"{what} ({ended_s - due_s:.1f} s after its time)", ended_s, node.component)


def every_freeze_ends_in_time(case: Case) -> Iterator[Violation]:
    """A release that waits only for the end of a freeze starts soon after it."""
    for life in range(len(case.record.lives)):
        waits: dict[str, float] = {}
        for head, after in following(case.histories.branch_of(life)):
            ended_s = after.after_s if after else _end_of(case, head)
            for component in head.last:
                found_s = _unsettled_s(case, head, component, ended_s)
                if found_s is None:
                    waits.pop(component, None)
                    continue
                began_s = waits.setdefault(component, found_s)
                if case.calm_s(began_s, ended_s, besides=("scripts",)) > SLACK_S:
                    what = (
                        f"a release of {component} waits since {began_s:.3f}, and nothing happened until {ended_s:.3f}"
                    )
                    yield Violation(what, ended_s, component)
                    waits[component] = ended_s


def every_step_follows_the_plan(case: Case) -> Iterator[Violation]:
    """Automation goes to the next step of the policy, and only after the hold of the one before."""
    for node in case.histories.own_nodes():
        before, after = node.before if node.component else None, node.own
        if node.action not in {"Step", "Finalize"} or node.author.get("actor") != "rampd":
            continue
        assert isinstance(before, Rollout)
        assert isinstance(after, Rollout)
        automation, at = before.policy.automation, before.basis_points
        held_ms = after.update_ms - before.progress.hold_since_ms if before.progress.hold_since_ms else None
        hold_ms = step_at(automation, at).hold_ms
        is_certain = not case.faults(_hold_began_s(node) - 10, node.by_s, "clock")
        problem = ""
        if before.progress.driver is Driver.PLAN and held_ms is not None and held_ms < hold_ms and is_certain:
            problem = f"it held at {at} basis points for {held_ms} ms, and not for {hold_ms}"
        elif node.action == "Step":
            steps = [step.basis_points for step in automation.steps if step.basis_points > at]
            if not steps or after.basis_points != steps[0]:
                problem = f"it went from {at} to {after.basis_points} basis points, and the next step is {steps[:1]}"
        elif any(step.basis_points > at for step in automation.steps):
            problem = f"it became current from {at} basis points, before the end of the plan"
        if problem:
            yield Violation(
                f"{node.action} of {node.component} at {node.entry.revision}: {problem}", node.by_s, node.component
            )


def _hold_began_s(node: Node) -> float:
    """Returns when the hold began that a step has ended."""
    assert isinstance(node.before, Rollout)
    assert node.parent is not None
    since_ms, at = node.before.progress.hold_since_ms, node.parent.last[node.component]
    while at.parent is not None and (earlier := at.parent.last.get(node.component)) is not None:
        if not isinstance(earlier.own, Rollout) or earlier.own.progress.hold_since_ms != since_ms:
            break
        at = earlier
    return at.after_s


def every_decision_is_of_its_time(case: Case) -> Iterator[Violation]:
    """The store commits what automation decides only if the decision is new."""
    for node in case.histories.own_nodes():
        if node.author.get("actor") != "rampd" or not isinstance(node.own, Rollout) or node.action == "RecordLoss":
            continue
        late_ms = abs(int(node.author["time"]) - node.own.update_ms)
        if late_ms > _TOLERANCE_MS and not case.faults(node.after_s - 5, node.by_s, "clock"):
            what = f"{node.action} of {node.component} at {node.entry.revision} was decided {late_ms} ms before or after its commit"
            yield Violation(what, node.by_s, node.component)


def _steps_of_components(case: Case) -> Iterator[tuple[Node, Node | None]]:
    """Each entry that changes a rollout, with the next such entry of its component in the same life."""
    for life in range(len(case.record.lives)):
        last: dict[str, Node] = {}
        for node in case.histories.branch_of(life)[1:]:
            if not node.component or node.entry.is_of_overrides_only:
                continue
            if node.component in last:
                yield last[node.component], node
            last[node.component] = node
        for node in last.values():
            yield node, None


def _end_of(case: Case, node: Node) -> float:
    """When the life of a node ended, or the run."""
    later = [life.after_s for life in case.record.lives if life.number > node.life and life.after_s >= node.by_s]
    return min([*later, case.end_s])


def _unsettled_s(case: Case, head: Node, component: str, ended_s: float) -> float | None:
    """Returns since when a component waits for nothing at a head; None if until `ended_s` it waits for something, or for nobody."""
    state = head.state(component)
    if not isinstance(state, Rollout) or state.next is not None or not state.queue:
        return None
    ends_ms = [freeze.expire_ms for freeze in (state.freeze, head.freeze) if freeze]
    ahead_ms = case.histories.store_ms(head.by_s) - head.by_s * 1000
    ends_s = [math.inf if end_ms is None else (end_ms - ahead_ms) / 1000 for end_ms in ends_ms]
    if any(end_s >= ended_s for end_s in ends_s) or case.faults(head.by_s - 5, ended_s, "clock"):
        return None
    began_s = max([head.by_s, *ends_s])
    now = Context(int(case.histories.store_ms(began_s)) + 1, freeze_all=head.freeze)
    return began_s if settle(state, now) is not state else None
