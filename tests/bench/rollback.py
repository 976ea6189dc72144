"""How soon no launcher gets a bad release any more, with the default policy. The time starts when the server acknowledges the
last failure that the guard needs. It ends when every launcher resolves current. Launchers watch two servers; reports go to
one of them.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator

from rampd import Resolver, v1
from rampd._decision.bucketing import bucket
from rampd._evidence import e_process
from rampd._evidence.counters import Split
from rampd_server.domain.rollout.automation_policy import Automation
from tests.bench import cores, running
from tests.bench.load import percentile
from tests.bench.report import Row, at_most, plain
from tests.bench.scale import Scale
from tests.servers import Stubs

LAUNCHERS = 10
PERCENT = 50
RELEASE = 5
TARGET_MS = 2000


def run(scale: Scale) -> list[Row]:
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store())
        servers = [stack.enter_context(running.rampd(store, on=on)) for on in (cores.SERVER, cores.LOAD)]
        running.begin_rollout(servers[0])
        call = stack.enter_context(running.calls(servers[0]))
        launchers = [stack.enter_context(Resolver(servers[n % 2].target)) for n in range(LAUNCHERS)]
        found = sorted(1000 * rolled_back_in_s(call, launchers, number) for number in range(scale.rounds * 10))
    return [
        plain(
            "from the last failure's receipt until all launchers resolve current: p50", [percentile(found, 0.5)], "ms"
        ),
        at_most(
            "from the last failure's receipt until all launchers resolve current: p99",
            [percentile(found, 0.99)],
            "ms",
            TARGET_MS,
        ),
    ]


def rolled_back_in_s(call: Stubs, launchers: list[Resolver], number: int) -> float:
    """Ramps again, which begins a trial, and reports as many failures of next as the guard needs."""
    revision = call("Ramp", component=running.COMPONENT, percent=PERCENT).revision
    repos = list(itertools.islice(of_next(number), failures_needed()))
    for launcher in launchers:
        launcher.resolve(running.COMPONENT, repo=repos[0], min_revision=revision)
    report(call, revision, repos[:-1], sequence=2 * number + 1)
    assert call("GetRollout", component=running.COMPONENT).rollout.state == v1.ROLLOUT_STATE_ROLLING_OUT
    report(call, revision, repos[-1:], sequence=2 * number + 2)
    began = time.perf_counter()
    while any(launcher.resolve(running.COMPONENT, repo=repos[0]).channel == "NEXT" for launcher in launchers):
        pass
    return time.perf_counter() - began


def of_next(number: int) -> Iterator[str]:
    """Yields repos that get next."""
    return (
        repo
        for n in itertools.count()
        if bucket(running.COMPONENT, RELEASE, repo := f"round-{number}/repo-{n}") < PERCENT * 100
    )


def failures_needed() -> int:
    """Returns how many failures of next alone reach the relative guard's limit."""
    limit = e_process.log_limit(Automation().alpha)
    return next(n for n in itertools.count(1) if e_process.log_evidence({PERCENT * 100: Split(0, n)}) >= limit)


def report(call: Stubs, revision: int, repos: list[str], sequence: int) -> None:
    outcomes = [
        v1.Outcome(
            component=running.COMPONENT,
            release=RELEASE,
            revision=revision,
            channel=v1.CHANNEL_NEXT,
            reason=v1.RESOLVE_REASON_WEIGHT,
            repo=repo,
            result=v1.OUTCOME_RESULT_FAILED,
        )
        for repo in repos
    ]
    answer = call("ReportOutcomes", client_id="bench", sequence=sequence, outcomes=outcomes)
    assert answer.accepted == len(repos), answer
