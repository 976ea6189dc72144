"""A command that a message recommends is not refused."""

import random
from collections.abc import Callable, Iterator

import pytest

from rampd._evidence.counters import TrialCounters
from rampd_server.domain.automation.clock import Clock
from rampd_server.domain.automation.decision import Observed, decide
from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Step
from rampd_server.domain.rollout.model import Absent, Freeze, QueueMode, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.standing import standing
from rampd_server.domain.rollout.transition import transition
from tests.advice import recommended, require_taken
from tests.rollouts import NOW, after

STEPS = 60


def draw(chance: random.Random, now_ms: int) -> commands.Command:
    """Draws from few tags, so that they return as next, current, queued, previous and quarantined."""
    tag, flag = f"t{chance.randrange(5)}", chance.random() < 0.5
    makers: list[Callable[[], commands.Command]] = [
        *[lambda: commands.Release(tag, force=flag)] * 5,
        lambda: commands.Release(tag, expedite=True, force=flag),
        *[lambda: commands.Ramp(chance.choice([0, 1_000, 10_000]), confirm_within_ms=1_000 if flag else None)] * 4,
        lambda: commands.Rollback(quarantine=flag),
        *[lambda: commands.Finalize(force=flag)] * 3,
        lambda: commands.Abandon(quarantine=flag),
        *[lambda: commands.Revert(tag if flag else "", quarantine=chance.random() < 0.5)] * 4,
        lambda: commands.Pause() if flag else commands.Resume(),
        lambda: commands.Freeze(chance.choice([None, now_ms + 9_000])) if flag else commands.Unfreeze(),
        lambda: commands.Quarantine(tag) if flag else commands.Unquarantine(tag),
        lambda: commands.SetPolicy({"queue_mode": chance.choice(list(QueueMode))}),
        lambda: commands.SetPolicy(automation={"steps": (Step(500), Step(5000)) if flag else ()}),
        lambda: commands.CancelRelease(chance.randrange(1, 9)),
        commands.Confirm,
    ]
    return chance.choice(makers)()


def walk(seed: int) -> Iterator[tuple[commands.Command, Rollout, Context, str]]:
    """Yields a rollout after each of its random commands, with the answer."""
    chance = random.Random(seed)
    rollout = after(Absent("restyler"), commands.Release("t0"))
    freeze_all, now_ms = None, NOW
    for _ in range(STEPS):
        now_ms += chance.choice([0, 500, 5_000])
        if chance.random() < 0.05:
            freeze_all = None if freeze_all else Freeze("bob", "", now_ms)
        context = Context(now_ms, "ada", freeze_all=freeze_all)
        command = draw(chance, now_ms)
        try:
            outcome = transition(rollout, command, context)
        except RefusedError as refused:
            yield command, rollout, context, refused.message
            continue
        assert isinstance(outcome.after, Rollout)
        rollout = outcome.after
        yield command, rollout, context, outcome.message


@pytest.mark.parametrize("seed", range(150))
def test_every_recommended_command_is_accepted(seed: int) -> None:
    for _, rollout, context, message in walk(seed):
        require_taken(message, rollout, context)
        for release in rollout.releases.values():
            require_taken(standing(rollout, release, context), rollout, context)
        observed = Observed(rollout, TrialCounters(), Clock(context.now_ms), freeze_all=context.freeze_all)
        require_taken(decide(observed).reason, rollout, context)


def test_every_verb_is_recommended_by_some_message() -> None:
    ways = [way for seed in range(150) for *_, message in walk(seed) for way in recommended(message)]
    named = {type(command).__name__ for way in ways for command in way}
    assert named == {
        *("str", "Unfreeze", "Unquarantine", "Ramp", "Confirm"),
        *("Abandon", "Finalize", "Rollback", "Revert", "Resume"),
    }
    assert any(len(way) > 2 for way in ways)


@pytest.mark.parametrize("seed", range(150))
def test_a_revert_that_is_typed_twice_has_effect_once(seed: int) -> None:
    before = 1
    for command, rollout, context, _ in walk(seed):
        if isinstance(command, commands.Revert) and rollout.revision != before:
            again = transition(rollout, commands.Revert(), context)
            assert not again.changed, again.message
        assert rollout.next_release is None or rollout.next_release.tag != rollout.current_release.tag
        before = rollout.revision
