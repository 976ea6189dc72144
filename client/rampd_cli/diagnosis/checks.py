"""All checks, in the order in which a person wants to read them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from rampd_cli.diagnosis import connection, identity, server, store
from rampd_cli.diagnosis.facts import Facts
from rampd_cli.diagnosis.finding import Finding
from rampd_cli.diagnosis.skew import skew

_OF_A_SERVER: Final[Sequence[Callable[[Facts], Finding | None]]] = (
    connection.reach,
    connection.tls,
    identity.credentials,
    server.version,
    store.store,
    server.staleness,
    server.components,
    store.persistence,
    store.memory,
    server.clock,
    server.exposure,
)


def findings(all_facts: Sequence[Facts]) -> Iterator[Finding]:
    """What the checks say of each server, and of all servers together. A check that can't be made says nothing."""
    for facts in all_facts:
        for check in _OF_A_SERVER:
            if (finding := check(facts)) is not None:
                yield replace(finding, server=facts.address.text)
    yield from skew(all_facts)
