"""The clients of a run: they make random calls, each with its own chance, until the run is over."""

import itertools
import random
import threading
import time
from collections import deque
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from tests.chaos.asking import Caller
from tests.chaos.record import Call

CONTENDED = ("alpha", "beta")
"""All writers write to these at once."""
LONE = "lone"
"""Only one writer raises this, and confirms nothing."""
PLANNED = "planned"
"""Automation raises this."""
THAWED = "thawed"
"""Only one client writes to this: it waits for the end of its freeze."""
GUARDED = "guarded"
"""Launchers report that each job of its next fails."""
COMPONENTS = (*CONTENDED, LONE, PLANNED, THAWED, GUARDED)
REPOS = ("acme/a", "acme/b", "acme/c", "acme/d", "zeta/e", "zeta/f")
_PINNED = (*REPOS, "acme/*")
_HEADED = ("Ramp", "Confirm", "Rollback", "Finalize", "Abandon")
"""Verbs with a tag guard."""
_ENDING = ("Confirm", "Finalize", "Abandon", "DeleteOverride", "DeleteComponent")
"""Verbs that are refused if another copy of the request was first. These are often sent twice at once."""
VERBS = {
    "Release": 16,
    "CancelRelease": 2,
    "Ramp": 16,
    "Confirm": 3,
    "Rollback": 7,
    "Finalize": 7,
    "Abandon": 6,
    "Revert": 3,
    "Pause": 3,
    "Resume": 3,
    "Freeze": 7,
    "Unfreeze": 8,
    "Quarantine": 3,
    "Unquarantine": 3,
    "SetPolicy": 2,
    "SetOverride": 8,
    "DeleteOverride": 3,
    "BatchSetOverrides": 2,
    "DeleteComponent": 1,
    "GetRollout": 10,
}
"""What the writers call, and how often."""


class Writer:
    """Calls every verb of the contended components. Repeats some requests, at once and later."""

    def __init__(self, caller: Caller, chance: random.Random) -> None:
        self._caller = caller
        self._chance = chance
        self._numbers = itertools.count()
        self._seen: dict[str, v1.Rollout] = {}
        self._past: deque[tuple[str, Message]] = deque(maxlen=30)

    def run(self, over: threading.Event) -> None:
        while not over.is_set():
            self._step()
            over.wait(self._chance.choice([0.0, 0.0, 0.01, 0.05]))

    def _step(self) -> None:
        chance = self._chance
        server = chance.randrange(self._caller.servers)
        if self._past and chance.random() < 0.08:
            method, request = chance.choice(self._past)
            if chance.random() < 0.2:
                request = _changed(request)
            self._take(self._caller.send(server, method, request))
            return
        method = chance.choices(list(VERBS), list(VERBS.values()))[0]
        component = chance.choice(CONTENDED)
        request = getattr(v1, f"{method}Request")(component=component, **self._fields(method, component))
        if method == "GetRollout":
            self._take(self._caller.send(server, method, request))
            return
        request.request_id = f"{self._caller.who}-{next(self._numbers)}"
        if getattr(request, "all", False):
            request.component = ""
        elif component in self._seen and chance.random() < 0.15:
            request.expected_revision = self._seen[component].revision
        if chance.random() < 0.05:
            request.dry_run = True
            self._caller.send(server, method, request)
            return
        self._past.append((method, request))
        if self._caller.servers > 1 and chance.random() < (0.4 if method in _ENDING else 0.12):
            for call in self._caller.send_twice((server, (server + 1) % self._caller.servers), method, request):
                self._take(call)
            return
        call = self._caller.send(server, method, request)
        self._take(call)
        if call.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} and chance.random() < 0.7:
            self._take(self._caller.send(chance.randrange(self._caller.servers), method, request))

    def _take(self, call: Call) -> None:
        if call.response is not None and call.response.HasField("rollout"):
            self._seen[call.component] = call.response.rollout
        elif call.code == "UNAVAILABLE":
            time.sleep(0.1)

    def _fields(self, method: str, component: str) -> dict[str, Any]:
        """Returns random fields of a request, except those that all requests share."""
        chance = self._chance
        seen = self._seen.get(component)
        fields: dict[str, Any] = {}
        if method in _HEADED and seen is not None and chance.random() < 0.3:
            fields["tag"] = seen.next.tag or "t0"
        tags = [f"t{chance.randrange(40)}", *([seen.current.tag, seen.next.tag or "t1"] if seen else [])]
        match method:
            case "Release":
                fields["tag"] = chance.choice(tags) if chance.random() < 0.2 else f"t{chance.randrange(10**6)}"
                fields["expedite"] = chance.random() < 0.1
                fields["force"] = chance.random() < 0.1
            case "CancelRelease":
                queued = [release.number for release in seen.queue] if seen else []
                fields["release"] = chance.choice([*queued, chance.randrange(1, 50)])
            case "Ramp":
                fields["percent"] = chance.choice([0, 1, 10, 25.5, 50, 90, 100])
                if chance.random() < 0.3:
                    fields["confirm_within"] = Duration(seconds=chance.choice([1, 2, 30]))
            case "Rollback" | "Abandon" | "Revert":
                fields["quarantine"] = chance.random() < 0.2
                if method == "Revert" and seen is not None and seen.previous and chance.random() < 0.5:
                    fields["tag"] = chance.choice(list(seen.previous)).tag
            case "Finalize":
                fields["force"] = chance.random() < 0.4
            case "Freeze" | "Unfreeze":
                # While everything is frozen, little else happens. The end of that also ends what other freezes have left.
                fields["all"] = chance.random() < 0.05
                if method == "Freeze" and chance.random() < 0.8:
                    fields["expire_time"] = in_s(chance.choice([1, 1, 2]))
            case "Quarantine" | "Unquarantine":
                fields["tag"] = chance.choice(tags)
            case "SetPolicy":
                mode = chance.choice(
                    [v1.QUEUE_MODE_FIFO, v1.QUEUE_MODE_FIFO, v1.QUEUE_MODE_LATEST, v1.QUEUE_MODE_REJECT]
                )
                fields["policy"] = v1.Policy(queue_mode=mode, unit=chance.choice([v1.UNIT_REPO, v1.UNIT_JOB]))
            case "SetOverride" | "DeleteOverride":
                fields["repo"] = chance.choice(_PINNED)
                if method == "SetOverride":
                    fields |= self._choice()
            case "BatchSetOverrides":
                fields["overrides"] = [
                    v1.OverrideChange(repo=repo, **(self._choice() if chance.random() < 0.7 else {"delete": True}))
                    for repo in chance.sample(_PINNED, 3)
                ]
            case "DeleteComponent":
                fields["confirm"] = component
        return fields

    def _choice(self) -> dict[str, Any]:
        chance = self._chance
        fields: dict[str, Any] = {"tag": f"pin{chance.randrange(10**6)}"}
        if chance.random() < 0.3:
            fields = {"channel": chance.choice([v1.CHANNEL_CURRENT, v1.CHANNEL_NEXT])}
        if chance.random() < 0.2:
            fields["expire_time"] = in_s(2)
        return fields


def _changed(request: Message) -> Message:
    """Returns a request with the same id that asks for something else."""
    other = type(request)()
    other.CopyFrom(request)
    other.component = "beta" if request.component == "alpha" else "alpha"  # type: ignore[attr-defined]
    if getattr(other, "all", False):
        other.all = False  # type: ignore[attr-defined]
    if hasattr(other, "confirm"):
        other.confirm = other.component  # type: ignore[attr-defined]
    return other


def in_s(seconds: float) -> Timestamp:
    made = Timestamp()
    made.FromMilliseconds(int((time.time() + seconds) * 1000))
    return made


class Launcher:
    """Asks one server which version jobs get."""

    def __init__(self, caller: Caller, server: int) -> None:
        self._caller = caller
        self._server = server

    def run(self, over: threading.Event) -> None:
        for component, repo in itertools.cycle(itertools.product(COMPONENTS, REPOS)):
            if over.is_set():
                return
            call = self._caller.ask(self._server, "Resolve", component=component, repo=repo)
            over.wait(0.2 if call.code == "UNAVAILABLE" else 0.01)
