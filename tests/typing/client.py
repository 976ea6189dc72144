"""Code that uses the client. mypy checks it as a user's type checker would; it never runs."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

from rampd import (
    Admin,
    AsyncAdmin,
    AsyncResolver,
    AsyncRunningJob,
    Change,
    Channel,
    ClientCertificate,
    GitHubActions,
    GitLab,
    InvalidArgumentError,
    Job,
    Outcome,
    RampdError,
    Reports,
    Resolution,
    Resolver,
    ResolveReason,
    RunningJob,
    SnapshotRelease,
    Token,
    TokenFile,
    __version__,
    v1,
)
from rampd.testing import AsyncFixedResolver, FixedResolver, RampdServer


def launch(resolver: Resolver) -> str:
    answer = resolver.resolve("restyler", repo="acme/app", job_id="42", min_revision=3, timeout=0.5)
    assert_type(answer, Resolution)
    assert_type(answer.tag, str)
    assert_type(answer.channel, Channel | None)
    assert_type(answer.reason, ResolveReason)
    assert_type(answer.bucket, int | None)
    assert_type(answer.attributes, Mapping[str, str])
    assert_type(answer.snapshot_age, timedelta)
    for each in resolver.resolve_batch([Job("restyler", "acme/app"), ("restyler", "acme/web")]):
        assert_type(each, Resolution | RampdError)
    return answer.tag


def prove(path: Path) -> None:
    Resolver("https://rampd:443", credentials=Token("rampd_…"), ca_file=path)
    Admin("https://rampd:443", credentials=TokenFile(path), ca_file="ca.pem")
    AsyncAdmin("https://rampd:443", credentials=ClientCertificate(path, "client.key"))
    AsyncResolver("https://rampd:443", credentials=GitHubActions("rampd"))
    Admin("https://rampd:443", credentials=GitLab())
    Admin("https://rampd:443", credentials=lambda: ("token", None))
    Admin("https://rampd:443", credentials=lambda: ("token", 1_900_000_000.0))
    Admin("https://rampd:443", credentials=lambda: "token")  # type: ignore[arg-type]
    assert_type(Admin("127.0.0.1:50051").who_am_i().identity, str)


async def launch_later(resolver: AsyncResolver) -> str:
    assert_type(await resolver.resolve("restyler", repo="acme/app"), Resolution)
    assert_type(await resolver.resolve_batch([("restyler", "acme/app", "42")]), list[Resolution | RampdError])
    return (await resolver.resolve("restyler", repo="acme/app")).tag


def changes(admin: Admin) -> None:
    released = admin.release("restyler", "20200409", attributes={"commit": "1a"}, note="why", request_id="x")
    assert_type(released, v1.ReleaseResponse)
    assert_type(admin.ramp("restyler", 10, confirm_within=timedelta(minutes=5), expected_revision=3), v1.RampResponse)
    assert_type(admin.ramp("restyler", 10, dry_run=True).preview, v1.Preview)
    admin.ramp("restyler", 10, dry_run="yes")  # type: ignore[arg-type]
    assert_type(admin.freeze(all=True, expire_time=datetime.now(UTC)), v1.FreezeResponse)
    assert_type(admin.set_override("restyler", "acme/*", channel=Channel.NEXT), v1.SetOverrideResponse)
    admin.batch_set_overrides("restyler", (v1.OverrideChange(repo=repo, tag="t") for repo in "ab"))
    admin.set_policy("restyler", v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST), update_mask=["queue_mode"], timeout=3)


def reads(admin: Admin) -> None:
    assert_type(admin.get_rollout("restyler"), v1.Rollout)
    assert_type(admin.get_release("restyler", 3), v1.Release)
    assert_type(admin.get_policy("restyler", timeout=3), v1.Policy)
    assert_type(admin.get_server(timeout=3), v1.Server)
    assert_type(admin.list_events("restyler", page_size=10), Iterator[v1.Event])
    assert_type(admin.list_events(every_component=True, after="1-1"), Iterator[v1.Event])
    assert_type(admin.list_overrides("restyler", prefix="acme/"), Iterator[v1.Override])
    assert_type(admin.watch_release("restyler", 3, until_held=False), Iterator[v1.WatchReleaseResponse])
    assert_type(admin.wait_for_release("restyler", 3, until_held=False, timeout=60), v1.Release)
    assert_type(admin.follow_release("restyler", 3, on_lost=print), Iterator[v1.WatchReleaseResponse])


async def both(admin: AsyncAdmin) -> None:
    assert_type(await admin.rollback("restyler", quarantine=True), v1.RollbackResponse)
    assert_type(await admin.get_rollout("restyler"), v1.Rollout)
    assert_type(await admin.get_server(), v1.Server)
    assert_type(admin.list_events("restyler"), AsyncIterator[v1.Event])
    assert_type(admin.watch_release("restyler", 3), AsyncIterator[v1.WatchReleaseResponse])
    assert_type(await admin.wait_for_release("restyler", 3), v1.Release)
    assert_type(admin.follow_release("restyler", 3), AsyncIterator[v1.WatchReleaseResponse])


def mistakes(admin: Admin, resolver: Resolver) -> None:
    resolver.resolve("restyler")  # type: ignore[call-arg]
    resolver.resolve("restyler", "acme/app")  # type: ignore[call-arg]
    admin.ramp("restyler")  # type: ignore[call-arg]
    admin.ramp("restyler", "10")  # type: ignore[arg-type]
    admin.ramp("restyler", 10, nte="x")  # type: ignore[call-arg]
    admin.get_rollout("restyler", note="x")  # type: ignore[call-arg]
    admin.set_override("restyler", "acme/app", channel="NEXT")  # type: ignore[arg-type]


def errors(error: RampdError) -> None:
    assert_type(error.reason, str)
    assert_type(error.metadata, dict[str, str])
    assert_type(error.retryable, bool)
    if isinstance(error, InvalidArgumentError):
        assert_type(error.violations, tuple[tuple[str, str], ...])


async def doubles(rampd_server: RampdServer) -> None:
    launch(FixedResolver({"restyler": "20200301"}, overrides={("restyler", "acme/app"): "pb/x"}))
    await launch_later(AsyncFixedResolver({"restyler": "20200301"}))
    launch(rampd_server.resolver())
    changes(rampd_server.admin())


def jobs(resolver: Resolver, ended: Resolution) -> None:
    with resolver.job("restyler", repo="acme/app", job_id="42", fallback="20200301") as job:
        assert_type(job, RunningJob)
        assert_type(job.tag, str)
        assert_type(job.resolution, Resolution)
        job.failed()
    resolver.report(ended, "restyler", repo="acme/app", succeeded=True, duration=1.5)
    assert_type(resolver.status().reports, Reports)
    resolver.report(ended, "restyler", repo="acme/app")  # type: ignore[call-arg]
    assert_type(FixedResolver({}).outcomes, list[Outcome])


async def jobs_later(resolver: AsyncResolver) -> None:
    async with resolver.job("restyler", repo="acme/app") as job:
        assert_type(job, AsyncRunningJob)
        assert_type(job.tag, str)


def left_tag(change: Change) -> str:
    assert_type(change.left, tuple[SnapshotRelease, ...])
    assert_type(__version__, str)
    return f"{change.left[0].tag} {v1.RolloutState(v1.ROLLOUT_STATE_HELD)}"
