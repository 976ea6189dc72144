"""Resolving follows the order and the rules of the public contract."""

import gc
import math
import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._decision.bucketing import bucket
from rampd._decision.resolution import (
    Channel,
    Choice,
    ComponentSnapshot,
    Decision,
    Overrides,
    Resolution,
    ResolveReason,
    RolloutState,
    SnapshotRelease,
    Unit,
    resolve,
)

CURRENT = SnapshotRelease(3, "20200301", {"memory": "1g"})
NEXT = SnapshotRelease(4, "20200409", {"memory": "2g"})
QUEUED = SnapshotRelease(5, "20200415", {"memory": "3g"})
PREVIOUS = SnapshotRelease(2, "20200101", {"memory": "4g"})

STEADY = ComponentSnapshot(
    component="restyler", revision=7, state=RolloutState.STEADY, current=CURRENT, previous=(PREVIOUS,)
)
ROLLING_OUT = replace(STEADY, state=RolloutState.ROLLING_OUT, next=NEXT, basis_points=1000, queued=(QUEUED,))
HELD = replace(ROLLING_OUT, state=RolloutState.HELD, basis_points=0)

# Release 4 of restyler at 10 %: the first repo is below, the second above.
EARLY, LATE = "acme/app-25", "acme/app-0"
TO_NEXT, TO_CURRENT = Choice(Channel.NEXT), Choice(Channel.CURRENT)
NOW = 1_700_000_000_000


def no_clock() -> int:
    raise AssertionError("the clock was asked")


def pinned(choices: dict[str, Choice]) -> Overrides:
    overrides = Overrides()
    for repo, choice in choices.items():
        overrides.set(repo, choice)
    return overrides


def answer(
    snapshot: ComponentSnapshot,
    repo: str = LATE,
    choices: dict[str, Choice] | None = None,
    *,
    now_ms: Callable[[], int] = no_clock,
    age_s: float = 0.0,
) -> tuple[str, Channel | None, ResolveReason, int]:
    found = resolve(snapshot, pinned(choices or {}), repo, "", now_ms, age_s=age_s)
    return found.tag, found.channel, found.reason, found.release


CURRENT_BY = {reason: (CURRENT.tag, Channel.CURRENT, reason, CURRENT.number) for reason in ResolveReason}
NEXT_BY = {reason: (NEXT.tag, Channel.NEXT, reason, NEXT.number) for reason in ResolveReason}


class TestWeights:
    def test_everybody_gets_current_if_there_is_no_next(self) -> None:
        assert answer(STEADY, EARLY) == answer(STEADY, LATE) == CURRENT_BY[ResolveReason.STEADY]

    def test_a_repo_gets_next_if_its_bucket_is_below_the_weight(self) -> None:
        assert answer(ROLLING_OUT, EARLY) == NEXT_BY[ResolveReason.WEIGHT]
        assert answer(ROLLING_OUT, LATE) == CURRENT_BY[ResolveReason.WEIGHT]

    def test_a_bucket_that_equals_the_weight_is_not_below_it(self) -> None:
        drawn = bucket("restyler", NEXT.number, LATE)
        assert answer(replace(ROLLING_OUT, basis_points=drawn)) == CURRENT_BY[ResolveReason.WEIGHT]
        assert answer(replace(ROLLING_OUT, basis_points=drawn + 1)) == NEXT_BY[ResolveReason.WEIGHT]

    def test_held_gives_everybody_current_by_weight(self) -> None:
        assert answer(HELD, EARLY) == CURRENT_BY[ResolveReason.WEIGHT]

    def test_the_answer_has_the_bucket_if_there_is_a_next(self) -> None:
        drawn = bucket("restyler", NEXT.number, LATE)
        for choices in ({}, {LATE: TO_CURRENT}, {LATE: Choice(tag="any")}):
            overrides = pinned(choices)
            assert resolve(ROLLING_OUT, overrides, LATE, "", no_clock).bucket == drawn
            assert resolve(HELD, overrides, LATE, "", no_clock).bucket == drawn
            assert resolve(STEADY, overrides, LATE, "", no_clock).bucket is None
        assert resolve(ROLLING_OUT, Overrides(), LATE, "", no_clock, age_s=1e9).bucket == drawn

    def test_the_unit_is_the_job_only_if_the_rollout_says_so_and_the_job_has_an_id(self) -> None:
        by_job = replace(ROLLING_OUT, unit=Unit.JOB)
        drawn = {
            (snapshot.unit, job_id): resolve(snapshot, Overrides(), LATE, job_id, no_clock).bucket
            for snapshot in (ROLLING_OUT, by_job)
            for job_id in ("", "42")
        }
        of_repo, of_job = bucket("restyler", NEXT.number, LATE), bucket("restyler", NEXT.number, "42")
        assert drawn == {
            (Unit.REPO, ""): of_repo,
            (Unit.REPO, "42"): of_repo,
            (Unit.JOB, ""): of_repo,
            (Unit.JOB, "42"): of_job,
        }


class TestOverrides:
    def test_next_is_given_while_rolling_out_at_0_percent_too(self) -> None:
        choices = {LATE: TO_NEXT}
        assert answer(ROLLING_OUT, choices=choices) == NEXT_BY[ResolveReason.OVERRIDE_CHANNEL]
        assert answer(replace(ROLLING_OUT, basis_points=0), choices=choices) == NEXT_BY[ResolveReason.OVERRIDE_CHANNEL]

    @pytest.mark.parametrize("snapshot", [STEADY, HELD], ids=["STEADY", "HELD"])
    def test_next_is_current_in_every_other_state(self, snapshot: ComponentSnapshot) -> None:
        assert answer(snapshot, choices={LATE: TO_NEXT}) == CURRENT_BY[ResolveReason.OVERRIDE_CHANNEL]

    @pytest.mark.parametrize("snapshot", [STEADY, ROLLING_OUT, HELD], ids=["STEADY", "ROLLING_OUT", "HELD"])
    def test_current_is_current_in_every_state(self, snapshot: ComponentSnapshot) -> None:
        assert answer(snapshot, EARLY, {EARLY: TO_CURRENT}) == CURRENT_BY[ResolveReason.OVERRIDE_CHANNEL]

    @pytest.mark.parametrize("release", [CURRENT, NEXT, QUEUED, PREVIOUS], ids=lambda release: release.tag)
    def test_the_tag_of_a_known_release_has_its_number_and_attributes(self, release: SnapshotRelease) -> None:
        found = resolve(ROLLING_OUT, pinned({LATE: Choice(tag=release.tag)}), LATE, "", no_clock)
        assert (found.tag, found.channel, found.reason) == (release.tag, None, ResolveReason.OVERRIDE_TAG)
        assert (found.release, found.attributes) == (release.number, release.attributes)

    @pytest.mark.parametrize("tag", ["pb/secret-branch", "NEXT", "CURRENT"])
    def test_an_undeclared_tag_is_given_without_release_and_attributes(self, tag: str) -> None:
        found = resolve(ROLLING_OUT, pinned({LATE: Choice(tag=tag)}), LATE, "", no_clock)
        assert (found.tag, found.channel, found.reason) == (tag, None, ResolveReason.OVERRIDE_TAG)
        assert (found.release, found.attributes) == (0, {})

    def test_current_comes_before_next_before_queued_before_previous_for_a_repeated_tag(self) -> None:
        same = [SnapshotRelease(number, "same") for number in range(1, 7)]
        snapshot = replace(
            ROLLING_OUT, current=same[0], next=same[1], queued=(same[2], same[3]), previous=(same[4], same[5])
        )
        numbers = []
        for without in (
            {},
            {"current": CURRENT},
            {"next": NEXT},
            {"queued": (same[3],)},
            {"queued": ()},
            {"previous": (same[5],)},
        ):
            snapshot = replace(snapshot, **without)
            numbers.append(resolve(snapshot, pinned({LATE: Choice(tag="same")}), LATE, "", no_clock).release)
        assert numbers == [1, 2, 3, 4, 5, 6]

    def test_an_exact_override_comes_before_every_prefix(self) -> None:
        choices = {"acme/*": TO_NEXT, LATE: TO_CURRENT}
        assert answer(ROLLING_OUT, LATE, choices) == CURRENT_BY[ResolveReason.OVERRIDE_CHANNEL]
        assert answer(ROLLING_OUT, "acme/other", choices) == NEXT_BY[ResolveReason.OVERRIDE_CHANNEL]

    @pytest.mark.parametrize("repo", ["acme", "acmeX/app", "ACME/app", "x/acme/app", "*"])
    def test_an_owner_is_exactly_the_text_before_the_first_slash(self, repo: str) -> None:
        assert answer(STEADY, repo, {"acme/*": TO_NEXT}) == CURRENT_BY[ResolveReason.STEADY]
        assert answer(STEADY, "acme/a/b", {"acme/*": TO_NEXT}) == CURRENT_BY[ResolveReason.OVERRIDE_CHANNEL]

    @pytest.mark.parametrize(
        ("repo", "tag"),
        [
            ("group/app", "1"),
            ("group/sub/app", "2"),
            ("group/sub/team/app", "3"),
            ("group/sub/team/a/b/c", "3"),
            ("group/sub/team", "2"),
            ("group/sub", "1"),
            ("group/subX/app", "1"),
            ("group/Sub/app", "1"),
            ("group/sub/", "2"),
            ("https://example.org/group/app", "4"),
            ("group", CURRENT.tag),
            ("other/group/sub/app", CURRENT.tag),
        ],
    )
    def test_the_longest_prefix_of_whole_segments_wins(self, repo: str, tag: str) -> None:
        prefixes = ["group/*", "group/sub/*", "group/sub/team/*", "https://example.org/group/*"]
        choices = {prefix: Choice(tag=str(number)) for number, prefix in enumerate(prefixes, start=1)}
        for order in (choices, dict(reversed(choices.items()))):
            assert answer(STEADY, repo, order)[0] == tag

    def test_the_next_shorter_prefix_applies_after_the_end_of_a_prefix(self) -> None:
        choices = {
            "group/sub/team/*": Choice(tag="3", expire_ms=NOW),
            "group/sub/*": Choice(tag="2", expire_ms=NOW + 1),
            "group/*": Choice(tag="1"),
        }
        tags = [
            answer(STEADY, "group/sub/team/app", choices, now_ms=lambda at=at: at)[0] for at in range(NOW - 1, NOW + 2)
        ]  # type: ignore[misc]
        assert tags == ["3", "2", "1"]

    @pytest.mark.parametrize("key", ["*", "a*", "*/app", "acme/*/app", "acme/a*", "acme/**", "acme*/*", "//*"])
    def test_a_stored_star_at_another_place_is_literal_and_can_be_deleted(self, key: str) -> None:
        overrides = pinned({key: Choice(tag="t")})
        for repo in ("acme/app", "acme/x/app", "app", "acme/ab"):
            assert resolve(STEADY, overrides, repo, "", no_clock).tag == CURRENT.tag
        assert dict(overrides.items()) == {key: Choice(tag="t")}
        overrides.delete(key)
        assert not len(overrides)

    def test_an_override_ends_at_its_time(self) -> None:
        choices = {LATE: replace(TO_NEXT, expire_ms=NOW)}
        assert answer(ROLLING_OUT, LATE, choices, now_ms=lambda: NOW - 1) == NEXT_BY[ResolveReason.OVERRIDE_CHANNEL]
        assert answer(ROLLING_OUT, LATE, choices, now_ms=lambda: NOW) == CURRENT_BY[ResolveReason.WEIGHT]

    def test_a_prefix_applies_again_after_the_end_of_the_exact_override(self) -> None:
        choices = {LATE: replace(TO_CURRENT, expire_ms=NOW), "acme/*": replace(TO_NEXT, expire_ms=NOW + 1)}
        assert answer(ROLLING_OUT, LATE, choices, now_ms=lambda: NOW) == NEXT_BY[ResolveReason.OVERRIDE_CHANNEL]
        assert answer(ROLLING_OUT, LATE, choices, now_ms=lambda: NOW + 1) == CURRENT_BY[ResolveReason.WEIGHT]

    def test_the_clock_is_asked_only_for_an_override_that_may_have_expired(self) -> None:
        choices = {EARLY: replace(TO_CURRENT, expire_ms=NOW), LATE: TO_NEXT}
        assert answer(ROLLING_OUT, LATE, choices, now_ms=no_clock) == NEXT_BY[ResolveReason.OVERRIDE_CHANNEL]
        with pytest.raises(AssertionError, match="the clock was asked"):
            answer(ROLLING_OUT, EARLY, choices, now_ms=no_clock)

    def test_a_deleted_override_is_gone_and_deleting_it_again_is_not_an_error(self) -> None:
        overrides = pinned({LATE: TO_NEXT, "acme/*": TO_NEXT, EARLY: TO_CURRENT})
        for repo in (LATE, "acme/*", LATE, "acme/*", "never/there", "never/*"):
            overrides.delete(repo)
        assert list(overrides.items()) == [(EARLY, TO_CURRENT)]
        assert len(overrides) == 1
        assert resolve(ROLLING_OUT, overrides, LATE, "", no_clock).reason is ResolveReason.WEIGHT

    def test_what_is_set_is_found_as_it_was_written(self) -> None:
        ended = Choice(tag="t", expire_ms=NOW)
        overrides = pinned({LATE: TO_NEXT, "acme/*": ended})
        found = [overrides.get(repo) for repo in (LATE, "acme/*", "acme", EARLY, "never/*")]
        assert found == [TO_NEXT, ended, None, None, None]

    def test_overrides_are_listed_as_they_were_set(self) -> None:
        choices = {LATE: TO_NEXT, "acme/*": Choice(tag="t"), EARLY: Choice(tag="t", expire_ms=NOW)}
        assert dict(pinned(choices).items()) == choices
        assert len(pinned(choices)) == 3

    def test_an_override_that_disappears_during_a_lookup_does_no_harm(self) -> None:
        class Vanishing(dict[str, Choice]):
            def __contains__(self, repo: object) -> bool:
                return self.pop(repo, None) is not None

        overrides = pinned({LATE: TO_NEXT})
        overrides.by_repo = Vanishing(overrides.by_repo)
        assert resolve(ROLLING_OUT, overrides, LATE, "", no_clock).reason is ResolveReason.WEIGHT

    @pytest.mark.parametrize("fields", [{}, {"channel": Channel.NEXT, "tag": "t"}])
    def test_a_choice_has_either_a_channel_or_a_tag(self, fields: dict) -> None:
        with pytest.raises(ValueError, match="either"):
            Choice(**fields)


class TestStale:
    @pytest.mark.parametrize(("age_s", "is_trusted"), [(0.0, True), (300.0, True), (300.1, False), (math.inf, False)])
    def test_a_job_of_next_gets_current_from_a_snapshot_that_is_too_old(self, age_s: float, is_trusted: bool) -> None:
        by_weight = NEXT_BY[ResolveReason.WEIGHT] if is_trusted else CURRENT_BY[ResolveReason.STALE]
        by_override = NEXT_BY[ResolveReason.OVERRIDE_CHANNEL] if is_trusted else CURRENT_BY[ResolveReason.STALE]
        assert answer(ROLLING_OUT, EARLY, age_s=age_s) == by_weight
        assert answer(ROLLING_OUT, LATE, {LATE: TO_NEXT}, age_s=age_s) == by_override

    def test_the_caller_chooses_which_age_is_too_old(self) -> None:
        found = resolve(ROLLING_OUT, Overrides(), EARLY, "", no_clock, age_s=2.0, next_max_stale_s=1.0)
        assert found.reason is ResolveReason.STALE

    def test_an_old_snapshot_changes_no_other_answers(self) -> None:
        for snapshot, choices in (
            (STEADY, {}),
            (HELD, {LATE: TO_NEXT}),
            (ROLLING_OUT, {}),
            (ROLLING_OUT, {LATE: TO_CURRENT}),
            (ROLLING_OUT, {LATE: Choice(tag=NEXT.tag)}),
        ):
            assert answer(snapshot, LATE, choices, age_s=1e9) == answer(snapshot, LATE, choices)

    @pytest.mark.parametrize(
        ("age_s", "is_stale"), [(0.0, False), (4.999, False), (5.0, True), (1e300, True), (math.inf, True)]
    )
    def test_an_answer_says_how_old_it_is(self, age_s: float, is_stale: bool) -> None:
        found = resolve(STEADY, Overrides(), LATE, "", no_clock, age_s=age_s)
        assert (found.stale, found.snapshot_age_s) == (is_stale, age_s)
        assert found.snapshot_age == (timedelta.max if age_s > 1e14 else timedelta(seconds=age_s))


class TestSnapshot:
    @pytest.mark.parametrize(
        "contradiction",
        [
            {"state": RolloutState.STEADY, "basis_points": 0},
            {"next": None, "basis_points": 0},
            {"state": RolloutState.HELD},
            {"basis_points": -1},
            {"basis_points": 10_001},
        ],
        ids=str,
    )
    def test_fields_that_contradict_each_other_are_refused(self, contradiction: dict) -> None:
        with pytest.raises(ValueError, match="restyler is"):
            replace(ROLLING_OUT, **contradiction)

    def test_a_snapshot_at_another_revision_gives_the_same_answers_with_that_revision(self) -> None:
        later = ROLLING_OUT.at_revision(8)
        assert (ROLLING_OUT.revision, later.revision) == (7, 8)
        assert later == replace(ROLLING_OUT, revision=8)
        before, after = (resolve(snapshot, Overrides(), LATE, "", no_clock) for snapshot in (ROLLING_OUT, later))
        assert (before.revision, after.revision) == (7, 8)
        assert before.decision is after.decision

    def test_a_changed_snapshot_decides_again(self) -> None:
        assert answer(replace(ROLLING_OUT.at_revision(8), basis_points=0), EARLY) == CURRENT_BY[ResolveReason.WEIGHT]


class TestResolution:
    def test_a_resolution_can_be_made_from_an_answer_of_a_server(self) -> None:
        decision = Decision("20200409", Channel.NEXT, ResolveReason.WEIGHT, 4, {"memory": "2g"})
        found = Resolution(decision, revision=7, bucket=12, snapshot_age_s=0.25)
        local = resolve(ROLLING_OUT, Overrides(), EARLY, "", no_clock, age_s=0.25)
        names = ("tag", "channel", "reason", "release", "attributes", "revision", "stale", "snapshot_age")
        assert [getattr(found, name) for name in names] == [getattr(local, name) for name in names]

    def test_a_resolution_cannot_be_changed(self) -> None:
        found = resolve(ROLLING_OUT, Overrides(), EARLY, "", no_clock)
        with pytest.raises(AttributeError):
            found.tag = "other"
        with pytest.raises(TypeError):
            found.attributes["memory"] = "64g"
        with pytest.raises(AttributeError):
            found.other = 1

    def test_a_resolution_can_be_sent_to_another_process(self) -> None:
        found = resolve(ROLLING_OUT, Overrides(), EARLY, "", no_clock, age_s=1.0)
        assert repr(pickle.loads(pickle.dumps(found))) == repr(found)

    def test_a_resolution_shows_its_fields(self) -> None:
        found = resolve(ROLLING_OUT, Overrides(), EARLY, "", no_clock, age_s=7.5)
        assert repr(found) == (
            "Resolution(tag='20200409', channel=NEXT, reason=WEIGHT, release=4, "
            f"bucket={found.bucket}, revision=7, stale=True, snapshot_age_s=7.500)"
        )
        by_tag = resolve(STEADY, pinned({LATE: Choice(tag="t")}), LATE, "", no_clock)
        assert repr(by_tag).startswith("Resolution(tag='t', channel=None, reason=OVERRIDE_TAG, release=0, bucket=None,")


@pytest.mark.parametrize("text", ["", "\0", "a\udc80/b", "\ud83d", "/", "//", "/*", "*", "acme/*", "x" * 1_000_000])
def test_any_text_resolves(text: str) -> None:
    overrides = pinned({"acme/*": TO_NEXT})
    for snapshot in (STEADY, ROLLING_OUT, HELD, replace(ROLLING_OUT, unit=Unit.JOB)):
        assert resolve(snapshot, overrides, text, text, no_clock).tag in {CURRENT.tag, NEXT.tag}


def literally(
    snapshot: ComponentSnapshot,
    choices: dict[str, Choice],
    repo: str,
    job_id: str,
    *,
    now: int,
    age_s: float,
    next_max_stale_s: float,
) -> tuple[str, Channel | None, ResolveReason, int, dict[str, str], int | None]:
    """Applies the rules of the contract literally, one sentence after the other."""
    in_force = {key: choice for key, choice in choices.items() if choice.expire_ms is None or choice.expire_ms > now}
    override = in_force.get(repo)
    segments = repo.split("/")
    for length in range(len(segments) - 1, 0, -1):
        if override is None:
            override = in_force.get("/".join(segments[:length]) + "/*")

    drawn = None
    if snapshot.next is not None:
        unit = job_id if snapshot.unit == "JOB" and job_id != "" else repo
        drawn = bucket(snapshot.component, snapshot.next.number, unit)

    if override is not None and override.tag:
        found = None
        for release in [snapshot.current, snapshot.next, *snapshot.queued, *snapshot.previous]:
            if found is None and release is not None and release.tag == override.tag:
                found = release
        number, attributes = (found.number, dict(found.attributes)) if found else (0, {})
        return override.tag, None, ResolveReason.OVERRIDE_TAG, number, attributes, drawn

    if override is not None:
        gives_next = override.channel == "NEXT" and snapshot.state == "ROLLING_OUT"
        reason = ResolveReason.OVERRIDE_CHANNEL
    elif snapshot.state == "STEADY":
        gives_next, reason = False, ResolveReason.STEADY
    else:
        gives_next, reason = drawn < snapshot.basis_points, ResolveReason.WEIGHT
    if gives_next and age_s > next_max_stale_s:
        gives_next, reason = False, ResolveReason.STALE
    release = snapshot.next if gives_next else snapshot.current
    channel = Channel.NEXT if gives_next else Channel.CURRENT
    return release.tag, channel, reason, release.number, dict(release.attributes), drawn


# Few names, so that they collide.
TAGS = st.sampled_from(["1", "2", "3", "NEXT"])
REPOS = st.sampled_from(["a/x", "a/y", "b/x", "a", "a/x/z", "a/x/z/y", "", "/", "a/*"])
PATTERNS = st.one_of(REPOS, st.sampled_from(["a/*", "b/*", "/*", "a/x/*", "a/x/z/*", "*", "a/*/z"]))
RELEASES = st.builds(
    SnapshotRelease, st.integers(1, 2**40), TAGS, st.dictionaries(st.sampled_from("kl"), TAGS, max_size=2)
)
CHOICES = st.builds(
    lambda target, expire_ms: Choice(expire_ms=expire_ms, **target),
    st.one_of(st.builds(dict, channel=st.sampled_from(Channel)), st.builds(dict, tag=TAGS)),
    st.none() | st.integers(0, 3),
)


@st.composite
def snapshots(draw: st.DrawFn) -> ComponentSnapshot:
    state = draw(st.sampled_from(RolloutState))
    return ComponentSnapshot(
        component=draw(st.sampled_from(["restyler", "builder"])),
        revision=draw(st.integers(1, 100)),
        state=state,
        current=draw(RELEASES),
        next=None if state is RolloutState.STEADY else draw(RELEASES),
        basis_points=draw(st.integers(0, 10_000)) if state is RolloutState.ROLLING_OUT else 0,
        unit=draw(st.sampled_from(Unit)),
        queued=tuple(draw(st.lists(RELEASES, max_size=3))),
        previous=tuple(draw(st.lists(RELEASES, max_size=3))),
    )


@given(
    snapshots(),
    st.dictionaries(PATTERNS, CHOICES, max_size=6),
    st.tuples(REPOS | st.text(), st.sampled_from(["", "42", "43"])),
    st.integers(0, 3),
    st.sampled_from([0.0, 10.0, 10.1, 1e9]),
)
def test_every_answer_equals_the_literal_rules_of_the_contract(
    snapshot: ComponentSnapshot, choices: dict[str, Choice], job: tuple[str, str], now: int, age_s: float
) -> None:
    found = resolve(snapshot, pinned(choices), *job, lambda: now, age_s=age_s, next_max_stale_s=10.0)
    assert (found.tag, found.channel, found.reason, found.release, found.attributes, found.bucket) == literally(
        snapshot, choices, *job, now=now, age_s=age_s, next_max_stale_s=10.0
    )
    assert (found.revision, found.snapshot_age_s) == (snapshot.revision, age_s)


@given(snapshots(), st.text(), st.text(max_size=3), st.integers(0, 10_000), st.integers(0, 10_000))
def test_raising_the_weight_never_moves_a_repo_back_to_current(
    snapshot: ComponentSnapshot, repo: str, job_id: str, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    rolling_out = replace(snapshot, state=RolloutState.ROLLING_OUT, next=NEXT)
    before, after = (
        resolve(replace(rolling_out, basis_points=basis_points), Overrides(), repo, job_id, no_clock).channel
        for basis_points in (low, high)
    )
    assert (before, after) != (Channel.NEXT, Channel.CURRENT)


class TestMemory:
    NUMBER = 100_000

    def measure(self, choice: Callable[[int], Choice]) -> float:
        """Bytes for one override, its repo's name included. The choices are new objects each time, as when they come from messages."""
        gc.collect()
        tracemalloc.start()
        overrides = Overrides()
        for number in range(self.NUMBER):
            overrides.set(f"owner-{number:06}/a-repository-{number:06}", choice(number))
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(overrides) == self.NUMBER
        return size / self.NUMBER

    def test_a_million_overrides_of_a_few_kinds_stay_far_below_250_mb(self) -> None:
        tags = [Choice(tag=f"pb/secret-branch-{number}") for number in range(10)]
        assert self.measure(lambda number: Choice(tag="".join(tags[number % 10].tag))) < 200

    def test_a_million_overrides_with_their_own_expiry_stay_below_250_mb(self) -> None:
        tag = "pb/secret-branch"
        assert self.measure(lambda number: Choice(tag="".join(tag), expire_ms=NOW + number)) < 250

    def test_an_unused_choice_is_freed(self) -> None:
        overrides = Overrides()
        for number in range(1000):
            overrides.set("acme/app", Choice(tag=f"branch-{number}"))
        gc.collect()
        assert len(overrides._shared) == 1
