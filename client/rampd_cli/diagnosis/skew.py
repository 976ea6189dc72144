"""Checks between several servers: whether they are the same for everybody who calls them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rampd_cli.diagnosis.facts import Facts
from rampd_cli.diagnosis.finding import Finding, ok, problem, warning
from rampd_cli.place import typed

if TYPE_CHECKING:
    from rampd import v1


def skew(all_facts: Sequence[Facts]) -> list[Finding]:
    """Compares the servers that told of themselves. Empty if fewer than two did."""
    told = [(facts, server) for facts in all_facts if (server := facts.server) is not None]
    if len(told) < 2:
        return []
    return [_version(told), _namespace(told), _store(told), _state(told)]


_Told = Sequence[tuple[Facts, "v1.Server"]]


def _version(told: _Told) -> Finding:
    values = _by_value(told, lambda server: server.version)
    if len(values) == 1:
        return ok("same_version", f"All servers have rampd {next(iter(values))}.")
    return warning("same_version", f"The servers have different versions: {_listed(values)}.", "Update the older ones.")


def _namespace(told: _Told) -> Finding:
    values = _by_value(told, lambda server: server.namespace)
    if len(values) == 1:
        return ok("same_namespace", f"All servers serve the namespace {next(iter(values))}.")
    return problem(
        "same_namespace",
        f"The servers serve different namespaces, so they have different components: {_listed(values)}.",
        "Start all servers with the same --namespace.",
    )


def _store(told: _Told) -> Finding:
    wrong = []
    for namespace in _by_value(told, lambda server: server.namespace):
        values = _by_value(
            [each for each in told if each[1].namespace == namespace and each[1].epoch], lambda server: server.epoch
        )
        if len(values) > 1:
            wrong.append(_listed({f"epoch {epoch}": servers for epoch, servers in values.items()}))
    if not wrong:
        return ok("same_store", "No two servers of a namespace use different stores.")
    return problem(
        "same_store",
        f"The servers use different stores. A change at one of them does not reach the other: {'; '.join(wrong)}.",
        "Start all servers with the same --redis-url (RAMPD_REDIS_URL). If one store replaces the other: rampd-server adopt",
    )


def _state(told: _Told) -> Finding:
    """Each server was asked again after all had answered. By then it has what any of them had before."""
    behind = []
    for facts, server in told:
        of_store = [other for _, other in told if (other.namespace, other.epoch) == (server.namespace, server.epoch)]
        newest = max((other.last_entry for other in of_store), key=_order, default="")
        if facts.later_entry is not None and _order(facts.later_entry) < _order(newest):
            behind.append(
                f"{facts.address.text} is at change {facts.later_entry or 'none'}, and the newest is {newest}"
            )
    if not behind:
        return ok("same_state", "No server is behind another one.")
    again = typed([facts.address.text for facts, _ in told], told[0][0].profile)
    return warning(
        "same_state",
        f"Jobs get older versions from some servers: {'; '.join(behind)}.",
        f"Type again: rampd doctor{again}. If it stays, two stores may both take changes: compare redis-cli INFO replication.",
    )


def _by_value(told: _Told, value: "Callable[[v1.Server], str]") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for facts, server in told:
        found.setdefault(value(server), []).append(facts.address.text)
    return found


def _listed(values: dict[str, list[str]]) -> str:
    return ", ".join(f"{value or 'none'} at {' and '.join(servers)}" for value, servers in values.items())


def _order(entry: str) -> tuple[int, ...]:
    """The order of entries of a feed, `1700000000000-0`."""
    return tuple(int(part) for part in entry.split("-") if part.isdecimal())
