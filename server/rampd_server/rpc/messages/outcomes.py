"""Puts the counts of outcomes into the messages of rollouts and releases."""

from rampd import v1
from rampd._evidence import e_process
from rampd._evidence.counters import Split, TrialCounters
from rampd._evidence.release_counters import ReleaseCounters
from rampd._evidence.reporter_cap import counted_failures
from rampd_server.domain.automation import guards
from rampd_server.domain.rollout.model import Release, Rollout
from rampd_server.rpc.messages.convert import release_message, timestamp


def show_outcomes(message: v1.Rollout, rollout: Rollout, counters: TrialCounters) -> None:
    """Adds the counters of the present trial to the message of a rollout."""
    message.outcomes.append(_channel(v1.CHANNEL_CURRENT, "current", counters))
    if rollout.next is None:
        return
    message.outcomes.append(_channel(v1.CHANNEL_NEXT, "next", counters))
    automation = rollout.policy.automation
    failures = sum(counted_failures(counters).values(), Split())
    message.evidence.CopyFrom(
        v1.Evidence(
            e=e_process.to_odds(guards.log_evidence(automation, counters)),
            limit=1 / automation.alpha,
            current_failures=failures.current,
            next_failures=failures.next,
            reporters=counters.reporters,
            assignment_mismatches=counters.mismatches,
        )
    )


def show_current_outcomes(message: v1.Rollout, rollout: Rollout, counters: ReleaseCounters, now_ms: int) -> None:
    """Adds the outcomes of current's jobs since it became current, and lately."""
    current, count = rollout.current_release, counters.since(rollout.current_revision)
    since_ms, recent = counters.lately(rollout.current_revision, now_ms)
    message.current_outcomes.CopyFrom(
        v1.CurrentOutcomes(
            tag=current.tag,
            release=current.number,
            since=timestamp(current.update_ms),
            jobs=count.jobs,
            failures=count.failures,
            failure_rate=count.failure_rate,
            recent=v1.RecentOutcomes(
                since=timestamp(max(since_ms, current.update_ms)),
                jobs=recent.jobs,
                failures=recent.failures,
                failure_rate=recent.failure_rate,
            ),
        )
    )


def release_with_outcomes(release: Release, counters: ReleaseCounters) -> v1.Release:
    """Returns a release with the outcomes of all its jobs."""
    message, count = release_message(release), counters.of(release.number)
    message.jobs, message.failures = count.jobs, count.failures
    if count.failure_rate is not None:
        message.failure_rate = count.failure_rate
    return message


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
        repos=counters.next_repos if channel == v1.CHANNEL_NEXT else None,
    )
