"""Helpers for tests of programs that use rampd: resolvers with fixed answers, and a pytest fixture with a real server.

    from rampd.testing import FixedResolver

    resolver = FixedResolver({"restyler": "20200301"}, overrides={("restyler", "acme/app"): "pb/x"})

The fixture is called `rampd_server`, and pytest finds it by itself.
"""

# These names begin with an underscore, so that an editor's completion does not show them.
import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from rampd.testing._fixed import AsyncFixedResolver, FixedResolver
    from rampd.testing._server import RampdServer, ServerNotInstalledError, running_server

__all__ = ["AsyncFixedResolver", "FixedResolver", "RampdServer", "ServerNotInstalledError", "running_server"]

_FIXED = {"AsyncFixedResolver", "FixedResolver"}

if not _typing.TYPE_CHECKING:  # otherwise a type checker accepts every name

    def __getattr__(name: str) -> object:
        # pytest imports this package in every run, for the plugin.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(_import_module(f"rampd.testing.{'_fixed' if name in _FIXED else '_server'}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
