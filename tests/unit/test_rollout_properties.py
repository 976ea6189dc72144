"""Random commands in random order, with the properties that must be true after each."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rampd_server.domain.errors import InvalidRequestError, RefusedError
from rampd_server.domain.rollout import commands, model
from rampd_server.domain.rollout.model import (
    Absent,
    Freeze,
    QueueMode,
    ReleaseState,
    Rollout,
    RolloutState,
    Unit,
    numbered,
)
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.rollout.progress import Cause, Driver, Progress
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Event, FeedEntry
from rampd_server.storage.codec.feed_entry import apply
from rampd_server.storage.codec.history import field_changes
from rampd_server.storage.codec.patch import diff
from tests.replay import fields_of, replay
from tests.rollouts import NOW

TAGS = st.sampled_from([f"t{n}" for n in range(8)])
GUARDS = st.one_of(st.just(""), TAGS)
FLAGS = st.booleans()
COMMANDS = st.one_of(
    st.builds(commands.Release, TAGS, st.just({}), st.sampled_from([False, False, False, True]), FLAGS),
    st.builds(commands.CancelRelease, st.integers(1, 30)),
    st.builds(commands.Ramp, st.integers(0, 10_000), GUARDS, st.sampled_from([None, None, 1_000])),
    st.builds(commands.Confirm),
    st.builds(commands.Rollback, GUARDS, FLAGS),
    st.builds(commands.Finalize, GUARDS, FLAGS),
    st.builds(commands.Abandon, GUARDS, FLAGS),
    st.builds(commands.Revert, GUARDS, FLAGS),
    st.builds(commands.Pause),
    st.builds(commands.Resume),
    st.builds(commands.Freeze, st.one_of(st.none(), st.integers(NOW, NOW + 20_000))),
    st.builds(commands.Unfreeze),
    st.builds(commands.Quarantine, TAGS),
    st.builds(commands.Unquarantine, TAGS),
    st.builds(commands.SetPolicy, st.fixed_dictionaries({"queue_mode": st.sampled_from(QueueMode)})),
    st.builds(commands.SetPolicy, st.fixed_dictionaries({"unit": st.sampled_from(Unit)})),
    st.builds(commands.DeleteComponent),
    st.builds(commands.Settle),
    st.builds(
        commands.Decide,
        st.builds(
            Progress,
            st.sampled_from(Driver),
            st.sampled_from([None, NOW]),
            st.integers(NOW, NOW + 9),
            st.sampled_from([None, *Cause]),
            st.frozensets(st.sampled_from(Cause), max_size=2),
        ),
        st.one_of(
            st.none(),
            st.builds(commands.Ramp, st.integers(0, 9_999)),
            st.builds(commands.Rollback),
            st.builds(commands.Pause),
            st.builds(commands.Finalize),
            st.builds(commands.Abandon, st.just(""), FLAGS),
        ),
    ),
)
ENDED = {state for state in ReleaseState if state.is_ended}


class RolloutMachine(RuleBasedStateMachine):
    """One component under random commands."""

    @initialize()
    def begin(self) -> None:
        self.now_ms = NOW
        self.freeze_all: Freeze | None = None
        self.before: Rollout | Absent = Absent("restyler")
        self.rollout: Rollout | Absent = self.before
        self.history: list[Event] = []

    @property
    def context(self) -> Context:
        return Context(self.now_ms, "ada", freeze_all=self.freeze_all)

    @rule(command=COMMANDS)
    def command(self, command: commands.Command) -> None:
        self.before = self.rollout
        try:
            outcome = transition(self.before, command, self.context)
        except (RefusedError, InvalidRequestError):
            return
        self.rollout = numbered(outcome.after, outcome.after.revision, "1-0") if outcome.changed else outcome.after
        assert outcome.after.revision == self.before.revision + outcome.changed
        assert outcome.changed or outcome.after is self.before
        assert outcome.message
        if outcome.changed:
            self.every_server_gets_the_state_from_the_patch(self.before, self.rollout)
        if isinstance(self.before, Rollout) and isinstance(self.rollout, Rollout):
            self.queue_keeps_its_order(self.before, self.rollout, command)
            self.a_freeze_lets_nothing_rise(self.before, self.rollout)

    @rule(passed_ms=st.integers(1, 10_000))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule(is_frozen=FLAGS)
    @precondition(lambda self: isinstance(self.rollout, Rollout))
    def freeze_all_changes(self, is_frozen: bool) -> None:
        self.freeze_all = Freeze("ada", "", self.now_ms) if is_frozen else None

    def every_server_gets_the_state_from_the_patch(self, before: Rollout | Absent, after: Rollout | Absent) -> None:
        difference = diff(before, after)
        patch = difference.patch()
        entry = FeedEntry(
            "1-0",
            "0-0",
            "restyler",
            after.revision,
            patch.to_json(),
            is_deletion=patch.is_deletion,
            base_entry=before.entry,
        )
        assert apply(before, entry, feed_key="feed") == after
        changes = field_changes(difference)
        self.history.append(Event("1-0", after.revision, 0, "ada", True, "", "", "", changes))

    @invariant()
    def the_history_replays_to_the_state(self) -> None:
        assert replay(self.history) == fields_of(self.rollout)

    @staticmethod
    def queue_keeps_its_order(before: Rollout, after: Rollout, command: commands.Command) -> None:
        stayed = [number for number in before.queue if number in after.queue]
        assert list(after.queue[: len(stayed)]) == stayed
        came = after.queue[len(stayed) :]
        assert len(came) <= isinstance(command, commands.Release)

    def a_freeze_lets_nothing_rise(self, before: Rollout, after: Rollout) -> None:
        if isinstance(after, Rollout) and freezes(before, self.context) and freezes(after, self.context):
            assert after.next in {before.next, None}
            if after.next:
                assert after.basis_points <= before.basis_points

    @invariant()
    def holds(self) -> None:
        rollout = self.rollout
        if isinstance(rollout, Absent):
            return
        by_state: dict[ReleaseState, list[int]] = {state: [] for state in ReleaseState}
        for number, release in rollout.releases.items():
            assert release.number == number <= rollout.last_number
            by_state[release.state].append(number)
            assert bool(release.end_reason) == (release.state in ENDED)
        assert by_state[ReleaseState.CURRENT] == [rollout.current]
        assert by_state[ReleaseState.NEXT] == ([rollout.next] if rollout.next else [])
        assert sorted(by_state[ReleaseState.QUEUED]) == sorted(rollout.queue)
        assert set(rollout.previous) <= set(by_state[ReleaseState.RETIRED])
        assert len(set(rollout.queue)) == len(rollout.queue) <= model.MAX_QUEUE
        assert len(set(rollout.previous)) == len(rollout.previous) <= model.MAX_PREVIOUS
        assert 0 <= rollout.basis_points <= model.FULL
        if rollout.state is not RolloutState.ROLLING_OUT:
            assert rollout.basis_points == 0
            assert rollout.confirm_deadline_ms is None
        if rollout.state is RolloutState.STEADY:
            assert (rollout.trial, rollout.held_reason, rollout.paused) == (0, "", False)
            assert rollout.progress == Progress()
        else:
            assert rollout.trial >= 1
        live_tags = [rollout.releases[n].tag for n in rollout.queue]
        assert len(set(live_tags)) == len(live_tags)
        assert not any(tag in rollout.quarantine for tag in live_tags)
        latest = rollout.timeline[-1]
        assert (latest.release, latest.basis_points, latest.trial, latest.unit) == (
            rollout.next or 0,
            rollout.basis_points,
            rollout.trial,
            rollout.unit,
        )
        assert latest.revision <= rollout.revision
        assert len(rollout.timeline) <= model.MAX_TIMELINE
        revisions = [assignment.revision for assignment in rollout.timeline]
        assert revisions == sorted(set(revisions))

    @invariant()
    def next_has_another_tag_than_current(self) -> None:
        if isinstance(self.rollout, Rollout) and self.rollout.next_release:
            assert self.rollout.next_release.tag != self.rollout.current_release.tag

    @invariant()
    def a_queue_in_steady_exists_only_frozen(self) -> None:
        if isinstance(self.rollout, Rollout) and self.rollout.queue and self.rollout.next is None:
            settled = transition(self.rollout, commands.Settle(), self.context).after
            assert isinstance(settled, Rollout)
            assert settled.next is not None or not settled.queue or freezes(settled, self.context)


TestRandomCommands = RolloutMachine.TestCase
TestRandomCommands.settings = settings(max_examples=150, stateful_step_count=60)
