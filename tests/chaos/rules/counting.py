"""Outcomes count once, whatever happens to their report, and a guard acts on them in time."""

from collections import defaultdict
from collections.abc import Iterator

from rampd import v1
from rampd_server.domain.rollout.model import Rollout
from tests.chaos.judging import Case, Violation
from tests.chaos.record import Call
from tests.chaos.rules.timing import SLACK_S

ENOUGH = 12
"""So many failures of next, with none of current at 50 percent, are far over the limit of the relative guard."""


def every_outcome_counts_once(case: Case) -> Iterator[Violation]:
    """A release has at most the jobs that were reported, and at least those whose report was answered."""
    reports: dict[tuple[str, int], list[Call]] = defaultdict(list)
    for call in case.record.calls:
        if call.method == "ReportOutcomes":
            request: v1.ReportOutcomesRequest = call.request  # type: ignore[assignment]
            reports[request.client_id, request.sequence].append(call)
    for read in case.record.calls:
        if read.method != "GetRelease" or read.response is None:
            continue
        number, most, least = read.response.release.number, 0, 0
        for calls in reports.values():
            if any(call.began_s <= read.ended_s for call in calls):
                most += len(_reported(calls[0], read.component, number))
            least += min(
                (_accepted(call, read.component, number) for call in calls if call.ended_s < read.began_s), default=0
            )
        jobs = read.response.release.jobs
        if jobs > most or (jobs < least and not case.histories.lives_within(0.0, read.ended_s)[1:]):
            what = f"release {number} of {read.component} has {jobs} jobs, and {least} to {most} were reported"
            yield Violation(what, read.ended_s, read.component)


def every_guard_acts_in_time(case: Case) -> Iterator[Violation]:
    """A next of which enough jobs have failed is taken back soon after their report was answered."""
    for call in case.record.calls:
        if call.method != "ReportOutcomes" or call.response is None:
            continue
        request: v1.ReportOutcomesRequest = call.request  # type: ignore[assignment]
        component, release = request.outcomes[0].component, max(outcome.release for outcome in request.outcomes)
        failed = [each for each in _reported(call, component, release) if each.result == v1.OUTCOME_RESULT_FAILED]
        if len(failed) < ENOUGH or call.response.ignored:
            continue
        acted_s = _acted_s(case, component, release, call.began_s)
        # Lost counts give no evidence.
        is_kept = not case.histories.lives_within(call.began_s - 10, acted_s)[1:]
        late_s = case.calm_s(call.ended_s, acted_s, besides=("scripts",))
        if is_kept and late_s > SLACK_S:
            what = f"{len(failed)} failures of release {release} of {component} were reported, and nothing happened for {late_s:.1f} s"
            yield Violation(what, acted_s, component)


def _reported(call: Call, component: str, release: int) -> list[v1.Outcome]:
    request: v1.ReportOutcomesRequest = call.request  # type: ignore[assignment]
    return [outcome for outcome in request.outcomes if (outcome.component, outcome.release) == (component, release)]


def _accepted(call: Call, component: str, release: int) -> int:
    """How many outcomes of a release an answered report has added."""
    if call.response is None or call.response.ignored:
        return 0
    return len(_reported(call, component, release))


def _acted_s(case: Case, component: str, release: int, since_s: float) -> float:
    """Returns when a release was not given to jobs any more; the end of the run if it was until then."""
    for head in case.histories.heads(since_s, case.end_s):
        state = head.state(component)
        if not isinstance(state, Rollout) or state.next != release or not state.basis_points:
            return max(head.after_s, since_s)
    return case.end_s
