"""The client's side of Watch, message by message, with its own clock."""

import math
from dataclasses import dataclass

import pytest

from rampd import v1
from rampd._contract.component_state import MalformedStateError
from rampd._decision.resolution import Channel
from rampd._watching.feed import Change, Feed
from rampd.errors import PermissionDeniedError, ResourceExhaustedError, UnauthenticatedError, UnavailableError

AWAY = UnavailableError("nobody there")


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def feed(clock: Clock) -> Feed:
    made = Feed(clock=clock, wall_clock=lambda: 5e9, chance=lambda: 1.0)
    made.begin()
    return made


def component(name: str, revision: int, *, current: int = 1, next_: int = 0, percent: float = 0) -> v1.ComponentState:
    state = v1.ROLLOUT_STATE_ROLLING_OUT if next_ else v1.ROLLOUT_STATE_STEADY
    return v1.ComponentState(
        component=name,
        revision=revision,
        resolution=v1.ResolutionState(
            state=state, current=current, next=next_, next_percent=percent, unit=v1.UNIT_REPO
        ),
        releases=[v1.Release(number=number, tag=f"t{number}") for number in (current, next_) if number],
    )


def whole(cursor: str, *components: v1.ComponentState, first: bool = True, last: bool = True) -> v1.WatchResponse:
    return v1.WatchResponse(cursor=cursor, state=v1.WatchState(first=first, last=last, components=components))


def change(cursor: str, *components: v1.ComponentState) -> v1.WatchResponse:
    return v1.WatchResponse(cursor=cursor, changes=[v1.WatchChange(component=each) for each in components])


def gone(cursor: str, name: str) -> v1.WatchResponse:
    deleted = v1.WatchChange(component=v1.ComponentState(component=name), deleted=True)
    return v1.WatchResponse(cursor=cursor, changes=[deleted])


def heartbeat(age_s: float = 0, *, server_s: float = 0, store_s: int = 0) -> v1.WatchResponse:
    made = v1.WatchHeartbeat()
    made.snapshot_age.FromNanoseconds(int(age_s * 1e9))
    made.server_clock.FromNanoseconds(int(server_s * 1e9))
    made.store_time.FromSeconds(store_s)
    return v1.WatchResponse(heartbeat=made)


def message(*parts: v1.WatchResponse) -> v1.WatchResponse:
    """One message that has the fields of all parts."""
    return v1.WatchResponse.FromString(b"".join(each.SerializeToString() for each in parts))


def revisions(feed: Feed) -> dict[str, int]:
    return {name: known.snapshot.revision for name, known in feed.components.items()}


def test_a_whole_state_is_not_seen_before_its_last_part(feed: Feed) -> None:
    feed.take(whole("", component("a", 1), last=False))
    feed.take(whole("", component("b", 2), first=False, last=False))
    assert (revisions(feed), feed.cursor) == ({}, "")
    feed.take(whole("e/5-0", component("c", 3), first=False))
    assert (revisions(feed), feed.cursor) == ({"a": 1, "b": 2, "c": 3}, "e/5-0")
    assert feed.begin().cursor == "e/5-0"


def test_a_state_that_begins_again_drops_its_earlier_parts(feed: Feed) -> None:
    feed.take(whole("", component("a", 1), last=False))
    feed.take(whole("e/5-0", component("b", 2)))
    assert revisions(feed) == {"b": 2}


def test_a_stream_that_breaks_inside_a_state_keeps_the_last_whole_state(feed: Feed) -> None:
    feed.take(whole("e/5-0", component("a", 1)))
    feed.take(whole("", component("a", 9), last=False))
    feed.lost(AWAY)
    assert feed.begin().cursor == "e/5-0"
    assert revisions(feed) == {"a": 1}
    with pytest.raises(MalformedStateError, match="without its first part"):
        feed.take(whole("e/9-0", component("b", 2), first=False))


def test_several_changes_in_one_message_come_in_order(feed: Feed) -> None:
    feed.take(whole("e/5-0", component("a", 1)))
    told = feed.take(
        v1.WatchResponse.FromString(
            change("e/6-0", component("a", 2, next_=2)).SerializeToString()
            + change("e/7-0", component("a", 3, current=2)).SerializeToString()
            + heartbeat().SerializeToString()
        )
    )
    assert [(each.revision, [r.tag for r in each.left], [r.tag for r in each.came]) for each in told] == [
        (2, [], ["t2"]),
        (3, ["t1"], []),
    ]
    assert (feed.cursor, feed.is_live) == ("e/7-0", True)


def test_an_older_state_is_refused_unless_the_store_has_gone_back(feed: Feed) -> None:
    feed.take(whole("e/5-7", component("a", 7)))
    for older in (whole("e/5-6", component("a", 6)), change("e/5-6", component("a", 6))):
        with pytest.raises(MalformedStateError):
            feed.take(older)
    assert (revisions(feed), feed.cursor) == ({"a": 7}, "e/5-7")
    feed.take(v1.WatchResponse(rewind=v1.WatchRewind(cursor="e/5-6")))
    feed.take(whole("e/5-6", component("a", 6)))
    assert (revisions(feed), feed.cursor) == ({"a": 6}, "e/5-6")
    feed.take(whole("f/1-0", component("a", 1)))
    assert revisions(feed) == {"a": 1}


def test_the_time_of_the_last_change_of_history_is_known(feed: Feed, clock: Clock) -> None:
    feed.take(whole("e/5-7", component("a", 2)))
    feed.take(whole("e/6-0", component("a", 3)))
    assert feed.told_s == -math.inf
    clock.now_s = 1010.0
    feed.take(v1.WatchResponse(rewind=v1.WatchRewind(cursor="e/5-7")))
    assert feed.told_s == -math.inf
    feed.take(whole("e/5-7", component("a", 2)))
    assert feed.told_s == 1010.0
    clock.now_s = 1020.0
    feed.take(whole("f/1-0", component("a", 1)))
    assert feed.told_s == 1020.0
    clock.now_s = 1030.0
    feed.take(whole("f/2-0", component("a", 2)))
    assert feed.told_s == 1020.0


def test_an_older_state_is_as_old_as_its_server_says(feed: Feed, clock: Clock) -> None:
    """Given a server that has started with a state of a file, expect the age of that state, and not that of the later one before."""
    feed.take(message(whole("e/5-7", component("a", 7)), heartbeat(0)))
    clock.now_s += 1
    feed.take(v1.WatchResponse(rewind=v1.WatchRewind(cursor="e/5-6")))
    feed.take(message(whole("e/5-6", component("a", 6)), heartbeat(60, server_s=1)))
    assert clock.now_s - feed.confirmed_s == 60


def test_an_older_state_without_an_age_is_too_old(feed: Feed) -> None:
    feed.take(message(whole("e/5-7", component("a", 7)), heartbeat(0)))
    feed.take(whole("f/1-0", component("a", 1)))
    assert feed.confirmed_s == -math.inf


def test_a_rewind_applies_to_one_state_only(feed: Feed) -> None:
    feed.take(whole("e/5-0", component("a", 5)))
    feed.take(v1.WatchResponse(rewind=v1.WatchRewind()))
    feed.take(whole("e/4-0", component("a", 4)))
    with pytest.raises(MalformedStateError):
        feed.take(whole("e/3-0", component("a", 3)))


def test_after_a_malformed_change_the_client_asks_for_a_whole_state(feed: Feed) -> None:
    feed.take(whole("e/5-0", component("a", 5)))
    with pytest.raises(MalformedStateError):
        feed.take(change("e/6-0", v1.ComponentState(component="b", revision=3)))
    feed.lost(None)
    assert feed.begin().whole
    feed.take(whole("e/6-0", component("a", 5), component("b", 3)))
    feed.lost(None)
    assert feed.begin().cursor == "e/6-0"


def test_the_whole_state_after_a_malformed_change_may_be_older(feed: Feed) -> None:
    feed.take(whole("e/5-0", component("a", 5)))
    nonsense = v1.ComponentState(component="b", revision=1)
    with pytest.raises(MalformedStateError):
        feed.take(change("e/6-0", nonsense))
    feed.begin()
    feed.take(whole("e/3-0", component("a", 3)))
    assert (revisions(feed), feed.cursor) == ({"a": 3}, "e/3-0")


def test_a_component_that_disappears_is_kept_as_deleted_for_a_while(feed: Feed, clock: Clock) -> None:
    """It is kept for a time after its deletion. Its age counts from its last confirmation, so that it never becomes fresh again."""
    feed.take(whole("e/5-0", component("a", 5), component("b", 1)))
    feed.take(heartbeat())
    feed.take(gone("e/6-0", "a"))
    clock.now_s += 100
    confirmed_s = feed.confirmed_s
    feed.take(whole("f/1-0"))
    assert revisions(feed) == {}
    clock.now_s += 200
    a, b = feed.find_deleted("a"), feed.find_deleted("b")
    assert a is not None
    assert b is not None
    assert (a.component.snapshot.revision, a.gone_s, b.gone_s) == (5, 1000, 1100)
    assert a.since_s == b.since_s == confirmed_s <= 1000
    clock.now_s += 1
    assert feed.find_deleted("a") is None
    assert feed.find_deleted("b") is not None
    feed.take(heartbeat())
    assert list(feed.deleted) == ["b"]
    feed.take(change("f/2-0", component("b", 2)))
    assert not feed.deleted


def unreadable(message: v1.WatchResponse, name: str, confirmed_s: float) -> v1.WatchResponse:
    damaged = message.state.damaged.add(component=name)
    damaged.confirmed_time.FromMilliseconds(int(confirmed_s * 1000))
    return message


def test_an_unreadable_component_keeps_its_state_and_only_its_age_grows(feed: Feed, clock: Clock) -> None:
    feed.take(whole("e/5-0", component("a", 5), component("b", 1)))
    feed.take(heartbeat(store_s=2000))
    clock.now_s += 20
    assert feed.take(unreadable(whole("e/6-0", component("b", 1)), "a", 2010)) == []
    assert (revisions(feed), feed.deleted) == ({"b": 1}, {})
    last = feed.damaged["a"]
    assert last is not None
    assert (last.component.snapshot.revision, last.since_s) == (5, 1010)
    assert feed.find("a") is last.component

    # The server has read it once, and follows it. That does not make it fresher, and neither does a server that saw it later.
    assert len(feed.take(unreadable(whole("e/7-0", component("a", 6), component("b", 1)), "a", 2019))) == 1
    feed.take(change("e/8-0", component("a", 7)))
    last = feed.damaged["a"]
    assert last is not None
    assert (last.component.snapshot.revision, last.since_s, revisions(feed)) == (7, 1010, {"b": 1})

    # The component is repaired.
    assert feed.begin().whole
    feed.take(whole("e/9-0", component("a", 7), component("b", 1)))
    assert (revisions(feed), feed.damaged) == ({"a": 7, "b": 1}, {})


def test_an_unreadable_component_that_is_deleted_disappears(feed: Feed, clock: Clock) -> None:
    feed.take(whole("e/5-0", component("a", 5)))
    feed.take(unreadable(unreadable(whole("e/6-0"), "a", 0), "c", 0))
    assert feed.damaged["c"] is None
    feed.take(gone("e/7-0", "a"))
    feed.take(gone("e/8-0", "c"))
    assert (feed.damaged, list(feed.deleted)) == ({}, ["a"])
    feed.take(change("e/9-0", component("c", 9)))
    assert revisions(feed) == {"c": 9}


def test_the_age_adds_the_age_at_the_server_and_the_time_since_its_message(feed: Feed, clock: Clock) -> None:
    assert clock.now_s - feed.confirmed_s == math.inf
    feed.take(heartbeat(0.5, server_s=70))
    assert clock.now_s - feed.confirmed_s == 0.5
    clock.now_s += 2
    assert clock.now_s - feed.confirmed_s == 2.5
    feed.take(heartbeat(0.75, server_s=72))
    assert clock.now_s - feed.confirmed_s == 0.75


def test_a_delayed_heartbeat_does_not_make_the_state_look_fresher(feed: Feed, clock: Clock) -> None:
    feed.take(heartbeat(0, server_s=70))
    clock.now_s += 30
    feed.take(heartbeat(0, server_s=80))
    assert clock.now_s - feed.confirmed_s == pytest.approx(20, abs=0.1)
    clock.now_s += 0.1
    feed.take(heartbeat(0, server_s=100))
    assert clock.now_s - feed.confirmed_s == pytest.approx(0.1, abs=0.1)


def test_a_drift_of_clocks_does_not_count_as_a_delay(feed: Feed, clock: Clock) -> None:
    for second in range(100_000):
        clock.now_s = 1000 + second * 1.0003
        feed.take(heartbeat(0, server_s=70 + second))
    assert clock.now_s - feed.confirmed_s < 0.1


def test_the_client_continues_the_clock_of_the_store(feed: Feed, clock: Clock) -> None:
    assert feed.now_ms() == 5_000_000_000_000
    feed.take(heartbeat(0, store_s=12))
    clock.now_s += 1.5
    assert feed.now_ms() == 13_500


def test_clients_that_lose_a_server_reconnect_spread_over_a_second(clock: Clock) -> None:
    pauses = []
    for chance in (0.0, 0.5, 1.0):
        feed = Feed(clock=clock, chance=lambda chance=chance: chance)  # type: ignore[misc]
        feed.begin()
        feed.take(heartbeat())
        pauses.append(feed.lost(None))
    assert pauses == [0.1, 0.55, 1.0]


def test_pauses_grow_until_a_stream_works(feed: Feed) -> None:
    assert [round(feed.lost(AWAY), 3) for _ in range(10)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]
    assert [feed.lost(AWAY) for _ in range(2000)][-1] == 10
    feed.begin()
    feed.take(heartbeat())
    assert feed.failures == 0
    assert [feed.lost(AWAY) for _ in range(2)] == [1.0, 2.0]


def test_an_error_that_waiting_cannot_repair_is_tried_again_after_a_long_pause(feed: Feed) -> None:
    assert feed.lost(PermissionDeniedError("no")) == 30


def test_refused_credentials_are_tried_again_by_a_growing_pause(feed: Feed) -> None:
    assert [feed.lost(UnauthenticatedError("no")) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_server_that_says_when_to_come_back_is_left_alone_for_as_long(feed: Feed) -> None:
    limit = ResourceExhaustedError("no", reason="LIMIT_EXCEEDED")
    limit.retry_after_s = 7.0
    assert feed.lost(limit) == 14  # chance may double it
    limit.retry_after_s = 7_000.0
    assert feed.lost(limit) == 120


def test_a_silent_server_is_noticed(feed: Feed, clock: Clock) -> None:
    clock.now_s += 9
    assert not feed.is_silent()
    clock.now_s += 2
    assert feed.is_silent()
    feed.take(heartbeat())
    clock.now_s += 3.9
    assert not feed.is_silent()
    clock.now_s += 0.2
    assert feed.is_silent()


def test_the_first_state_reports_no_change_and_a_later_one_reports_what_was_missed(feed: Feed) -> None:
    assert feed.take(whole("e/5-0", component("a", 5, next_=2), component("b", 1))) == []
    feed.take(heartbeat())
    told = feed.take(whole("e/9-0", component("a", 7), component("c", 1)))
    assert {(each.component, each.revision, len(each.left), len(each.came)) for each in told} == {
        ("a", 7, 1, 0),
        ("b", 1, 1, 0),
        ("c", 1, 0, 1),
    }


def test_a_difference_from_a_snapshot_file_is_reported_as_a_change(feed: Feed, clock: Clock) -> None:
    other = Feed(clock=clock)
    other.take(whole("e/5-0", component("a", 5, next_=2)))
    feed.restore(other.components, "e/5-0", 60)
    assert clock.now_s - feed.confirmed_s == 60
    assert feed.begin().cursor == "e/5-0"
    [told] = feed.take(whole("e/9-0", component("a", 7)))
    assert isinstance(told, Change)
    assert [release.tag for release in told.left] == ["t2"]


def test_a_reader_can_tell_that_nothing_changed_meanwhile(feed: Feed) -> None:
    before = feed.version
    assert before % 2 == 0
    feed.take(whole("e/5-0", component("a", 5)))
    assert feed.version == before + 2
    with pytest.raises(MalformedStateError):
        feed.take(change("e/6-0", v1.ComponentState(component="b")))
    assert feed.version % 2 == 0


def test_changes_of_overrides_arrive_without_the_rest_of_the_component(feed: Feed) -> None:
    feed.take(whole("e/5-0", component("a", 5)))
    overrides = feed.components["a"].overrides
    feed.take(
        change("e/6-0", v1.ComponentState(component="a", revision=6, overrides=[v1.Override(repo="x/y", channel=2)]))
    )
    assert overrides.by_repo["x/y"].channel is Channel.NEXT
    feed.take(change("e/7-0", v1.ComponentState(component="a", revision=6, deleted_overrides=["x/y"])))
    assert not overrides.by_repo
    assert feed.components["a"].snapshot.revision == 6
