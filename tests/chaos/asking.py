"""Calls a server, and records the call."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from rampd import v1
from rampd.v1 import release_service_pb2_grpc, resolver_service_pb2_grpc, rollout_service_pb2_grpc
from tests.chaos.fleet import Fleet
from tests.chaos.record import Call, Record
from tests.servers import reason_of

TIMEOUT_S = 4.0
UNANSWERED = "UNAVAILABLE"
"""The status of a call of which nobody knows yet whether it has changed something."""


class Caller:
    """One client with a channel to each server. Its name is the actor of its changes."""

    def __init__(self, who: str, fleet: Fleet, record: Record) -> None:
        self.who = who
        self.record = record
        self.servers = len(fleet)
        self._channels = [fleet.channel(number) for number in range(len(fleet))]
        self._stubs = [_stubs(channel) for channel in self._channels]

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def send(self, server: int, method: str, request: Message) -> Call:
        """Makes one call, and returns it as it is in the record."""
        began_s = time.monotonic()
        thread = threading.get_ident()
        self.record.under_way[thread] = Call(self.who, server, method, request, began_s, began_s, code=UNANSWERED)
        response, code, reason, message = None, "", "", ""
        try:
            response = self._stubs[server][method](request, timeout=TIMEOUT_S, metadata=(("x-rampd-actor", self.who),))
        except grpc.RpcError as error:
            code, message = error.code().name, error.details() or ""
            reason = _reason(error)
        call = Call(self.who, server, method, request, began_s, time.monotonic(), response, code, reason, message)
        self.record.add(call)
        del self.record.under_way[thread]
        return call

    def ask(self, server: int, method: str, **fields: object) -> Call:
        return self.send(server, method, getattr(v1, f"{method}Request")(**fields))

    def send_twice(self, servers: tuple[int, int], method: str, request: Message) -> list[Call]:
        """Sends one request to two servers at the same time."""
        calls: list[Call] = []
        other = threading.Thread(target=lambda: calls.append(self.send(servers[1], method, request)))
        other.start()
        calls.append(self.send(servers[0], method, request))
        other.join()
        return calls


def _stubs(channel: grpc.Channel) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for stub in (
        resolver_service_pb2_grpc.ResolverServiceStub(channel),
        release_service_pb2_grpc.ReleaseServiceStub(channel),
        rollout_service_pb2_grpc.RolloutServiceStub(channel),
    ):
        found |= vars(stub)
    return found


def _reason(error: grpc.RpcError) -> str:
    try:
        return reason_of(error)
    except (AssertionError, AttributeError):
        return ""
