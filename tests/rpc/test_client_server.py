"""The client against a real server, with the pytest fixture for users."""

from datetime import UTC, datetime, timedelta

import pytest

import rampd
from rampd import Channel, Job, ResolveReason, v1
from rampd.testing import RampdServer


@pytest.mark.usefixtures("catches_up")
def test_the_client_takes_a_release_from_the_queue_to_a_revert(rampd_server: RampdServer) -> None:
    admin, resolver = rampd_server.admin(actor="ci"), rampd_server.resolver()

    def tag(repo: str = "acme/app") -> str:
        revision = admin.get_rollout("restyler").revision
        return resolver.resolve("restyler", repo=repo, min_revision=revision).tag

    assert admin.release("restyler", "20200301").disposition == v1.DISPOSITION_BOOTSTRAPPED
    assert admin.release("restyler", "20200409", attributes={"commit": "1a"}).release == 2
    assert admin.release("restyler", "20200415").queue_position == 1
    assert tag() == "20200301"
    assert admin.ramp("restyler", 100, tag="20200409", note="all of it").rollout.next_percent == 100
    assert tag() == "20200409"
    admin.rollback("restyler")
    assert tag() == "20200301"
    admin.ramp("restyler", 50)
    assert admin.finalize("restyler").rollout.next.tag == "20200415"
    admin.set_override("restyler", "acme/app", tag="pb/x", expire_time=datetime.now(UTC) + timedelta(hours=1))
    assert tag() == "pb/x"
    admin.delete_override("restyler", "acme/app")
    assert admin.revert("restyler").rollout.current.tag == "20200301"
    assert tag() == "20200301"
    assert not admin.revert("restyler").changed
    newest = next(admin.list_events("restyler"))
    assert (newest.action, newest.actor) == ("Revert", "ci")
    assert [release.tag for release in admin.list_releases("restyler", page_size=1)] == [
        "20200415",
        "20200409",
        "20200301",
    ]


def test_a_batch_is_answered_with_attributes_and_errors(rampd_server: RampdServer) -> None:
    admin = rampd_server.admin()
    admin.release("restyler", "20200301", attributes={"commit": "1a"})
    admin.set_override("restyler", "acme/*", channel=Channel.NEXT)
    resolver = rampd.Resolver(rampd_server.target, mode="rpc")
    first, pinned, error = resolver.resolve_batch([Job("restyler", "b/c"), ("restyler", "acme/x"), ("nope", "b/c")])
    assert isinstance(first, rampd.Resolution)
    assert (first.tag, first.attributes, first.reason) == ("20200301", {"commit": "1a"}, ResolveReason.STEADY)
    assert isinstance(pinned, rampd.Resolution)
    assert (pinned.channel, pinned.reason) == (Channel.CURRENT, ResolveReason.OVERRIDE_CHANNEL)
    assert isinstance(error, rampd.NotFoundError)
    assert (error.reason, error.metadata) == ("COMPONENT_NOT_FOUND", {"component": "nope"})
    resolver.close()


def test_refusals_arrive_with_reason_and_metadata(rampd_server: RampdServer) -> None:
    admin = rampd_server.admin()
    admin.release("restyler", "20200301")
    with pytest.raises(rampd.FailedPreconditionError) as no_rollout:
        admin.ramp("restyler", 10)
    assert no_rollout.value.reason == "NO_ROLLOUT"
    with pytest.raises(rampd.AbortedError) as mismatch:
        admin.release("restyler", "20200409", expected_revision=7)
    assert (mismatch.value.reason, mismatch.value.metadata) == ("REVISION_MISMATCH", {"expected": "7", "actual": "1"})
    admin.release("restyler", "20200409", request_id="mine")
    with pytest.raises(rampd.InvalidArgumentError) as reused:
        admin.release("restyler", "20200415", request_id="mine")
    assert (reused.value.reason, reused.value.violations) == ("REQUEST_ID_REUSED", ())


def test_a_repeated_request_id_is_replayed(rampd_server: RampdServer) -> None:
    admin = rampd_server.admin()
    first = admin.release("restyler", "20200301", request_id="mine")
    again = admin.release("restyler", "20200301", request_id="mine")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.release, again.revision) == (first.release, first.revision)


def test_many_overrides_come_back_page_by_page(rampd_server: RampdServer) -> None:
    admin = rampd_server.admin()
    admin.release("restyler", "20200301")
    repos = [f"acme/{number:03}" for number in range(250)]
    admin.batch_set_overrides("restyler", [v1.OverrideChange(repo=repo, tag="t") for repo in repos])
    assert [override.repo for override in admin.list_overrides("restyler", prefix="acme/")] == repos


async def test_the_asyncio_clients_do_the_same(rampd_server: RampdServer) -> None:
    async with (
        rampd.AsyncAdmin(rampd_server.target, actor="ci") as admin,
        rampd.AsyncResolver(rampd_server.target, mode="rpc") as resolver,
    ):
        await admin.release("restyler", "20200301")
        assert (await resolver.resolve("restyler", repo="acme/app")).tag == "20200301"
        assert [event.actor async for event in admin.list_events("restyler")] == ["ci"]
        with pytest.raises(rampd.NotFoundError):
            await resolver.resolve("nope", repo="acme/app")
