"""rampd as a rule: its own policy, counters, controller and state machine decide on simulated outcomes."""

from typing import Any

from rampd._evidence.counters import Split, Tally, TrialCounters
from rampd_server.domain.automation import decision as controller
from rampd_server.domain.automation.clock import Clock
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Automation, Step, violations
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from tests.bench.rollout.rules import FINALIZED, Outcome

NONE, CURRENT, NEXT = Split(), Split(1, 0), Split(0, 1)


class Rampd:
    """One server that looks every `look_s` seconds."""

    def __init__(self, steps: list[dict[str, Any]], look_s: float, **settings: Any) -> None:
        plan = tuple(
            Step(round(step["percent"] * 100), round(step["hold_min"] * 60_000), step["min_jobs"]) for step in steps
        )
        automation = Automation(steps=plan, **settings)
        assert violations(automation) == []
        self.look_s = look_s
        self.is_over = False
        self.decisions: list[controller.Decision] = []
        self.by_weight: dict[int, Tally] = {}
        self.reported: set[str] = set()
        self.failed: set[str] = set()
        self.rollout: Rollout = self._after(Absent("restyler"), commands.Release("20200301"), 0)
        self._do(commands.SetPolicy({"automation": automation}), 0)
        self._do(commands.Release("20200409"), 0)

    @property
    def basis_points(self) -> int:
        return FINALIZED if self.rollout.current_release.tag == "20200409" else self.rollout.basis_points

    def see(self, outcome: Outcome) -> None:
        one = NEXT if outcome.is_next else CURRENT
        is_first = outcome.repo not in self.reported
        is_first_failure = outcome.is_failed and outcome.repo not in self.failed
        self.reported.add(outcome.repo)
        if outcome.is_failed:
            self.failed.add(outcome.repo)
        self.by_weight[outcome.weight] = self.by_weight.get(outcome.weight, Tally()) + Tally(
            one,
            one if outcome.is_failed else NONE,
            one if is_first else NONE,
            one if is_first and outcome.is_failed else NONE,
            one if is_first_failure else NONE,
        )

    def look(self, now_s: float) -> None:
        now_ms = round(now_s * 1000)
        counters = TrialCounters(self.by_weight, reporters=1)
        decision = controller.decide(controller.Observed(self.rollout, counters, Clock(now_ms)))
        if decision.action is controller.Action.WAIT:
            return
        self.decisions.append(decision)
        self._do(commands.Decide(decision.progress, decision.command), now_ms)
        self.is_over = bool(self.rollout.next is None or self.rollout.held_reason)

    def _do(self, command: commands.Command, now_ms: int) -> None:
        self.rollout = self._after(self.rollout, command, now_ms)

    def _after(self, rollout: Rollout | Absent, command: commands.Command, now_ms: int) -> Rollout:
        after = transition(rollout, command, Context(now_ms, "rampd")).after
        assert isinstance(after, Rollout)
        return after
