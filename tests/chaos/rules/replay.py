"""Each entry of the feed is what the pure state machine makes of its request, in the state before it."""

from collections.abc import Iterator
from dataclasses import replace

from rampd_server.domain.errors import RampdError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import AfterRollback
from rampd_server.domain.rollout.effect import Effect
from rampd_server.domain.rollout.model import Absent, Rollout, numbered
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.protection import new_freeze
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import SELF
from tests.chaos.histories import Node
from tests.chaos.judging import Case, Violation, actor_and_note, outcome_of
from tests.chaos.requests import Asked


def every_entry_is_what_its_request_makes(case: Case) -> Iterator[Violation]:
    for at_s, problem in case.histories.problems:
        yield Violation(problem, at_s)
    for node in case.histories.own_nodes():
        problem = node.problem or _problem(case, node)
        if problem:
            name = f"{node.action} of {node.component or 'everything'} at revision {node.entry.revision} ({node.id})"
            yield Violation(f"{name}: {problem}", node.by_s, node.component)


def _problem(case: Case, node: Node) -> str:
    if not node.author:
        return "its history has no such entry"
    actor, _ = actor_and_note(node)
    if node.component and node.action != "RecordLoss" and not _follows(case, node):
        return f"it follows revision {node.before.revision}"
    if actor == SELF and node.action == "RecordLoss" and not node.component:
        is_lost = any(
            node.freeze == other.freeze and not node.descends_from(other) for other in case.histories.own_nodes()
        )
        return "" if node.freeze is not None and is_lost else f"nobody had made the freeze {node.freeze}"
    if actor == SELF:
        return _of_rampd(node)
    calls = [call for call in case.by_request.get(node.request_id, ()) if call.method == node.action]
    found = "nobody asked for it"
    for call in calls:
        found = explanation(case.asked(call), node)
        if not found:
            return ""
    return found


def _follows(case: Case, node: Node) -> bool:
    """Whether a node has the next revision. A server that knows a lost revision, of which nothing is recorded yet, goes on from
    that one.
    """
    revision = node.entry.revision
    if revision <= node.before.revision:
        return False
    return revision == node.before.revision + 1 or any(
        other.component == node.component and other.entry.revision == revision - 1 and not node.descends_from(other)
        for other in case.histories.own_nodes()
    )


def explanation(asked: Asked, node: Node) -> str:
    """Says why a node is not what was asked for; empty if it is."""
    if asked.component != node.component:
        return f"it was asked for {asked.component or 'everything'}"
    if asked.freezes_all is not None:
        return _of_namespace(asked, node)
    if asked.overrides is not None:
        return _of_overrides(asked, node)
    effect = effect_at(asked, node)
    if isinstance(effect, RampdError):
        return f"the state before refuses it: {effect.message}"
    if not effect.changed:
        return f"in the state before it changes nothing: {effect.message}"
    return difference(numbered(effect.after, node.entry.revision, node.id), node)


def effect_at(asked: Asked, node: Node) -> Effect | RampdError:
    """Returns what a command does in the state before a node, at the time that the node has."""
    assert node.parent is not None
    now_ms = node.own.update_ms if isinstance(node.own, Rollout) else int(node.id.partition("-")[0])
    context = Context(now_ms, *actor_and_note(node), asked.expected_revision, node.parent.freeze)
    return outcome_of(node.before, asked, context)


def difference(expected: Rollout | Absent, node: Node) -> str:
    if expected == node.own:
        return ""
    if isinstance(expected, Rollout) and isinstance(node.own, Rollout):
        names = [name for name in Rollout.__slots__ if getattr(expected, name) != getattr(node.own, name)]
        parts = (f"{name} should be {getattr(expected, name)!r}, is {getattr(node.own, name)!r}" for name in names)
        return "; ".join(parts)
    return f"should be {expected!r}, is {node.own!r}"


def _of_namespace(asked: Asked, node: Node) -> str:
    assert node.parent is not None
    if not asked.freezes_all:
        return "" if node.freeze is None else f"everything is still frozen: {node.freeze}"
    if node.freeze is None:
        return "nothing is frozen"
    expected = new_freeze(None, asked.expire_ms, Context(node.freeze.create_ms, *actor_and_note(node)))
    return "" if node.freeze == expected else f"should be {expected}, is {node.freeze}"


def _of_overrides(asked: Asked, node: Node) -> str:
    assert asked.overrides is not None
    assert node.parent is not None
    before = node.before
    if isinstance(before, Absent):
        return "there is no such component"
    if asked.expected_revision not in {None, before.revision}:
        return f"it was asked for at revision {asked.expected_revision}, and is at {before.revision}"
    wanted = {repo: override for repo, override in asked.overrides.items() if override is not None}
    gone = set(asked.overrides) - set(wanted)
    if dict(node.entry.overrides_set) != wanted or set(node.entry.overrides_deleted) != gone:
        return f"should set {wanted} and delete {gone}"
    missing = gone - set(node.parent.overrides(node.component))
    if asked.must_exist and missing:
        return f"deletes {missing}, which are not there"
    unchanged = node.parent.overrides(node.component) == node.own_overrides
    return "it changes nothing" if unchanged else ""


def _of_rampd(node: Node) -> str:
    """Says what is wrong with a change that rampd has made by itself."""
    assert node.parent is not None
    if node.action == "RecordLoss":
        return _of_loss(node)
    if not node.component:
        before = node.parent.freeze
        if node.action == "Unfreeze" and before is not None and before.expire_ms is not None and node.freeze is None:
            return ""
        return f"the freeze of everything was {before}"
    before, after = node.before, node.own
    if not isinstance(before, Rollout) or not isinstance(after, Rollout):
        return "rampd neither makes nor deletes components"
    context = Context(after.update_ms, *actor_and_note(node), freeze_all=node.parent.freeze)
    command = commands.Settle() if node.action == "Settle" else _decision(node.action, before, after)
    try:
        effect = transition(before, command, context)
    except RampdError as error:
        return f"the state before refuses it: {error.message}"
    if not effect.changed:
        return "in the state before it changes nothing"
    return difference(numbered(effect.after, node.entry.revision, node.id), node)


def _decision(action: str, before: Rollout, after: Rollout) -> commands.Command:
    """Returns the decision of automation that a change must have been."""
    release = before.next_release
    tag = release.tag if release else ""
    continues = before.policy.automation.after_rollback is AfterRollback.CONTINUE
    match action:
        case "Step":
            command = commands.Ramp(after.basis_points, tag)
        case "Finalize":
            command = commands.Finalize(tag)
        case "Rollback":
            command = commands.Abandon(tag, quarantine=True) if continues else commands.Rollback(tag)
        case "Pause":
            command = commands.Pause(after.pause.cause if after.pause else None)
        case _:
            command = None
    # If the command ends this next, the progress is that of the new one, and the decision's own is not kept.
    return commands.Decide(after.progress, command)


def _of_loss(node: Node) -> str:
    """A loss raises the revision, and gives nobody more than the state before."""
    before, after = node.before, node.own
    if node.entry.revision <= before.revision:
        return f"it follows revision {before.revision}"
    if isinstance(before, Rollout) and isinstance(after, Rollout):
        same = replace(after, revision=0) if after.next == before.next else None
        if same is not None and after.basis_points > before.basis_points:
            return f"it raises next from {before.basis_points} to {after.basis_points} basis points"
        if after.next != before.next and after.next is not None and after.basis_points:
            return "it raises another next"
    return ""
