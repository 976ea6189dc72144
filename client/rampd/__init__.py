"""rampd tells launchers which version each job runs, and lets admins roll versions out.

    from rampd import Resolver

    with Resolver("127.0.0.1:50051") as resolver:
        print(resolver.resolve("restyler", repo="acme/app", job_id="42").tag)

`Resolver` and `AsyncResolver` resolve, `Admin` and `AsyncAdmin` do the rest; every error is a `RampdError`. The messages
of the API are in `rampd.v1`, what helps in tests is in `rampd.testing`.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rampd.admin import Admin
    from rampd.aio import AsyncAdmin, AsyncResolver
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
    from rampd.feed import Change
    from rampd.local import Status
    from rampd.reporting import Outcome, Reports
    from rampd.resolution import Channel, Resolution, ResolveReason, SnapshotRelease
    from rampd.resolver import Resolver
    from rampd.resolving import Job
    from rampd.running import AsyncRunningJob, RunningJob

    __version__: str

__all__ = [
    "AbortedError",
    "Admin",
    "AsyncAdmin",
    "AsyncResolver",
    "AsyncRunningJob",
    "Change",
    "Channel",
    "ClosedError",
    "DeadlineExceededError",
    "FailedPreconditionError",
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
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
]

_MODULES = {
    "Admin": "rampd.admin",
    "AsyncAdmin": "rampd.aio",
    "AsyncResolver": "rampd.aio",
    "AsyncRunningJob": "rampd.running",
    "Change": "rampd.feed",
    "Channel": "rampd.resolution",
    "Job": "rampd.resolving",
    "Outcome": "rampd.reporting",
    "Reports": "rampd.reporting",
    "Resolution": "rampd.resolution",
    "ResolveReason": "rampd.resolution",
    "Resolver": "rampd.resolver",
    "RunningJob": "rampd.running",
    "SnapshotRelease": "rampd.resolution",
    "Status": "rampd.local",
}


if not TYPE_CHECKING:  # or else every name would be right

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return metadata.version("rampd")
        # gRPC takes a while to import, and who wants an error, or runs pytest with our plugin, does not need it.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_MODULES.get(name, "rampd.errors")), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "__version__"})
