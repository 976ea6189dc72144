"""Resolve answers from a state that is as fresh as the answer says, and never from an older one than before."""

import heapq
from collections.abc import Iterator

from rampd import v1
from rampd._decision.resolution import Overrides, resolve
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.replica.projection import choice_of, snapshot_of
from tests.chaos.histories import Node
from tests.chaos.judging import Case, Violation
from tests.chaos.record import Call

_RESTARTS = ("killed server", "restarted server", "lonely server")
_GONE_S = 60.0
"""How old the state of a server may be that does not know a component: its error has no age."""
_SLACK_S = 0.05
"""A server that starts counts the age of what it has kept by the clock of its machine, which runs a little differently."""
_NOT_YET = "does not answer with it yet"


def every_answer_is_as_fresh_as_it_says(case: Case) -> Iterator[Violation]:
    """The answer is that of a state which the store had, at the earliest, when it last confirmed the server's copy."""
    for call in case.record.calls:
        if call.method != "Resolve" or (call.response is None and call.reason != "COMPONENT_NOT_FOUND"):
            continue
        age_s = _age_s(call.response) if call.response else _GONE_S
        heads = case.histories.heads(call.began_s - age_s - _SLACK_S, call.ended_s)
        if not any(_is_answer_of(case, call, head, age_s) for head in heads):
            what = _told(call.response) if call.response else "no such component"
            yield _violation(call, f"{what}, of age {age_s:.3f} s, is the answer of no state that is so fresh")


def no_server_goes_back(case: Case) -> Iterator[Violation]:
    """A server that has answered with a revision never answers with an older one, until it is started again."""
    highest: dict[tuple[int, str], tuple[int, float]] = {}
    ended: list[tuple[float, int, Call]] = []
    for number, call in enumerate(sorted(case.record.calls, key=lambda call: call.began_s)):
        while ended and ended[0][0] < call.began_s:
            _, _, before = heapq.heappop(ended)
            key, revision = (before.server, before.component), _revision(before)
            if revision > highest.get(key, (0, 0.0))[0]:
                highest[key] = (revision, before.began_s)
        if call.response is None or not call.component:
            continue
        if call.method == "Resolve":
            known, at_s = highest.get((call.server, call.component), (0, 0.0))
            if call.response.revision < known and not case.faults(at_s, call.ended_s, *_RESTARTS, server=call.server):
                yield _violation(call, f"{_told(call.response)} came after revision {known}")
        if call.method == "Resolve" or call.is_mutation:
            heapq.heappush(ended, (call.ended_s, number, call))


def _revision(call: Call) -> int:
    """Returns the revision of a component that a server has in memory once it has given this answer."""
    response = call.response
    assert response is not None
    if call.is_mutation and (_NOT_YET in response.message or call.request.dry_run):  # type: ignore[attr-defined]
        return 0
    return int(response.revision)


def _age_s(response: v1.ResolveResponse) -> float:
    return response.snapshot_age.ToNanoseconds() / 1e9


def _is_answer_of(case: Case, call: Call, head: Node, age_s: float) -> bool:
    state = head.state(call.component)
    if call.response is None:
        return isinstance(state, Absent)
    if not isinstance(state, Rollout) or state.revision != call.response.revision:
        return False
    overrides = Overrides()
    for repo, override in head.overrides(call.component).items():
        overrides.set(repo, choice_of(override))
    request: v1.ResolveRequest = call.request  # type: ignore[assignment]
    for now_ms in case.histories.times_of_server(call.began_s, call.ended_s):
        found = resolve(snapshot_of(state), overrides, request.repo, request.job_id, lambda now=now_ms: now, age_s)
        channel = f"CHANNEL_{found.channel}" if found.channel else "CHANNEL_UNSPECIFIED"
        expected = (found.tag, found.release, v1.Channel.Value(channel), found.stale)
        response = call.response
        if expected == (response.tag, response.release, response.channel, response.stale):
            return True
    # A server counts the store's time on by its own clock, so around a step of that clock it may take another override.
    return bool(case.faults(call.began_s - 10, call.ended_s, "clock"))


def _told(response: v1.ResolveResponse) -> str:
    return f"{response.tag} at revision {response.revision}"


def _violation(call: Call, what: str) -> Violation:
    repo = getattr(call.request, "repo", "")
    return Violation(
        f"Resolve of {call.component} for {repo} at server {call.server}: {what}", call.ended_s, call.component
    )
