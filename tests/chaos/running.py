"""One run: a store, servers, clients, watchers and faults, for some seconds. Returns the record of it."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.chaos.asking import UNANSWERED, Caller
from tests.chaos.clients import COMPONENTS, Launcher, Writer
from tests.chaos.faults import EVERY_KIND, Faults
from tests.chaos.fleet import Fleet
from tests.chaos.record import End, Record
from tests.chaos.stores import SingleStore, Topology
from tests.chaos.testers import GuardTester, PlanTester, SwitchTester, ThawTester
from tests.chaos.watching import Watcher
from tests.chaos.witness import Witness
from tests.servers import short_directory
from tests.stores import REDIS, VALKEY

_JUDGED_EVERY_S = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be."""

    seed: int
    seconds: float
    kinds: frozenset[str] = frozenset(EVERY_KIND)
    servers: int = 2
    writers: int = 4
    tree: str = ""
    """The root of the code that the servers run; empty: this code."""
    kind: str = ""
    """The kind of store; empty: drawn from the seed."""
    topology: Callable[..., Topology] = SingleStore
    """Makes the store. Its arguments are those of SingleStore."""
    calm_s: float = 6.0
    """How long the clients go on after the last fault."""
    settled_s: float = 60.0
    """How long the servers may take to recover after that."""


@dataclass(slots=True)
class Run:
    """A run that goes on."""

    record: Record
    broken: list[str] = field(default_factory=list)
    """What went wrong in the run itself, or in a server's log."""


@contextlib.contextmanager
def running(plan: Plan, until: Callable[[Record], bool] | None = None) -> Iterator[Run]:
    """Yields the run when its faults are over and its clients have stopped. The servers end with the block. `until` is asked now
    and then whether the record so far is enough.
    """
    run = Run(Record(plan.seed))
    chance = random.Random(f"{plan.seed} kind")
    kind = plan.kind or chance.choice([REDIS, VALKEY])
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(short_directory())
        witness = Witness(run.record)
        made = plan.topology(kind, random.Random(f"{plan.seed} lost"), folder, is_durable=True, witness=witness)
        store = stack.enter_context(contextlib.closing(made))
        stack.callback(witness.stop)
        store.begin()
        fleet = stack.enter_context(contextlib.closing(Fleet(store, _folder(folder), plan.servers, plan.tree)))
        fleet.start()
        _begin(stack, fleet, run.record)

        def is_over() -> bool:
            return until is not None and (found := _so_far(run.record, witness)) is not None and until(found)

        _drive(stack, plan, run, store, fleet, is_over=is_over)
        _settle(stack, run.record, fleet, plan.settled_s)
        witness.look()
        yield run
    run.broken += fleet.said


def _folder(folder: Path) -> Path:
    made = folder / "servers"
    made.mkdir()
    return made


def _begin(stack: contextlib.ExitStack, fleet: Fleet, record: Record) -> None:
    caller = stack.enter_context(contextlib.closing(Caller("begin", fleet, record)))
    for component in COMPONENTS:
        for tag in ("t0", "t1"):
            caller.ask(0, "Release", component=component, tag=tag, request_id=f"begin-{component}-{tag}")


def _so_far(record: Record, witness: Witness) -> Record | None:
    """Returns a record in which the witness has seen every change that was answered; None if the store does not answer it now."""
    answered = len(record.calls)
    watched = list(record.watched)
    if not witness.look():
        return None
    with witness.lock:
        calls, under_way = list(record.calls), list(record.under_way.values())
        made = Record(record.seed, entries=list(record.entries), lives=list(record.lives), clocks=list(record.clocks))
    # Of a call that was answered since, the change may not have been seen yet.
    now_s = time.monotonic()
    later = (replace(call, response=None, code=UNANSWERED, ended_s=now_s) for call in (*calls[answered:], *under_way))
    made.calls = [*calls[:answered], *later]
    made.watched, made.faults = watched, list(record.faults)
    return made


def _drive(
    stack: contextlib.ExitStack, plan: Plan, run: Run, store: Topology, fleet: Fleet, *, is_over: Callable[[], bool]
) -> None:
    """Lets clients and faults run until the time of the plan is over, and the clients alone a little longer."""
    over, calm = threading.Event(), threading.Event()

    def caller(who: str) -> Caller:
        return stack.enter_context(contextlib.closing(Caller(who, fleet, run.record)))

    def chance(who: str) -> random.Random:
        return random.Random(f"{plan.seed} {who}")

    writers = [Writer(caller(f"writer{number}"), chance(f"writer{number}")) for number in range(plan.writers)]
    testers = (("switch", SwitchTester), ("thaw", ThawTester), ("guard", GuardTester), ("plan", PlanTester))
    others = [tester(caller(who), chance(who)) for who, tester in testers]
    launchers = [Launcher(caller(f"launcher{number}"), number) for number in range(plan.servers)]
    watchers = [
        stack.enter_context(contextlib.closing(Watcher(f"watcher{number}", fleet, number, run.record)))
        for number in range(plan.servers)
    ]
    works: list[Callable[[], None]] = [
        lambda client=client: client.run(over) for client in (*writers, *others, *launchers, *watchers)
    ]
    faults = Faults(store, fleet, run.record, plan.seed, plan.kinds).threads(calm)
    clients, disturbers = (_started(run, each) for each in (works, faults))
    end = time.monotonic() + plan.seconds
    while (left_s := end - time.monotonic()) > 0 and not is_over():
        time.sleep(min(left_s, _JUDGED_EVERY_S))
    calm.set()
    for thread in disturbers:
        thread.join()
    over.wait(plan.calm_s)
    over.set()
    for thread in clients:
        thread.join()


def _started(run: Run, works: list[Callable[[], None]]) -> list[threading.Thread]:
    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            run.broken.append(f"the checker itself fails: {error!r}")

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    return threads


def _settle(stack: contextlib.ExitStack, record: Record, fleet: Fleet, within_s: float) -> None:
    """Waits until every server is fresh and writable, and records what each of them has then."""
    caller = stack.enter_context(contextlib.closing(Caller("end", fleet, record)))
    end = time.monotonic() + within_s
    for server in range(len(fleet)):
        problem = _problem(caller, server, 0)
        tries = 0
        while problem and time.monotonic() < end:
            time.sleep(0.1)
            tries += 1
            problem = _problem(caller, server, tries)
        record.add(End(server, "", time.monotonic(), problem=problem))
    for server in range(len(fleet)):
        for component in COMPONENTS:
            call = caller.ask(server, "GetRollout", component=component)
            rollout = call.response.rollout if call.response is not None else None
            problem = "" if call.reason == "COMPONENT_NOT_FOUND" else call.message
            record.add(End(server, component, time.monotonic(), rollout, problem))


def _problem(caller: Caller, server: int, tries: int) -> str:
    """Says why a server is not fresh or not writable; empty if it is both."""
    answer = caller.ask(server, "Resolve", component="lone", repo="acme/a")
    if answer.response is None:
        return answer.message
    if answer.response.stale:
        return "its answers are stale"
    request_id = f"end-{server}-{tries}"
    return caller.ask(
        server, "SetOverride", component="lone", repo="acme/z", tag=request_id, request_id=request_id
    ).message
