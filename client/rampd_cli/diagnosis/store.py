"""Checks of the store behind a server."""

from shlex import quote
from typing import TYPE_CHECKING, Final

from rampd_cli.diagnosis.address import Address, Kind
from rampd_cli.diagnosis.facts import Facts
from rampd_cli.diagnosis.finding import Finding, ok, problem, warning

if TYPE_CHECKING:
    from rampd import v1

_STORE, _PERSISTENCE, _MEMORY = "store", "persistence", "memory"
_NAMES: Final = {"redis": "Redis", "valkey": "Valkey"}
_NEARLY_FULL: Final = 0.8
_FULL: Final = 0.95
_GRANT: Final = "If the store allows it, let the user of the server ask, in redis-cli: ACL SETUSER NAME +info"


def store(facts: Facts) -> Finding | None:
    """Whether the server can use its store."""
    if (server := facts.server) is None:
        return None
    if not server.HasField("store"):
        return problem(
            _STORE,
            server.store_problem or "The server can't ask its store.",
            "On the server's machine, look whether the store runs: redis-cli PING. The server's log says more (store_lost).",
        )
    if server.store_problem:
        return problem(_STORE, server.store_problem, f"Do what it says, then type: {facts.command('doctor')}")
    status = server.store
    name = f"{_NAMES.get(status.product, status.product)} {status.version}".strip()
    if not name:
        return ok(_STORE, "The store answers. It does not tell its version.")
    where = ", which the server runs itself" if status.embedded else f"{_primary(status)}, {_replicated(status)}"
    return ok(_STORE, f"{name}{where}.")


def _primary(status: "v1.StoreStatus") -> str:
    """Where the store is; empty if the server is older than this answer."""
    if not status.primary:
        return ""
    found = {"sentinel": ", the primary that Sentinels name", "cluster": ", which has the namespace's slot"}
    return f" at {status.primary}{found.get(status.topology, '')}"


def _replicated(status: "v1.StoreStatus") -> str:
    if "replicas" in status.unknown:
        return "and the number of its replicas is not known"
    return f"with {status.replicas or 'no'} replica{'s' * (status.replicas != 1)}"


def persistence(facts: Facts) -> Finding | None:
    """Whether changes survive the end of the store."""
    if (status := _status(facts)) is None:
        return None
    if status.save_failed:
        return problem(
            _PERSISTENCE,
            "The last attempt of the store to save its data failed. It may refuse changes.",
            "On the store's machine, look for space on the disk (df -h), and at: "
            + _redis_cli(status, "INFO persistence"),
        )
    if "append_only" in status.unknown:
        return warning(_PERSISTENCE, "How the store keeps its data is not known: its user may not ask.", _GRANT)
    if not status.append_only:
        return warning(
            _PERSISTENCE,
            "The store does not write each change to the disk (appendonly no). A restart loses the last changes.",
            f"Type: {_set(status, 'appendonly yes')}",
        )
    if "append_fsync" in status.unknown:
        return ok(_PERSISTENCE, "The store writes each change to its file. How soon it is on the disk is not known.")
    if status.append_fsync == "no":
        return warning(
            _PERSISTENCE,
            "The system decides when a change is on the disk (appendfsync no). A power failure loses up to half a minute.",
            f"Type: {_set(status, 'appendfsync everysec')}",
        )
    loses = (
        "A power failure loses nothing." if status.append_fsync == "always" else "A power failure may lose a second."
    )
    return ok(_PERSISTENCE, f"The store writes each change to the disk (appendfsync {status.append_fsync}). {loses}")


def memory(facts: Facts) -> Finding | None:
    """Whether the store has room, and keeps its data when it has none."""
    if (status := _status(facts)) is None:
        return None
    policy, most, used = status.max_memory_policy, status.max_memory_bytes, status.used_memory_bytes
    if policy and policy != "noeviction":
        return problem(
            _MEMORY,
            f"The store deletes data when its memory is full (maxmemory-policy {policy}), rollouts among them.",
            f"Type: {_set(status, 'maxmemory-policy noeviction')}",
        )
    if {"max_memory_bytes", "max_memory_policy"} & set(status.unknown):
        return warning(_MEMORY, "The memory limit of the store is not known: its user may not ask.", _GRANT)
    uses = "" if "used_memory_bytes" in status.unknown else f"The store uses {_mebibytes(used)}"
    if not most:
        return ok(_MEMORY, f"{uses or 'The store has no limit of its own'} (maxmemory 0: no limit but the machine's).")
    share = used / most
    text = f"{uses or 'The store may use'} of {_mebibytes(most)} (maxmemory)"
    if share >= _NEARLY_FULL:
        make = problem if share >= _FULL else warning
        return make(
            _MEMORY,
            f"{text}: {share:.0%}. When it is full it refuses changes.",
            f"Give it more: {_set(status, f'maxmemory {_in_mebibytes(most * 2)}mb')}",
        )
    return ok(_MEMORY, f"{text}. When it is full it refuses changes, and deletes nothing.")


def _redis_cli(status: "v1.StoreStatus", command: str) -> str:
    """Returns what to type to give a command to the primary."""
    primary = Address.parse(status.primary)
    where = {Kind.TCP: f" -h {quote(primary.host)} -p {primary.port}", Kind.SOCKET: f" -s {quote(primary.path)}"}
    return f"redis-cli{where.get(primary.kind, '')} {command}"


def _set(status: "v1.StoreStatus", setting: str) -> str:
    """Returns what to type to give the store a setting that lasts."""
    others = {"sentinel": "its replicas", "cluster": "each other node of the cluster"}.get(status.topology, "")
    again = f" Type the same for {others}." if others else ""
    return f"{_redis_cli(status, f'CONFIG SET {setting}')}.{again} Write it into redis.conf too."


def _status(facts: Facts) -> "v1.StoreStatus | None":
    server = facts.server
    return server.store if server is not None and server.HasField("store") else None


def _mebibytes(count: int) -> str:
    return f"{_in_mebibytes(count):,} MiB"


def _in_mebibytes(count: int) -> int:
    return max(1, round(count / (1 << 20)))
