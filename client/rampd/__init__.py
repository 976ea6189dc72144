"""rampd tells launchers which version each job runs, and lets admins roll versions out.

    from rampd import Resolver

    with Resolver("127.0.0.1:50051") as resolver:
        print(resolver.resolve("restyler", repo="acme/app", job_id="42").tag)

`Resolver` and `AsyncResolver` resolve. `Admin` and `AsyncAdmin` make all other calls. Every error is a `RampdError`. The
messages of the API are in `rampd.v1`. Helpers for tests are in `rampd.testing`.
"""

# These names begin with an underscore, so that an editor's completion does not show them.
import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from rampd._calls.resolve_call import Job
    from rampd._decision.resolution import Channel, Resolution, ResolveReason, SnapshotRelease
    from rampd._reporting.job_block import AsyncRunningJob, RunningJob
    from rampd._reporting.outcome_buffer import Outcome, Reports
    from rampd._watching.feed import Change
    from rampd.admin import Admin
    from rampd.aio import AsyncAdmin, AsyncResolver
    from rampd.credentials import ClientCertificate, GitHubActions, GitLab, Token, TokenFile
    from rampd.errors import (
        AbortedError,
        ClosedError,
        DeadlineExceededError,
        FailedPreconditionError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        NoVersionError,
        PermissionDeniedError,
        RampdError,
        ReleaseFailedError,
        ResourceExhaustedError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
    )
    from rampd.resolver import Resolver, Status

    __version__: str

__all__ = [
    "AbortedError",
    "Admin",
    "AsyncAdmin",
    "AsyncResolver",
    "AsyncRunningJob",
    "Change",
    "Channel",
    "ClientCertificate",
    "ClosedError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "GitHubActions",
    "GitLab",
    "InternalError",
    "InvalidArgumentError",
    "Job",
    "NoVersionError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RampdError",
    "ReleaseFailedError",
    "Reports",
    "Resolution",
    "ResolveReason",
    "Resolver",
    "ResourceExhaustedError",
    "RunningJob",
    "SnapshotRelease",
    "Status",
    "Token",
    "TokenFile",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
]

_SUBMODULES = ["admin", "aio", "credentials", "errors", "openfeature", "resolver", "testing", "v1"]
"""The public modules. A module whose name begins with an underscore may change with every version."""

_MODULES = {
    "Admin": "rampd.admin",
    "AsyncAdmin": "rampd.aio",
    "AsyncResolver": "rampd.aio",
    "AsyncRunningJob": "rampd._reporting.job_block",
    "Change": "rampd._watching.feed",
    "ClientCertificate": "rampd.credentials",
    "Channel": "rampd._decision.resolution",
    "GitHubActions": "rampd.credentials",
    "GitLab": "rampd.credentials",
    "Job": "rampd._calls.resolve_call",
    "Outcome": "rampd._reporting.outcome_buffer",
    "Reports": "rampd._reporting.outcome_buffer",
    "Resolution": "rampd._decision.resolution",
    "ResolveReason": "rampd._decision.resolution",
    "Resolver": "rampd.resolver",
    "RunningJob": "rampd._reporting.job_block",
    "SnapshotRelease": "rampd._decision.resolution",
    "Status": "rampd.resolver",
    "Token": "rampd.credentials",
    "TokenFile": "rampd.credentials",
}


if not _typing.TYPE_CHECKING:  # otherwise a type checker accepts every name

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib import metadata  # noqa: PLC0415 - it is slow to import, and few programs ask for the version

            return metadata.version("rampd")
        # gRPC takes a while to import. A program that needs only an error, or pytest with our plugin, does not need it.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(_import_module(_MODULES.get(name, "rampd.errors")), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted([*__all__, *_SUBMODULES, "__version__"])
