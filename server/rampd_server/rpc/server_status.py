"""GetServer: how this server and its store are set up, and how they are."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._decision.staleness import is_stale
from rampd_server.domain.errors import RampdError
from rampd_server.ports import StoreProbe, StoreStatus
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import PERMISSIONS, Call
from rampd_server.rpc.door import Door

_SETTINGS = (
    "product",
    "version",
    "append_only",
    "append_fsync",
    "save_failed",
    "used_memory_bytes",
    "max_memory_bytes",
    "max_memory_policy",
    "replicas",
)
"""What a Redis may not tell, by its name in the message and in `StoreStatus`."""


class Reach(StrEnum):
    """Who can reach an address."""

    OWNER = "owner"
    """The server's own user: a unix socket."""
    GROUP = "group"
    """The users of a group: a unix socket."""
    MACHINE = "machine"
    """Every user of the server's machine."""
    NETWORK = "network"
    """Other machines."""


@dataclass(frozen=True)
class OpenAddress:
    """An address at which the server answers."""

    address: str
    protocol: str
    """`grpc` or `http`."""
    is_tls: bool
    reach: Reach
    door: Door


class ServerStatus:
    """What GetServer tells. `addresses` may be filled later, before the first call."""

    def __init__(
        self,
        namespace: str,
        replica: Replica,
        store: StoreProbe,
        addresses: Sequence[OpenAddress],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._namespace = namespace
        self._replica = replica
        self._store = store
        self._addresses = addresses
        self._clock = clock
        self._start_s = clock()
        self._version = metadata.version("rampd")

    async def of(self, call: Call) -> v1.Server:
        """The server, as far as the caller may see it. It does not wait for the store until the caller's deadline."""
        replica = self._replica
        store, problem = await self._ask_store(call.timeout_s)
        now_s = self._clock()
        known = {*replica.damaged, *(each.rollout.component for each in replica.components())}
        seen = set(filter(call.sees, known))
        server = v1.Server(
            version=self._version,
            start_time=_timestamp(self._start_s * 1000),
            time=_timestamp(now_s * 1000),
            namespace=self._namespace,
            components=len(seen),
            damaged_components=len(seen & replica.damaged.keys()),
            epoch=replica.epoch,
            last_entry=replica.entry_id if replica.epoch else "",
            listeners=map(_listener, self._addresses),
            store=None if store is None else _store_message(store, now_s * 1000),
            store_problem=problem,
        )
        try:
            age_s = replica.age_s
        except RampdError:  # there is no state yet
            server.stale = True
        else:
            server.stale = is_stale(age_s)
            server.snapshot_age.CopyFrom(Duration(seconds=int(age_s), nanos=int(age_s % 1 * 1_000_000) * 1000))
        return server

    async def _ask_store(self, left_s: float | None) -> tuple[StoreStatus | None, str]:
        try:
            async with asyncio.timeout(None if left_s is None else left_s / 2):
                status = await self._store.status()
        except RampdError as error:
            return None, error.message
        except TimeoutError:
            return None, "The store did not answer in time. Look at Redis, and try again with more time."
        trouble = self._replica.trouble
        return status, status.trouble if trouble is None else trouble.message


def _listener(opened: OpenAddress) -> v1.Listener:
    door = opened.door
    caller = None if opened.is_tls and door.takes_certificates else door.without_credentials()
    return v1.Listener(
        address=opened.address,
        protocol=opened.protocol,
        tls=opened.is_tls,
        reach=opened.reach,
        requires_credentials=caller is None,
        changes_without_credentials=caller is not None
        and any(
            each.is_change and caller.grant.may(each.name, each.roles) and door.has(each.roles)
            for each in PERMISSIONS.values()
        ),
    )


def _store_message(status: StoreStatus, now_ms: float) -> v1.StoreStatus:
    told = {name: getattr(status, name) for name in _SETTINGS}
    return v1.StoreStatus(
        embedded=status.is_embedded,
        topology=status.topology,
        primary=status.primary,
        time=_timestamp(now_ms + status.ahead_ms),
        unknown=[name for name, value in told.items() if value is None],
        **{name: value for name, value in told.items() if value is not None},
    )


def _timestamp(ms: float) -> Timestamp:
    return Timestamp(seconds=int(ms // 1000), nanos=int(ms % 1000) * 1_000_000)
