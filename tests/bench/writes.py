"""How many changes a second a server makes for 64 callers, each of whom makes one after the other: to many components, and to one."""

import time

from tests.bench import cores, running
from tests.bench.report import Row, plain
from tests.bench.rounds import in_turns
from tests.bench.scale import Scale
from tests.bench.writers import MANY, writing
from tests.servers import ServerProcess, Stubs

WRITERS = 64
SECONDS = 1.0
EACH = "many-"
"""How the names of the components begin. The one component has none of these names."""
KINDS = ("Ramp", "Release", "SetOverride")


def run(scale: Scale) -> list[Row]:
    with running.store() as store, running.rampd(store) as server, running.calls(server) as call:
        for name in (running.COMPONENT, *(f"{EACH}{number}" for number in range(MANY))):
            begin(call, name)
        asked = [(kind, name) for kind in KINDS for name in (EACH, running.COMPONENT)]
        rates = in_turns(
            scale.rounds, *(lambda kind=kind, name=name: per_s(server, kind, name) for kind, name in asked)
        )
    return [
        plain(f"{kind} {'of 100 components' if name == EACH else 'of one component'}, {WRITERS} at once", found, "/s")
        for (kind, name), found in zip(asked, rates, strict=True)
    ]


def begin(call: Stubs, component: str) -> None:
    """Makes a component with a rollout."""
    for tag in ("a", "b"):
        call("Release", component=component, tag=tag)


def per_s(server: ServerProcess, kind: str, component: str) -> float:
    with writing(kind, WRITERS, component, server.target, on=cores.LOAD) as rate:
        time.sleep(SECONDS)
    return rate.per_s
