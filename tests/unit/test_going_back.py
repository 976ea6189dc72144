"""The messages for a person who goes back at night: which version everybody gets, which version nobody gets any more, and
what to type."""

from dataclasses import replace

import pytest

from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Step
from rampd_server.domain.rollout.effect import Effect
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, after, frozen, held, rolling_out, steady

MINUTE_MS = 60_000


def do(rollout: Rollout, command: commands.Command, *, note: str = "", now_ms: int = NOW) -> Effect:
    return transition(rollout, command, Context(now_ms, "ada", note))


def refusal(rollout: Rollout, command: commands.Command) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        do(rollout, command)
    return caught.value


@pytest.mark.parametrize(
    ("rollout", "command", "says"),
    [
        (
            steady(),
            commands.Revert(),
            "Everybody gets O and nobody gets A any more, overrides aside. A is quarantined.",
        ),
        (
            steady(),
            commands.Revert(quarantine=False),
            "Everybody gets O and nobody gets A any more, overrides aside. A is not quarantined.",
        ),
        (
            rolling_out(),
            commands.Revert("O"),
            "Everybody gets O and nobody gets A or B any more, overrides aside. A is quarantined. B is held at 0 %. "
            "Ramp tries it again, Abandon drops it.",
        ),
        (
            held(),
            commands.Revert(),
            "Everybody gets O and nobody gets A any more, overrides aside. A is quarantined. B is held at 0 %. "
            "Ramp tries it again, Abandon drops it.",
        ),
        (
            rolling_out(),
            commands.Rollback(),
            "Everybody gets A and nobody gets B any more, overrides aside. B is held at 0 %. "
            "Ramp tries it again, Abandon drops it.",
        ),
        (
            rolling_out(),
            commands.Rollback(quarantine=True),
            "Everybody gets A and nobody gets B any more, overrides aside. B is held at 0 % and quarantined. "
            "To try it again: Unquarantine B, then Ramp. Abandon drops it.",
        ),
        (
            held(),
            commands.Rollback(),
            "Nothing changed: B was held already (rolled back by ada), and everybody gets A. "
            "Ramp tries it again, Abandon drops it.",
        ),
        (
            rolling_out(),
            commands.Finalize(),
            "Everybody gets B and nobody gets A any more, overrides aside. C is next, at 0 %.",
        ),
        (
            rolling_out(),
            commands.Abandon(),
            "Everybody gets A and nobody gets B any more, overrides aside. B is dropped. C is next, at 0 %.",
        ),
        (
            rolling_out(),
            commands.Release("D", expedite=True),
            "Everybody gets D and nobody gets A or B any more, overrides aside. B is held at 0 %. "
            "Ramp tries it again, Abandon drops it.",
        ),
        (
            rolling_out(),
            commands.Release("B", expedite=True),
            "Everybody gets B and nobody gets A any more, overrides aside. C is next, at 0 %.",
        ),
        (
            rolling_out(),
            commands.Quarantine("B"),
            "B is quarantined. It was next. Everybody gets A and nobody gets B any more, overrides aside.",
        ),
        (
            steady(),
            commands.Quarantine("A"),
            "A is quarantined. It stays current. To leave A for O: Revert.",
        ),
        (
            rolling_out(),
            commands.Revert("A"),
            "A is current already. B is at 10 %: Rollback takes it away.",
        ),
    ],
)
def test_the_message_names_what_everybody_gets_and_what_nobody_gets_any_more(
    rollout: Rollout, command: commands.Command, says: str
) -> None:
    assert do(rollout, command).message == says


def test_a_second_revert_names_the_first_revert_and_says_how_to_go_further_back() -> None:
    reverted = do(steady(), commands.Revert(), note="corrupts files").after
    assert isinstance(reverted, Rollout)
    second = transition(reverted, commands.Revert(), Context(NOW + 2 * MINUTE_MS, "bob"))

    assert (second.changed, second.after) == (False, reverted)
    assert second.message == (
        "Nothing changed. ada reverted restyler from A to O 2 min ago, at 2023-11-14 22:13:20 UTC: corrupts files. "
        "Everybody gets O. Revert with `tag` P goes further back."
    )
    further = transition(reverted, commands.Revert("P"), Context(NOW, "bob")).after
    assert isinstance(further, Rollout)
    assert further.current_release.tag == "P"


def test_a_second_revert_without_an_earlier_version_names_other_ways() -> None:
    at_last = after(steady(), commands.Revert(), commands.Revert("P"))
    assert do(at_last, commands.Revert()).message.endswith(
        "Everybody gets P. To go back to O: Unquarantine O, then Revert with `tag` O. "
        "To hand in another version: Release with `expedite`."
    )


@pytest.mark.parametrize(
    "goes_on", [[commands.Ramp(1), commands.Finalize()], [commands.Release("D", expedite=True)]], ids=str
)
def test_after_another_version_became_current_revert_works_again(goes_on: list[commands.Command]) -> None:
    again = after(held(), commands.Revert(), *goes_on)
    left = again.current_release.tag
    outcome = do(again, commands.Revert())
    assert outcome.changed
    assert outcome.message.startswith(f"Everybody gets O and nobody gets {left} any more")


def test_a_revert_during_a_rollout_points_at_next_before_current() -> None:
    error = refusal(rolling_out(), commands.Revert())
    assert (error.reason, error.metadata) == ("ROLLOUT_IN_PROGRESS", {"tag": "B"})
    assert error.message == (
        "B is at 10 %: it is the newest change, so look there first. Rollback takes it away, and everybody gets A. "
        "To leave A: Revert with `tag` O."
    )


def test_a_revert_to_the_tag_of_next_leaves_no_tag_twice() -> None:
    at_o = after(steady(), commands.Release("O"), commands.Ramp(1000), commands.Release("C"))
    outcome = do(at_o, commands.Revert("O"))
    assert outcome.message == (
        "Everybody gets O and nobody gets A any more, overrides aside. A is quarantined. "
        "Release 4 ends because its tag O is current. C is next, at 0 %."
    )
    assert isinstance(outcome.after, Rollout)
    assert outcome.after.releases[4].state == "SUPERSEDED"


def test_a_revert_goes_to_another_tag() -> None:
    """A, then B, then A again: with B quarantined, the earlier A is not another version."""
    a_again = after(steady(), commands.Release("O"), commands.Finalize(force=True), commands.Quarantine("A"))
    a_again = replace(a_again, previous=a_again.previous[:2])
    error = refusal(a_again, commands.Revert())
    assert error.reason == "NO_PREVIOUS"
    assert error.message == (
        "restyler has no version before O that is not quarantined. "
        "To go back to A: Unquarantine A, then Revert with `tag` A. To hand in another version: Release with `expedite`."
    )


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        (held(), "Ramp tries it again, Abandon drops it."),
        (after(held(), commands.Quarantine("B")), "To try it again: Unquarantine B, then Ramp. Abandon drops it."),
        (frozen(held()), "To try it again: Unfreeze, then Ramp. Abandon drops it."),
        (
            frozen(after(held(), commands.Quarantine("B"))),
            "To try it again: Unfreeze, then Unquarantine B, then Ramp. Abandon drops it.",
        ),
    ],
    ids=["held", "quarantined", "frozen", "frozen and quarantined"],
)
def test_ramp_is_recommended_only_where_it_is_accepted(rollout: Rollout, says: str) -> None:
    reason = "rolled back by ada"
    assert do(rollout, commands.Release("B")).message == f"B is next already, and held ({reason}). {says}"
    assert do(rollout, commands.Rollback()).message.endswith(says)
    assert refusal(rollout, commands.Resume()).message == f"B is held ({reason}). {says}"
    assert refusal(rollout, commands.Confirm()).message == f"B is held ({reason}). It is too late to confirm. {says}"


def test_the_message_names_the_unfreeze_of_the_namespace_first() -> None:
    context = Context(NOW, "ada", freeze_all=Freeze("bob", "", NOW))
    message = transition(held(), commands.Release("B"), context).message
    assert message.endswith("To try it again: Unfreeze with `all`, then Ramp. Abandon drops it.")


@pytest.mark.parametrize(
    ("rollout", "command", "says"),
    [
        (
            held(),
            commands.Release("B", force=True),
            "B is next already, and held (rolled back by ada). Ramp tries it again, Abandon drops it. "
            "The quarantine of B is lifted.",
        ),
        (
            steady(),
            commands.Release("B", force=True),
            "B is next, at 0 %. Ramp raises it. The quarantine of B is lifted.",
        ),
    ],
)
def test_the_message_says_that_force_has_lifted_a_quarantine(
    rollout: Rollout, command: commands.Release, says: str
) -> None:
    outcome = do(after(rollout, commands.Quarantine("B")), command)
    assert (outcome.changed, outcome.message) == (True, says)
    assert "lifted" not in do(rollout, command).message


def test_the_message_for_a_release_behind_a_freeze_says_what_starts_it() -> None:
    assert do(frozen(held()), commands.Release("D")).message == (
        "D waits at position 2: B is held (rolled back by ada). Abandon drops it, and Unfreeze starts the head of the queue."
    )
    assert do(rolling_out(), commands.Release("D")).message == (
        "D waits at position 2: B is being rolled out. Finalize or Abandon ends that."
    )
    assert refusal(frozen(steady()), commands.Ramp(100)).message == (
        "restyler is steady on A: nothing is being rolled out. C waits, and Unfreeze starts it."
    )


PLAN = commands.SetPolicy(automation={"steps": (Step(1000, hold_ms=1000),), "auto_start": True})


def test_the_message_does_not_recommend_ramp_for_a_release_that_a_plan_starts() -> None:
    planned = after(steady(), PLAN)
    assert do(planned, commands.Release("D")).message == "D is next, at 0 %. The plan raises it."
    waiting = after(rolling_out(), PLAN)
    assert do(waiting, commands.Finalize()).message.endswith("C is next, at 0 %. The plan raises it.")


def test_the_message_for_a_plan_of_a_held_release_says_what_ends_the_hold() -> None:
    assert do(held(), PLAN).message == (
        "The policy is stored. B is held, and the plan does not move it. Ramp tries it again, Abandon drops it."
    )


def test_the_message_for_a_policy_that_starts_a_waiting_next_says_so() -> None:
    waiting = after(steady(), commands.Release("B"))
    raises = "The policy is stored. B is next, at 0 %. The plan raises it."

    assert do(waiting, PLAN).message == raises
    assert do(after(waiting, PLAN), commands.SetPolicy(automation={"alpha": 0.5})).message == "The policy is stored."
    for other in (
        steady(),
        frozen(waiting),
        after(waiting, commands.Pause()),
        after(waiting, commands.Ramp(1000)),
        after(waiting, commands.Ramp(1000), commands.Ramp(0)),
    ):
        assert do(other, PLAN).message == "The policy is stored."


def test_the_message_names_the_steps_of_a_plan_that_wait_for_nothing() -> None:
    hasty = commands.SetPolicy(automation={"steps": (Step(1000), Step(5000, hold_ms=1), Step(7500))})
    assert do(steady(), hasty).message == (
        "The policy is stored. The plan waits for nothing at 10 %, 75 %: give a step `hold`, `min_jobs` or `approval`."
    )


def test_a_mistyped_tag_is_never_advised_for_everybody() -> None:
    message = refusal(steady(), commands.Revert("oO")).message
    assert "expedite" not in message
    assert message.endswith("Check the tag: ListReleases shows the releases.")


@pytest.mark.parametrize(
    ("rollout", "command"),
    [
        (held(), commands.Pause()),
        (held(), commands.Resume()),
        (held(), commands.Confirm()),
        (held(), commands.Rollback()),
        (held(), commands.Release("B")),
        (held(), commands.Release("D")),
        (frozen(rolling_out()), commands.Ramp(2000)),
        (after(steady(), commands.Quarantine("D"), note="loses comments."), commands.Release("D")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_reason_in_brackets_does_not_end_the_sentence(rollout: Rollout, command: commands.Command) -> None:
    freeze = rollout.freeze and replace(rollout.freeze, note="holidays.")
    rollout = replace(rollout, freeze=freeze, held_reason=rollout.held_reason and "B fails. Everybody gets A.")

    try:
        message = do(rollout, command).message
    except RefusedError as error:
        message = error.message

    assert ")" in message
    assert ".)" not in message
