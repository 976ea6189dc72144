"""An ETag is kept only as long as the answer is right."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from rampd import v1
from rampd._decision.overrides import Channel, Choice, Overrides
from rampd_server.http import unchanged
from rampd_server.http.evaluation import Question
from rampd_server.http.unchanged import Unchanged
from rampd_server.replica.replica import Replica

APP = (("*",), Question("acme/app"))
ANSWER = v1.BatchResolveResponse(results=[v1.ResolveResult(response=v1.ResolveResponse(tag="t1"))] * 2)
NAMES = ["a", "b"]


@dataclass
class Component:
    overrides: Overrides = field(default_factory=Overrides)


@dataclass
class Copy:
    """What `Unchanged` uses of a replica."""

    age_s: float = 0.1
    now_ms: int = 1_000
    damaged: dict[str, str] = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=lambda: {"a": Component(), "b": Component()})

    def subscribe(self, listener: Unchanged) -> None:
        self.listener = listener

    def likely_ms(self) -> int:
        return self.now_ms

    def get(self, name: str) -> Component | None:
        return self.components.get(name)


@pytest.fixture
def copy() -> Copy:
    return Copy()


@pytest.fixture
def kept(copy: Copy) -> Unchanged:
    made = Unchanged(cast("Replica", copy))
    made.keep(APP, made.state, '"1a"', NAMES, ANSWER)
    return made


def test_the_etag_of_an_answer_is_known_for_the_same_caller_and_question(kept: Unchanged) -> None:
    assert kept.etag(APP) == '"1a"'
    assert kept.etag((("a*",), APP[1])) is None
    assert kept.etag((APP[0], Question("acme/app", "42"))) is None


def test_a_question_without_a_component_is_not_kept(kept: Unchanged) -> None:
    """Given questions of 64 KiB about nothing, which no rule has looked at, expect that they take no memory."""
    asked = (("none",), Question("x" * 60_000))
    kept.keep(asked, kept.state, '"1a"', [], v1.BatchResolveResponse())
    assert kept.etag(asked) is None


def test_a_change_of_the_state_forgets_it(kept: Unchanged, copy: Copy) -> None:
    copy.listener.applied(cast("Any", None), None, None)
    assert kept.etag(APP) is None
    kept.keep(APP, kept.state, '"2b"', NAMES, ANSWER)
    assert kept.etag(APP) == '"2b"'
    copy.listener.reloaded()
    assert kept.etag(APP) is None


def test_an_answer_from_before_a_change_is_not_kept(kept: Unchanged) -> None:
    before = kept.state
    kept.reloaded()
    kept.keep(APP, before, '"1a"', NAMES, ANSWER)
    assert kept.etag(APP) is None


def test_a_stale_or_damaged_state_has_no_known_answer(kept: Unchanged, copy: Copy) -> None:
    copy.age_s = 5.0
    assert kept.etag(APP) is None
    copy.age_s = 4.9
    assert kept.etag(APP) == '"1a"'
    copy.damaged["a"] = "it is not what rampd wrote"
    assert kept.etag(APP) is None


@pytest.mark.parametrize(
    "result", [v1.ResolveResult(response=v1.ResolveResponse(stale=True)), v1.ResolveResult(status={"code": 13})]
)
def test_an_answer_with_something_wrong_is_not_kept(kept: Unchanged, result: v1.ResolveResult) -> None:
    kept.reloaded()
    kept.keep(APP, kept.state, '"1a"', NAMES, v1.BatchResolveResponse(results=[ANSWER.results[0], result]))
    assert kept.etag(APP) is None


def test_an_answer_is_right_until_the_first_override_in_force_ends(kept: Unchanged, copy: Copy) -> None:
    copy.components["a"].overrides.set("acme/*", Choice(Channel.CURRENT, expire_ms=3_000))
    copy.components["b"].overrides.set("acme/app", Choice(tag="pb/x", expire_ms=2_000))
    copy.components["b"].overrides.set("acme/other", Choice(tag="pb/x", expire_ms=1_500))
    kept.keep(APP, kept.state, '"1a"', NAMES, ANSWER)
    copy.now_ms = 1_999
    assert kept.etag(APP) == '"1a"'
    copy.now_ms = 2_000
    assert kept.etag(APP) is None


def test_an_etag_is_kept_for_an_hour_at_most(kept: Unchanged, copy: Copy) -> None:
    """The repo of a caller that asks for weeks is then seen again."""
    copy.now_ms += 3_599_999
    assert kept.etag(APP) == '"1a"'
    copy.now_ms += 1
    assert kept.etag(APP) is None


def test_an_override_without_an_end_does_not_end_an_answer(kept: Unchanged, copy: Copy) -> None:
    copy.components["a"].overrides.set("acme/app", Choice(tag="pb/x"))
    kept.keep(APP, kept.state, '"1a"', [*NAMES, "gone"], ANSWER)
    copy.now_ms += 3_599_000
    assert kept.etag(APP) == '"1a"'


def test_the_memory_is_bounded(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "_MOST", 3)
    made = Unchanged(cast("Replica", copy))
    for number in range(7):
        made.keep((APP[0], Question(f"acme/{number}")), made.state, f'"{number}"', NAMES, ANSWER)
    found = [made.etag((APP[0], Question(f"acme/{number}"))) for number in range(7)]
    assert found == [None] * 6 + ['"6"']
