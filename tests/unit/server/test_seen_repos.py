"""A server collects the repos that it has seen, and sends what is new now and then."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.repo_sample import MOST, RepoSample, depth_of
from rampd_server.replica.replica import Replica
from rampd_server.service import seen_repos
from rampd_server.service.seen_repos import SeenRepos
from tests.in_background import in_background
from tests.waiting import eventually_async

C = "restyler"
MANY = [f"acme/app-{number}" for number in range(20_000)]


@dataclass
class Copy:
    """What `SeenRepos` uses of a replica."""

    components: set[str] = field(default_factory=lambda: {C, "hlint"})
    is_confirmed: bool = True

    def get(self, component: str) -> str | None:
        return component if component in self.components else None

    def subscribe(self, listener: SeenRepos) -> None:
        self.listener = listener

    def delete(self, component: str) -> None:
        self.components.remove(component)
        self.listener.applied(cast("Any", SimpleNamespace(component=component)), None, None)


@dataclass
class Store:
    """Remembers what was sent. It fails with `error`."""

    sent: list[tuple[str, set[str], int]] = field(default_factory=list)
    error: Exception | None = None
    of: str = ""
    """Fails only for this component; empty: for each."""
    meanwhile: list[Any] = field(default_factory=list)
    """Is called while the next repos are on their way."""
    kept: RepoSample = field(default_factory=RepoSample)

    async def add(self, component: str, repos: Collection[str], depth: int) -> None:
        if self.meanwhile:
            self.meanwhile.pop()()
        if self.error is not None and self.of in {"", component}:
            raise self.error
        self.sent.append((component, set(repos), depth))

    async def read(self, component: str) -> RepoSample:
        return self.kept if component == C else RepoSample()

    def take(self) -> list[tuple[str, set[str], int]]:
        sent, self.sent = self.sent, []
        return sent


@pytest.fixture
def copy() -> Copy:
    return Copy()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def seen(copy: Copy, store: Store) -> SeenRepos:
    return SeenRepos(store, cast("Replica", copy), most=3_000)


def note(seen: SeenRepos, *repos: str, component: str = C) -> None:
    for repo in repos:
        seen.note(component, repo)


async def test_a_repo_is_sent_once_however_often_it_is_seen(seen: SeenRepos, store: Store) -> None:
    note(seen, "acme/app", "acme/web", "acme/app")
    note(seen, "acme/app", component="hlint")
    await seen.send()
    assert store.take() == [(C, {"acme/app", "acme/web"}, 0), ("hlint", {"acme/app"}, 0)]

    note(seen, "acme/app", "acme/new")
    await seen.send()
    await seen.send()
    assert store.take() == [(C, {"acme/new"}, 0)]


async def test_a_reading_has_what_all_servers_have_sent_and_what_this_one_has_not(
    seen: SeenRepos, store: Store
) -> None:
    store.kept = RepoSample(["beta/a", "acme/app"])
    note(seen, "acme/app", "acme/web")
    found = await seen.sample(C)
    assert (found.repos, found.is_whole) == ({"acme/app", "acme/web", "beta/a"}, True)
    assert store.take() == []

    store.kept = RepoSample(filter(lambda repo: depth_of(repo) >= 2, MANY[:1_000]), 2)
    found = await seen.sample(C)
    assert (found.depth, found.repos - store.kept.repos) == (
        2,
        {r for r in ("acme/app", "acme/web") if depth_of(r) >= 2},
    )


async def test_of_too_many_repos_a_sample_is_sent(seen: SeenRepos, store: Store) -> None:
    note(seen, *MANY)
    await seen.send()

    whole = RepoSample(MANY)
    assert store.take() == [(C, whole.repos, whole.depth)]
    assert whole.depth >= 4
    note(seen, *MANY)
    await seen.send()
    assert store.take() == []


async def test_what_could_not_be_sent_is_kept_within_bounds_and_sent_later(
    seen: SeenRepos, store: Store, copy: Copy
) -> None:
    copy.is_confirmed = False
    note(seen, *MANY[:500])
    await seen.send()
    copy.is_confirmed = True
    store.error = StoreUnavailableError("away")
    note(seen, *MANY[:800], *MANY[:10])
    await seen.send()
    assert (await seen.sample(C)).repos == set(MANY[:800])
    store.error = None
    await seen.send()
    assert store.take() == [(C, set(MANY[:800]), 0)]

    store.error = StoreUnavailableError("away")
    for component in copy.components | {f"c{number}" for number in range(20)}:
        copy.components.add(component)
        note(seen, *MANY[:MOST], component=component)
        await seen.send()
    kept = sum([len((await seen.sample(component)).repos) for component in copy.components])
    assert kept <= 3_000
    store.error = None
    await seen.send()
    assert sum(len(repos) for _, repos, _ in store.take()) == kept


async def test_a_server_with_too_many_names_sends_them_again_and_takes_new_ones(
    seen: SeenRepos, store: Store, copy: Copy
) -> None:
    for number in range(5):
        copy.components.add(f"c{number}")
        note(seen, *MANY[:MOST], component=f"c{number}")
    await seen.send()
    assert [component for component, _, _ in store.take()] == ["c0", "c1", "c2"]

    note(seen, *MANY[:MOST], component="c4")
    note(seen, "acme/app", component="c0")
    await seen.send()
    assert {component: len(repos) for component, repos, _ in store.take()} == {"c4": MOST, "c0": 1}


async def test_what_is_seen_while_others_are_on_their_way_is_sent_next(seen: SeenRepos, store: Store) -> None:
    note(seen, "acme/app")
    store.meanwhile.append(lambda: note(seen, "acme/web"))
    await seen.send()
    await seen.send()

    assert [repos for _, repos, _ in store.take()] == [{"acme/app"}, {"acme/web"}]


async def test_repos_on_their_way_are_not_lost_if_everything_is_read_again_and_the_store_goes(
    seen: SeenRepos, store: Store
) -> None:
    note(seen, "acme/app")
    store.meanwhile.append(seen.reloaded)
    store.error = StoreUnavailableError("away")
    await seen.send()
    store.error = None
    await seen.send()

    assert store.take() == [(C, {"acme/app"}, 0)]


async def test_a_component_that_can_not_be_written_does_not_stop_the_others(seen: SeenRepos, store: Store) -> None:
    note(seen, "acme/app")
    note(seen, "acme/app", component="hlint")
    for error in (StoreCorruptError("x", key="k", problem="p"), RuntimeError("a defect")):
        store.error, store.of = error, C
        await seen.send()
        assert store.take() == [("hlint", {"acme/app"}, 0)]
        seen.reloaded()
        note(seen, "acme/app")
        note(seen, "acme/app", component="hlint")
    store.error = None
    await seen.send()
    assert store.take() == [(C, {"acme/app"}, 0), ("hlint", {"acme/app"}, 0)]


async def test_repos_of_a_deleted_component_are_not_sent_and_those_of_its_successor_are(
    seen: SeenRepos, store: Store, copy: Copy
) -> None:
    note(seen, "acme/app", "acme/web")
    await seen.send()
    note(seen, "acme/late")
    copy.delete(C)
    await seen.send()
    assert len(store.take()) == 1

    note(seen, "acme/late")
    await seen.send()
    copy.components.add(C)
    note(seen, "acme/app")
    await seen.send()
    assert store.take() == [(C, {"acme/app"}, 0)]


async def test_everything_is_sent_again_after_the_whole_state_was_read(seen: SeenRepos, store: Store) -> None:
    """The store may have been emptied."""
    note(seen, "acme/app")
    await seen.send()
    seen.reloaded()
    note(seen, "acme/app")
    await seen.send()

    assert store.take() == [(C, {"acme/app"}, 0)] * 2


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends every hundredth of a second, and again after a fifth of a second."""
    monkeypatch.setattr(seen_repos, "SEND_S", 0.01)
    monkeypatch.setattr(seen_repos, "AGAIN_S", 0.2)


@pytest.mark.usefixtures("fast")
async def test_it_sends_by_itself_and_a_repo_that_is_still_seen_again_after_a_while(
    seen: SeenRepos, store: Store
) -> None:
    def is_sent_again() -> bool:
        note(seen, "acme/app")
        return bool(store.sent)

    async with in_background(seen.run()):
        note(seen, "acme/app")
        await eventually_async(lambda: bool(store.sent))
        store.take()
        note(seen, "acme/web")
        await eventually_async(lambda: bool(store.sent))
        assert store.take() == [(C, {"acme/web"}, 0)]
        await eventually_async(is_sent_again)
        assert store.sent[0] == (C, {"acme/app"}, 0)


@pytest.mark.usefixtures("fast")
async def test_nothing_is_sent_where_nothing_is_new(seen: SeenRepos, store: Store) -> None:
    note(seen, "acme/app")
    async with in_background(seen.run()):
        await eventually_async(lambda: bool(store.sent))
        await asyncio.sleep(0.5)
    assert len(store.sent) == 1


@pytest.mark.usefixtures("fast")
async def test_it_goes_on_after_the_store_was_away(seen: SeenRepos, store: Store, copy: Copy) -> None:
    copy.is_confirmed = False
    async with in_background(seen.run()):
        note(seen, "acme/app")
        await asyncio.sleep(0.1)
        copy.is_confirmed = True
        await eventually_async(lambda: bool(store.sent))
    assert store.take() == [(C, {"acme/app"}, 0)]


async def test_the_last_repos_are_sent_at_the_end_also_when_the_copy_is_not_confirmed_any_more(
    seen: SeenRepos, store: Store, copy: Copy
) -> None:
    note(seen, "acme/app")
    copy.is_confirmed = False
    await seen.end()

    assert store.take() == [(C, {"acme/app"}, 0)]


async def test_the_end_does_not_wait_for_a_store_that_hangs(
    seen: SeenRepos, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(seen_repos, "_END_S", 0.01)
    monkeypatch.setattr(store, "add", hang)
    note(seen, "acme/app")

    async with asyncio.timeout(30):
        await seen.end()
