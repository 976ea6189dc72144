"""The policy of a component."""

from datetime import timedelta

from rampd import v1
from rampd_server.page.component.settings import settings
from tests.cli.rollouts import ramping


def test_every_setting_has_a_row_in_words() -> None:
    policy = v1.Policy(
        queue_mode=v1.QUEUE_MODE_LATEST,
        steps=ramping().policy.steps,
        auto_start=True,
        alpha=0.01,
        max_percent=95,
        max_failure_rate=0,
        on_regression=v1.ON_REGRESSION_ROLLBACK,
        checks=[v1.Check(name="errors", query="up", max=0.01)],
    )
    policy.maturation.FromTimedelta(timedelta(minutes=90))
    policy.checks[0].interval.FromTimedelta(timedelta(minutes=1))

    found = {each.name: each.values for each in settings(policy, v1.Policy(auto_start=True))}

    assert set(found) == set(v1.Policy.DESCRIPTOR.fields_by_name)
    assert found["queue_mode"] == ("LATEST",)
    assert found["steps"][0] == "10 % for 10 min and 50 jobs"
    assert found["auto_start"] == ("yes",)
    assert (found["alpha"], found["max_percent"], found["max_failure_rate"]) == (("0.01",), ("95",), ("off",))
    assert found["on_regression"] == ("ROLLBACK",)
    assert found["maturation"] == ("1 h 30 min",)
    assert found["checks"] == ("errors: at most 0.01, every 1 min: up",)
    assert found["stuck_after"] == ("off",)


def test_what_was_set_is_told_from_the_defaults() -> None:
    found = settings(v1.Policy(auto_start=True, alpha=0.01), v1.Policy(auto_start=True))

    assert [each.name for each in found if not each.is_default] == ["auto_start"]


def test_a_policy_without_steps_says_so() -> None:
    found = {each.name: each.values for each in settings(v1.Policy(), v1.Policy())}

    assert (found["steps"], found["checks"]) == (("none",), ("none",))
