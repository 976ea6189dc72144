"""SetPolicy and GetPolicy over a real channel: every field comes back, and a policy with a wrong field is not stored at all."""

from collections.abc import Mapping

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rampd import v1
from tests.servers import Stubs

C = "restyler"
PLAN = v1.Policy(
    queue_mode=v1.QUEUE_MODE_LATEST,
    unit=v1.UNIT_JOB,
    steps=[
        v1.Step(percent=5, hold=Duration(seconds=600), min_jobs=20),
        v1.Step(percent=25.25, hold=Duration(seconds=600), approval=True),
        v1.Step(percent=90, hold=Duration()),
    ],
    max_percent=90,
    auto_start=True,
    auto_finalize=True,
    on_regression=v1.ON_REGRESSION_PAUSE,
    after_rollback=v1.AFTER_ROLLBACK_CONTINUE,
    alpha=0.02,
    tolerance=1.25,
    maturation=Duration(seconds=30),
    max_failure_rate=0.1,
    on_max_failure_rate=v1.ON_REGRESSION_ROLLBACK,
    checks=[
        v1.Check(
            name="errors",
            query='sum(rate(errors{component="{{component}}",tag=~"{{tag}}|canary"}[5m]))',
            interval=Duration(seconds=15),
            min=0,
            max=0.5,
            failures_allowed=2,
            errors_allowed=7,
        )
    ],
    confirm_within=Duration(seconds=90),
    stuck_after=Duration(seconds=7200),
)
DEFAULTS = v1.Policy(
    queue_mode=v1.QUEUE_MODE_FIFO,
    unit=v1.UNIT_REPO,
    max_percent=95,
    auto_start=False,
    auto_finalize=False,
    on_regression=v1.ON_REGRESSION_ROLLBACK,
    after_rollback=v1.AFTER_ROLLBACK_HOLD,
    alpha=0.01,
    tolerance=1,
    maturation=Duration(),
    max_failure_rate=0,
    on_max_failure_rate=v1.ON_REGRESSION_PAUSE,
)
FIELDS = [field.name for field in v1.Policy.DESCRIPTOR.fields]


@pytest.fixture(autouse=True)
def component(call: Stubs) -> None:
    call("Release", component=C, tag="t1")


def policy_of(call: Stubs) -> v1.Policy:
    return call("GetPolicy", component=C).policy


def wrong(call: Stubs, policy: v1.Policy, **fields: object) -> Mapping[str, str]:
    """Sets a wrong policy. Returns the descriptions of its wrong fields, and checks that nothing is stored."""
    before = call("GetRollout", component=C).rollout
    with pytest.raises(grpc.RpcError) as caught:
        call("SetPolicy", component=C, policy=policy, **fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert call("GetRollout", component=C).rollout == before
    request = error_details_pb2.BadRequest()
    assert any(detail.Unpack(request) for detail in rpc_status.from_call(caught.value).details)
    return {violation.field: violation.description for violation in request.field_violations}


def test_a_new_component_has_the_defaults(call: Stubs) -> None:
    assert policy_of(call) == DEFAULTS


def test_a_rollout_shows_the_fields_of_its_policy_that_are_not_defaults(call: Stubs) -> None:
    """Given a policy with a few fields, expect only these fields in every answer, and all fields in GetPolicy."""
    little = v1.Policy(
        auto_start=True,
        steps=[v1.Step(percent=5, hold=Duration(seconds=60)), v1.Step(percent=20, min_jobs=30)],
        checks=[v1.Check(name="errors", query="up", max=0.5)],
    )
    assert not call("GetRollout", component=C).rollout.policy.ListFields()
    assert call("SetPolicy", component=C, policy=little).rollout.policy == little
    assert call("GetRollout", component=C).rollout.policy == little
    assert call("ListRollouts").rollouts[0].policy == little
    assert policy_of(call).checks[0].errors_allowed == 4
    # The policy in an answer can be set unchanged, and gives the same policy.
    whole = policy_of(call)
    call("SetPolicy", component=C, policy=v1.Policy(), update_mask=FieldMask(paths=FIELDS))
    assert policy_of(call) == DEFAULTS
    call("SetPolicy", component=C, policy=little)
    assert policy_of(call) == whole


def test_every_field_comes_back(call: Stubs) -> None:
    assert {field.name for field, _ in PLAN.ListFields()} == set(FIELDS)
    call("SetPolicy", component=C, policy=PLAN)
    assert policy_of(call) == PLAN
    assert not call("SetPolicy", component=C, policy=PLAN).changed


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_set_alone_and_goes_back_to_its_default_by_the_mask(call: Stubs, name: str) -> None:
    one = v1.Policy()
    one.CopyFrom(PLAN)
    for other in set(FIELDS) - {name}:
        one.ClearField(other)
    if name == "max_percent":
        one.max_percent = 91
    call("SetPolicy", component=C, policy=one)
    expected = v1.Policy()
    expected.CopyFrom(DEFAULTS)
    expected.MergeFrom(one)
    assert policy_of(call) == expected
    call("SetPolicy", component=C, policy=v1.Policy(), update_mask=FieldMask(paths=[name]))
    assert policy_of(call) == DEFAULTS


def test_with_a_mask_only_its_fields_are_set(call: Stubs) -> None:
    call("SetPolicy", component=C, policy=PLAN, update_mask=FieldMask(paths=["alpha", "auto_start"]))
    policy = policy_of(call)
    assert (policy.alpha, policy.auto_start, policy.tolerance, len(policy.steps)) == (0.02, True, 1, 0)


def test_the_history_shows_each_changed_field(call: Stubs) -> None:
    call(
        "SetPolicy",
        component=C,
        policy=v1.Policy(alpha=0.02, steps=[v1.Step(percent=5, hold=Duration(seconds=2))]),
        note="try it",
    )
    event = call("ListEvents", component=C).events[0]
    changes = {change.field: (change.before, change.after) for change in event.changes}
    assert (event.action, event.note) == ("SetPolicy", "try it")
    assert changes == {"policy.alpha": ("", "0.02"), "policy.steps": ("", "5 % for 2 s")}


def test_all_wrong_fields_are_reported_together_and_nothing_is_stored(call: Stubs) -> None:
    policy = v1.Policy(
        steps=[v1.Step(percent=25), v1.Step(percent=5, hold=Duration(seconds=3600 * 24 * 31)), v1.Step()],
        max_percent=100,
        alpha=1,
        tolerance=0.5,
        maturation=Duration(seconds=-1),
        max_failure_rate=0.9,
        stuck_after=Duration(seconds=1),
        confirm_within=Duration(),
        checks=[
            v1.Check(name="NO NAME", query="up", max=1),
            v1.Check(name="a", query="sum(rate(errors", max=1),
            v1.Check(name="a", query='up{tag="{{commit}}"}', interval=Duration(nanos=1)),
            v1.Check(name="range", query="up[5m]", min=2, max=1),
        ],
    )
    assert set(wrong(call, policy)) == {
        *("policy.steps[1].percent", "policy.steps[1].hold", "policy.steps[2].percent", "policy.max_percent"),
        *("policy.alpha", "policy.tolerance", "policy.maturation", "policy.max_failure_rate", "policy.stuck_after"),
        *("policy.confirm_within", "policy.checks[0].name", "policy.checks[1].query", "policy.checks[2].name"),
        *("policy.checks[2].query", "policy.checks[2].interval", "policy.checks[2].min"),
        *("policy.checks[3].query", "policy.checks[3].max"),
    }


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_alpha_that_is_not_between_0_and_1_is_refused(call: Stubs, alpha: float) -> None:
    assert set(wrong(call, v1.Policy(alpha=alpha))) == {"policy.alpha"}


def test_more_than_fifty_steps_are_refused(call: Stubs) -> None:
    steps = [v1.Step(percent=number) for number in range(1, 52)]
    assert set(wrong(call, v1.Policy(steps=steps))) == {"policy.steps"}
    call("SetPolicy", component=C, policy=v1.Policy(steps=steps[:50]))


def test_a_wrong_query_is_refused_and_the_message_says_what_is_wrong(call: Stubs) -> None:
    policy = v1.Policy(checks=[v1.Check(name="a", query="sum(rate(errors[5m])", max=1)])
    assert wrong(call, policy) == {"policy.checks[0].query": "has ( at character 4, which is not closed"}


@pytest.mark.parametrize("query", ["up[5m]", "((up[5m]))", "up[5m:1m]", '"up"', '("up")'])
def test_a_query_that_gives_no_single_value_is_refused(call: Stubs, query: str) -> None:
    policy = v1.Policy(checks=[v1.Check(name="a", query=query, max=1)])
    assert wrong(call, policy) == {
        "policy.checks[0].query": "gives no single value: a number, or a vector with one element, is needed"
    }
    call("SetPolicy", component=C, policy=v1.Policy(checks=[v1.Check(name="a", query="((up))", max=1)]))


def test_without_a_prometheus_an_unknown_query_is_stored_and_the_answer_says_that_it_was_not_checked(
    call: Stubs,
) -> None:
    policy = v1.Policy(checks=[v1.Check(name="a", query="up{path=~`\\d`} + a_function_of_tomorrow(up)", max=1)])
    assert call("SetPolicy", component=C, policy=policy).message == (
        "The policy is stored. rampd could not ask whether the query of a is right: "
        "this server has no --prometheus-url (RAMPD_PROMETHEUS_URL)."
    )
    assert call("SetPolicy", component=C, policy=v1.Policy(alpha=0.02)).message == "The policy is stored."


@pytest.mark.parametrize("query", ["up offset inf", "up offset 1e999", "9" * 400, "up{" + "a" * 4000 + "}"])
def test_no_query_breaks_the_server(call: Stubs, query: str) -> None:
    policy = v1.Policy(checks=[v1.Check(name="a", query=query, max=1)])
    assert call("SetPolicy", component=C, policy=policy).changed


def test_a_policy_that_contradicts_the_stored_policy_is_refused(call: Stubs) -> None:
    """Given a plan that goes to 90 %, expect that a lower max_percent is refused, and a stuck_after shorter than its holds."""
    call("SetPolicy", component=C, policy=PLAN)
    policy = v1.Policy(max_percent=50, stuck_after=Duration(seconds=120))
    assert set(wrong(call, policy)) == {"policy.steps[2].percent", "policy.stuck_after"}


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (v1.Policy(steps=[v1.Step(percent=50), v1.Step(percent=100)]), "policy.steps[1].percent"),
        (v1.Policy(steps=[v1.Step(percent=99)]), "policy.steps[0].percent"),
        (v1.Policy(steps=[v1.Step(percent=99)], max_percent=98), "policy.steps[0].percent"),
        (v1.Policy(max_percent=100), "policy.max_percent"),
    ],
)
def test_a_plan_that_ends_at_100_percent_is_refused_and_the_message_names_auto_finalize(
    call: Stubs, policy: v1.Policy, field: str
) -> None:
    found = wrong(call, policy)
    assert set(found) == {field}
    assert "et auto_finalize" in found[field]
    assert "current after the last step" in found[field]


def test_a_check_with_few_fields_gets_defaults(call: Stubs) -> None:
    call("SetPolicy", component=C, policy=v1.Policy(checks=[v1.Check(name="up", query="up", min=1)]))
    [check] = policy_of(call).checks
    assert (check.interval, check.failures_allowed, check.errors_allowed) == (Duration(seconds=60), 0, 4)
    assert not check.HasField("max")
