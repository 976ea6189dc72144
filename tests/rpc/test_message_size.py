"""No message is larger than 4 MiB, however much there is to show."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from rampd import v1
from tests.servers import Stubs, metadata_of, reason_of
from tests.waiting import eventually

C = "restyler"
COMPONENTS = [f"c{number:03}" for number in range(300)]
LARGE = {f"k{number}": "x" * 1000 for number in range(16)}
"""Attributes of nearly the largest size that a release may have."""


@pytest.fixture
def large_components(call: Stubs) -> None:
    def release(name: str) -> None:
        """On a busy machine the store may not answer in time. The call is sent again with the same request_id."""
        request = {"component": name, "tag": "t", "attributes": LARGE, "request_id": name}
        eventually(lambda: call("Release", **request), suppressed=grpc.RpcError)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(release, COMPONENTS))


def pages(call: Stubs, method: str, **fields: object) -> list[Any]:
    """Returns all pages of a list. The channel refuses an answer over 4 MiB."""
    found = [call(method, **fields)]
    while found[-1].next_page_token:
        found.append(call(method, page_token=found[-1].next_page_token, **fields))
    return found


@pytest.mark.usefixtures("large_components")
def test_a_page_of_rollouts_ends_before_it_is_too_large_and_the_next_page_goes_on_there(call: Stubs) -> None:
    found = pages(call, "ListRollouts", page_size=1000)

    assert [rollout.component for page in found for rollout in page.rollouts] == COMPONENTS
    assert [page.ByteSize() > 2 << 20 for page in found] == [True, False]


@pytest.mark.usefixtures("large_components")
def test_a_batch_whose_answer_is_too_large_is_refused_and_the_message_says_to_ask_for_less(call: Stubs) -> None:
    requests = [v1.ResolveRequest(component=name, repo="acme/app") for name in COMPONENTS]
    with pytest.raises(grpc.RpcError) as caught:
        call("BatchResolve", requests=requests)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (reason_of(caught.value), metadata_of(caught.value)) == ("TOO_LARGE", {"limit": str(4 << 20)})
    assert "ask for fewer jobs at once" in caught.value.details()

    assert len(call("BatchResolve", requests=requests[:200]).results) == 200


def test_a_page_of_events_ends_before_it_is_too_large_and_the_next_page_goes_on_there(call: Stubs) -> None:
    call("Release", component=C, tag="t")
    for number in range(60):
        query = f"sum(x{number:04})" + " " * 3989
        checks = [v1.Check(name=f"n{index}", query=query, max=1) for index in range(20)]
        call("SetPolicy", component=C, policy=v1.Policy(checks=checks), update_mask={"paths": ["checks"]})

    found = pages(call, "ListEvents", component=C)

    revisions = [event.revision for page in found for event in page.events]
    assert revisions == list(range(61, 0, -1))
    assert len(found) > 2


def test_a_page_has_one_item_even_if_the_item_is_too_large(call: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rampd_server.rpc.paging.MAX_PAGE_BYTES", 1)
    for tag in ("t1", "t2", "t3"):
        call("Release", component=C, tag=tag)
    call("Quarantine", component=C, tag="x")
    call("Quarantine", component=C, tag="y")

    releases = pages(call, "ListReleases", component=C)
    tags = pages(call, "ListQuarantine", component=C)

    assert [[release.number for release in page.releases] for page in releases] == [[3], [2], [1]]
    assert [[tag.tag for tag in page.tags] for page in tags] == [["x"], ["y"]]


def test_a_large_page_of_small_items_is_read_completely(call: Stubs) -> None:
    """The store reads it in more than one piece."""
    call("Release", component=C, tag="t")
    overrides = [v1.OverrideChange(repo=f"acme/r{number:03}", tag="x") for number in range(500)]
    call("BatchSetOverrides", component=C, overrides=overrides)

    repos = [
        [each.repo for each in page.overrides] for page in pages(call, "ListOverrides", component=C, page_size=250)
    ]

    assert [len(page) for page in repos] == [250, 250]
    assert [repo for page in repos for repo in page] == [each.repo for each in overrides]
