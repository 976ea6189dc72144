"""What a trial has counted, in the message of its rollout."""

from rampd import v1
from rampd_server.domain import evidence, guards
from rampd_server.domain.counters import Split, TrialCounters
from rampd_server.domain.model import Rollout
from rampd_server.domain.reporter_cap import counted_failures


def show_outcomes(message: v1.Rollout, rollout: Rollout, counters: TrialCounters) -> None:
    """Adds `counters`, those of the present trial, to the message of a rollout."""
    message.outcomes.append(_channel(v1.CHANNEL_CURRENT, "current", counters))
    if rollout.next is None:
        return
    message.outcomes.append(_channel(v1.CHANNEL_NEXT, "next", counters))
    automation = rollout.policy.automation
    failures = sum(counted_failures(counters).values(), Split())
    message.evidence.CopyFrom(
        v1.Evidence(
            e=evidence.to_odds(guards.log_evidence(automation, counters)),
            limit=1 / automation.alpha,
            current_failures=failures.current,
            next_failures=failures.next,
            reporters=counters.reporters,
            assignment_mismatches=counters.mismatches,
        )
    )


def _channel(channel: v1.Channel, name: str, counters: TrialCounters) -> v1.ChannelOutcomes:
    total, others = counters.total, counters.others
    jobs, failures = getattr(total.jobs, name), getattr(total.failures, name)
    return v1.ChannelOutcomes(
        channel=channel,
        jobs=jobs,
        failures=failures,
        failure_rate=failures / jobs if jobs else None,
        other_jobs=getattr(others.jobs, name),
        other_failures=getattr(others.failures, name),
    )
