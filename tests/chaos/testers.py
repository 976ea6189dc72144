"""Clients with a component of their own, in which only time or automation makes the next change."""

import itertools
import random
import threading

from google.protobuf.duration_pb2 import Duration

from rampd import v1
from tests.chaos.asking import Caller
from tests.chaos.clients import GUARDED, LONE, PLANNED, THAWED, in_s


class Tester:
    """Tries something with its component, again and again, each time at a server by chance."""

    def __init__(self, caller: Caller, chance: random.Random) -> None:
        self._caller = caller
        self._chance = chance

    def run(self, over: threading.Event) -> None:
        """Tries until it is over."""
        for number in itertools.count():
            if over.is_set():
                return
            server = self._chance.randrange(self._caller.servers)
            self.once(number, server, f"{self._caller.who}-{number}", over)

    def once(self, number: int, server: int, request_id: str, over: threading.Event) -> None:
        """Tries for the `number`th time. `request_id` is of this try alone."""
        raise NotImplementedError


class SwitchTester(Tester):
    """Ramps a component for a second and never confirms, so that only the dead-man switch brings it back."""

    WITHIN_S = 1
    PATIENCE_S = 4.0

    def once(self, number: int, server: int, request_id: str, over: threading.Event) -> None:
        within = Duration(seconds=self.WITHIN_S)
        call = self._caller.ask(
            server, "Ramp", component=LONE, percent=50, confirm_within=within, request_id=request_id
        )
        if call.reason in {"COMPONENT_NOT_FOUND", "NO_ROLLOUT"}:
            self._caller.ask(server, "Release", component=LONE, tag=f"s{number}", request_id=f"{request_id}-new")
        else:
            over.wait(0.2 if call.response is None else self.PATIENCE_S)


class ThawTester(Tester):
    """Hands in a release while its component is frozen, so that only the end of the freeze starts it."""

    FROZEN_S = 1
    PATIENCE_S = 5.0

    def once(self, number: int, server: int, request_id: str, over: threading.Event) -> None:
        about = {"component": THAWED}
        freeze = self._caller.ask(
            server, "Freeze", expire_time=in_s(self.FROZEN_S), request_id=f"{request_id}-f", **about
        )
        self._caller.ask(server, "Abandon", request_id=f"{request_id}-a", **about)
        self._caller.ask(server, "Release", tag=f"f{number}", request_id=f"{request_id}-r", **about)
        over.wait(self.PATIENCE_S if freeze.response is not None else 0.2)


class GuardTester(Tester):
    """Reports that every job of next fails, so that automation must take it back. Sends some reports twice."""

    JOBS = 40
    PATIENCE_S = 4.5

    def __init__(self, caller: Caller, chance: random.Random) -> None:
        super().__init__(caller, chance)
        self._client_id = f"{caller.who}-{chance.randrange(10**9)}"

    def once(self, number: int, server: int, request_id: str, over: threading.Event) -> None:
        self._caller.ask(server, "Abandon", component=GUARDED, request_id=f"{request_id}-a")
        self._caller.ask(server, "Release", component=GUARDED, tag=f"g{number}", request_id=f"{request_id}-r")
        ramp = self._caller.ask(server, "Ramp", component=GUARDED, percent=50, request_id=f"{request_id}-p")
        if ramp.response is None:
            over.wait(0.3)
            return
        jobs = [f"acme/{number}-{job}" for job in range(self.JOBS)]
        requests = [v1.ResolveRequest(component=GUARDED, repo=repo) for repo in jobs]
        found = self._caller.ask(server, "BatchResolve", requests=requests)
        if found.response is None:
            return
        outcomes = [
            outcome_of(GUARDED, repo, result.response)
            for repo, result in zip(jobs, found.response.results, strict=True)
            if result.HasField("response")
        ]
        if not outcomes:
            return
        report = v1.ReportOutcomesRequest(client_id=self._client_id, sequence=number + 1, outcomes=outcomes)
        for attempt in range(20):
            call = self._caller.send((server + attempt) % self._caller.servers, "ReportOutcomes", report)
            if call.response is not None and (attempt or self._chance.random() < 0.5):
                break
        over.wait(self.PATIENCE_S)
        release = ramp.response.rollout.next.number
        self._caller.ask(server, "GetRelease", component=GUARDED, release=release)


def outcome_of(component: str, repo: str, answer: v1.ResolveResponse) -> v1.Outcome:
    """Returns the outcome of a job that fails if it ran next."""
    is_next = answer.channel == v1.CHANNEL_NEXT
    return v1.Outcome(
        component=component,
        release=answer.release,
        revision=answer.revision,
        channel=answer.channel,
        reason=answer.reason,
        repo=repo,
        result=v1.OUTCOME_RESULT_FAILED if is_next else v1.OUTCOME_RESULT_SUCCEEDED,
    )


class PlanTester(Tester):
    """Hands in releases for automation to roll out, and changes overrides of the same component meanwhile."""

    STEPS = ((5, 1.0), (20, 1.0), (60, 1.0))

    def __init__(self, caller: Caller, chance: random.Random) -> None:
        super().__init__(caller, chance)
        steps = [v1.Step(percent=percent, hold=_duration(hold_s)) for percent, hold_s in self.STEPS]
        self._policy = v1.Policy(steps=steps, auto_start=True, auto_finalize=True)
        self._is_set = False

    def once(self, number: int, server: int, request_id: str, over: threading.Event) -> None:
        about = {"component": PLANNED, "request_id": request_id}
        if not self._is_set and number:
            self._is_set = self._caller.ask(server, "SetPolicy", policy=self._policy, **about).response is not None
        elif number % 20 == 0:
            self._caller.ask(server, "Release", tag=f"p{number}", **about)
        else:
            self._caller.ask(server, "SetOverride", repo="acme/x", tag=f"x{number}", **about)
        over.wait(0.2)


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromMilliseconds(int(seconds * 1000))
    return made
