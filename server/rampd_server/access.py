"""The role that a method needs, and the callers that have it. The unix socket may call everything, TCP may only read,
until rampd has credentials.
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from rampd_server.domain.refusals import role_required


class Role(StrEnum):
    """The role of a caller who changes something."""

    ADMIN = "admin"
    CI = "ci"


def required_role(service: str, request_fields: Container[str]) -> Role | None:
    """The role that a method of a service (`RolloutService`) needs; None if the method only reads, or reports outcomes.

    Every request that changes something has a `request_id`, so that a new verb is guarded from the start.
    """
    if "request_id" not in request_fields:
        return None
    return Role.CI if service == "ReleaseService" else Role.ADMIN


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call methods that change something. `socket` is the path that a refusal names."""

    socket: str
    insecure_admin: bool = False

    def check(self, method: str, role: Role, peer: str) -> None:
        """Raises RefusedError (ROLE_REQUIRED) unless `peer`, in gRPC's notation, may call `method`
        (`rampd.v1.RolloutService/Ramp`).
        """
        if self.insecure_admin or peer.startswith("unix:"):
            return
        raise role_required(
            f"{method.rpartition('/')[2]} changes something, and this address serves only reads. Use the unix socket: "
            # Not with grpcurl's flag -unix, which is broken in its releases 1.9.2 and 1.9.3.
            f"grpcurl -plaintext -d '{{…}}' unix://{quote(self.socket)} {method} "
            "(or start the server with --insecure-admin, which allows changes to everybody who reaches the port).",
            role=role,
        )
