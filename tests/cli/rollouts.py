"""Rollouts as messages, for views that are drawn without a server. All times are before NOW."""

from datetime import UTC, datetime, timedelta

from rampd import v1

NOW = datetime(2026, 11, 26, 14, 5, tzinfo=UTC)


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def release(number: int, tag: str, at: datetime | None = None) -> v1.Release:
    made = v1.Release(number=number, tag=tag, actor="ci")
    made.update_time.FromDatetime(at or ago(hours=2))
    return made


def steady(component: str = "restyler", tag: str = "20200301") -> v1.Rollout:
    return v1.Rollout(
        component=component,
        state=v1.ROLLOUT_STATE_STEADY,
        current=release(2, tag, ago(days=5)),
        previous=[release(1, "20200228")],
        revision=2,
        current_outcomes=v1.CurrentOutcomes(tag=tag, release=2, jobs=12_340, failures=37),
    )


def with_current(
    rollout: v1.Rollout, whole: tuple[int, int], recent: tuple[int, int] | None = None, **since: float
) -> v1.Rollout:
    """Jobs and failures of current, since it became current and lately: since 15 min, if `since` says nothing else."""
    rollout.current_outcomes.Clear()
    outcomes = rollout.current_outcomes
    outcomes.jobs, outcomes.failures = whole
    outcomes.since.CopyFrom(rollout.current.update_time)
    if recent is not None:
        outcomes.recent.jobs, outcomes.recent.failures = recent
        outcomes.recent.since.FromDatetime(ago(**(since or {"minutes": 15})))
    return rollout


def current(component: str, whole: tuple[int, int], recent: tuple[int, int] | None = None) -> v1.Rollout:
    """Steady, with jobs and failures since current became current, and lately."""
    return with_current(steady(component), whole, recent)


FLEET = [current(f"good{number}", (10_000, 20), (100, 0)) for number in range(9)]
"""Components that are well: two failures in a thousand jobs, and none lately."""


def quarantined(rollout: v1.Rollout, *channels: v1.Channel) -> v1.Rollout:
    rollout.quarantined.extend(channels)
    return rollout


def ramping(component: str = "restyler", percent: float = 25) -> v1.Rollout:
    """Rolled out by a plan of four steps, with jobs of both channels, and two releases in the queue."""
    rollout = v1.Rollout(
        component=component,
        state=v1.ROLLOUT_STATE_ROLLING_OUT,
        current=release(3, "20200301"),
        next=release(4, "20200409", ago(hours=1)),
        next_percent=percent,
        queue=[release(5, "20200410"), release(6, "20200411")],
        previous=[release(2, "20200229"), release(1, "20200228")],
        revision=12,
        trial=1,
        policy=v1.Policy(
            steps=[step(10, 600, 50), step(25, 3600, 200), step(50, 3600, approval=True), step(95, 86_400)]
        ),
        outcomes=[
            v1.ChannelOutcomes(channel=v1.CHANNEL_CURRENT, jobs=1_200, failures=4, other_jobs=30),
            v1.ChannelOutcomes(channel=v1.CHANNEL_NEXT, jobs=140, failures=6, other_jobs=12, other_failures=1),
        ],
        evidence=v1.Evidence(e=8.25, limit=100, current_failures=4, next_failures=6, reporters=3),
    )
    rollout.policy.auto_finalize = True
    return rollout


def held(component: str = "restyler") -> v1.Rollout:
    rollout = ramping(component, percent=0)
    rollout.state = v1.ROLLOUT_STATE_HELD
    rollout.held_reason = "20200409 fails more often than 20200301: 6 of 140 jobs failed, against 4 of 1,200"
    rollout.held.CopyFrom(v1.HeldStatus(reason=rollout.held_reason, actor="rampd"))
    rollout.held.create_time.FromDatetime(ago(minutes=12))
    rollout.evidence.e = 131.5
    return rollout


def paused(component: str = "restyler", cause: int = v1.PAUSE_CAUSE_UNSPECIFIED) -> v1.Rollout:
    """Paused by a person, or by automation for a cause."""
    rollout = ramping(component)
    rollout.paused = True
    reasons = {
        v1.PAUSE_CAUSE_UNSPECIFIED: "the team is at lunch",
        v1.PAUSE_CAUSE_APPROVAL: "20200409 waits for approval at 25 %, as the plan says.",
    }
    reason = reasons.get(cause, "The check errors failed 3 times in a row: 0.04 is over 0.01.")
    actor = "rampd" if cause else "ada"
    rollout.pause.CopyFrom(v1.PauseStatus(reason=reason, actor=actor, cause=cause))
    rollout.pause.create_time.FromDatetime(ago(minutes=5))
    return rollout


def unconfirmed(component: str = "restyler") -> v1.Rollout:
    rollout = ramping(component)
    rollout.confirm_deadline.FromDatetime(NOW + timedelta(minutes=12))
    return rollout


def frozen(rollout: v1.Rollout, *, is_all: bool = False, note: str = "holidays") -> v1.Rollout:
    rollout.frozen = True
    freeze = v1.FreezeStatus(all=is_all, actor="grace", note=note)
    freeze.create_time.FromDatetime(ago(hours=3))
    freeze.expire_time.FromDatetime(NOW + timedelta(days=2))
    rollout.freezes.append(freeze)
    return rollout


def damaged(component: str = "restyler") -> v1.Rollout:
    problem = f"The key rampd:{{{component}}}:rollout has no field current. Restore it, or delete the component."
    return v1.Rollout(component=component, damage=v1.Damage(key=f"rampd:{{{component}}}:rollout", problem=problem))


def step(percent: float, hold_s: int = 0, min_jobs: int = 0, *, approval: bool = False) -> v1.Step:
    made = v1.Step(percent=percent, min_jobs=min_jobs, approval=approval)
    made.hold.FromTimedelta(timedelta(seconds=hold_s))
    return made


def event(
    action: str, actor: str = "ada", note: str = "", at: datetime | None = None, **changes: tuple[str, str]
) -> v1.Event:
    """`changes`: the fields, each with the text before and after."""
    made = v1.Event(action=action, actor=actor, note=note, component="restyler")
    made.time.FromDatetime(at or ago(minutes=30))
    for field, (before, after) in changes.items():
        made.changes.append(v1.FieldChange(field=field, before=before, after=after))
    return made


def fifty() -> list[v1.Rollout]:
    """What a team has on a bad day."""
    some = [
        paused("billing", v1.PAUSE_CAUSE_CHECK_FAILED),
        unconfirmed("checkout"),
        paused("gateway", v1.PAUSE_CAUSE_APPROVAL),
        held("mailer"),
        ramping("restyler"),
        ramping("search", 5),
        paused("thumbnails"),
        damaged("uploads"),
    ]
    return some + [steady(f"service-{number:02}", f"1.{number}.0") for number in range(50 - len(some))]
