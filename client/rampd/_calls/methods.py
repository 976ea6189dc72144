"""The RPCs of rampd.v1, from its descriptors."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rampd.v1 import release_service_pb2, resolver_service_pb2, rollout_service_pb2

SERVICES = tuple(
    service
    for file in (resolver_service_pb2, release_service_pb2, rollout_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC."""

    name: str
    path: str
    streams: bool
    has_dry_run: bool
    """Whether its request has the field `dry_run`: it changes something."""


METHODS: Mapping[type[Message], Method] = {
    GetMessageClass(method.input_type): Method(
        name=method.name,
        path=f"/{service.full_name}/{method.name}",
        streams=method.server_streaming,
        has_dry_run="dry_run" in method.input_type.fields_by_name,
    )
    for service in SERVICES
    for method in service.methods
}
"""Every RPC by the type of its request. No two RPCs have the same type."""
