"""An answer needs no knowledge of the API: a word of its own comes with what it means."""

import pytest

from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Freeze, Rollout, Unit
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, held, rolling_out, steady


@pytest.mark.parametrize(
    ("rollout", "command", "says"),
    [
        (
            rolling_out(),
            commands.SetPolicy({"unit": Unit.JOB}),
            "The policy is stored. From the next release on, each job has a bucket of its own.",
        ),
        (held(), commands.Ramp(1000), "The rollout goes on as trial 2: outcomes are counted from 0."),
    ],
    ids=["unit", "trial"],
)
def test_a_word_comes_with_what_it_means(rollout: Rollout, command: commands.Command, says: str) -> None:
    assert transition(rollout, command, Context(NOW, "ada")).message.endswith(says)


def test_a_freeze_of_all_is_one_of_everything() -> None:
    with pytest.raises(RefusedError, match=r"^Everything is frozen by bob\. Unfreeze with `all`, or wait"):
        transition(
            steady(), commands.Release("x", expedite=True), Context(NOW, "ada", freeze_all=Freeze("bob", "", NOW))
        )
