"""Who may call what, until there are credentials: the unix socket may everything, TCP may read."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from rampd_server.domain.refusals import role_required


class Role(StrEnum):
    """What a caller has to be for a method that changes something."""

    ADMIN = "admin"
    CI = "ci"


@dataclass(frozen=True, slots=True)
class Access:
    """The rule, and the path of the socket that a refusal names."""

    socket: str
    insecure_admin: bool = False

    def check(self, method: str, role: Role, peer: str) -> None:
        """Raises RefusedError (ROLE_REQUIRED) unless `peer`, in gRPC's notation, may call `method`
        (`rampd.v1.RolloutService/Ramp`).
        """
        if self.insecure_admin or peer.startswith("unix:"):
            return
        raise role_required(
            f"{method.rpartition('/')[2]} changes something, and this address serves reads only. Use the unix socket: "
            # Not with grpcurl's flag -unix, which is broken in its releases 1.9.2 and 1.9.3.
            f"grpcurl -plaintext -d '{{…}}' unix://{quote(self.socket)} {method} "
            "(or start the server with --insecure-admin, which lets everybody in who reaches the port).",
            role=role,
        )
