"""Calls every RPC as every kind of caller, and notes the status. `python -m tests.rpc.access_table` prints the table."""

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rampd import v1
from rampd._contract.token import digest_of, new_token
from rampd_server import testing
from rampd_server.rpc.binding import SERVICES
from tests.markdown import table as markdown
from tests.servers import short_directory
from tests.stores import VALKEY, store_server
from tests.waiting import eventually

METHODS = {method.name: method for service in SERVICES.values() for method in service.methods}
ROLES = ("launcher", "viewer", "ci", "operator", "admin")
CALLERS = ("no credential", *ROLES, "other component", "expired", "revoked")

Metadata = tuple[tuple[str, str], ...]


@dataclass
class Tokens:
    """An access file, and the tokens of its grants by their names."""

    path: Path
    of: dict[str, str] = field(default_factory=dict)
    _grants: dict[str, str] = field(default_factory=dict)

    def grant(self, name: str, role: str, *lines: str, proof: str | None = None) -> str:
        """Adds a grant or replaces it. Returns its token."""
        token = self.of.setdefault(name, new_token())
        proof = f'tokens = ["{digest_of(token)}"]' if proof is None else proof
        self._grants[name] = "\n".join(["[[grant]]", f'name = "{name}"', f'role = "{role}"', proof, *lines, ""])
        self.write()
        return token

    def revoke(self, name: str) -> None:
        del self._grants[name]
        self.write()

    def write(self) -> None:
        beside = self.path.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_text("\n".join(("# grants", *self._grants.values())))
        beside.replace(self.path)

    def metadata(self, name: str, *, actor: str = "") -> Metadata:
        """Returns the metadata of a caller with this name. Without a token, it has no credential."""
        proof = (("authorization", f"Bearer {self.of[name]}"),) if name in self.of else ()
        return (*proof, ("x-rampd-actor", actor)) if actor else proof


def tokens_of_every_kind(path: Path) -> Tokens:
    tokens = Tokens(path)
    for role in ROLES:
        tokens.grant(role, role)
    tokens.grant("other component", "admin", 'components = ["other*"]')
    tokens.grant("expired", "admin", "expires = 2020-01-31")
    tokens.grant("revoked", "admin")
    return tokens


def send(channel: grpc.Channel, method: str, request: Message, metadata: Metadata = ()) -> Any:
    """Returns the response, or the first response of a stream, which is then cancelled. Raises grpc.RpcError."""
    descriptor = METHODS[method]
    path = f"/{descriptor.containing_service.full_name}/{method}"
    read = GetMessageClass(descriptor.output_type).FromString
    data = request.SerializeToString()
    if not descriptor.server_streaming:
        return channel.unary_unary(path, response_deserializer=read)(data, metadata=metadata, timeout=60)
    stream = channel.unary_stream(path, response_deserializer=read)(data, metadata=metadata, timeout=60)
    try:
        return next(stream)
    finally:
        stream.cancel()


def status(channel: grpc.Channel, method: str, request: Message, metadata: Metadata = ()) -> str:
    try:
        send(channel, method, request, metadata)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code.name
    return "OK"


def prepared(send_as_admin: Callable[[str, Message], Any], component: str) -> str:
    """Makes a component for which every verb works: with a previous, a next that waits for Confirm, a queue, and the rest."""
    for number, tag in enumerate(("t1", "t2", "t3", "t4")):
        send_as_admin("Release", v1.ReleaseRequest(component=component, tag=tag, expedite=number == 1))
    ramp = v1.RampRequest(component=component, percent=10)
    ramp.confirm_within.FromTimedelta(timedelta(hours=1))
    send_as_admin("Ramp", ramp)
    send_as_admin("SetOverride", v1.SetOverrideRequest(component=component, repo="acme/app", tag="t1"))
    send_as_admin("Quarantine", v1.QuarantineRequest(component=component, tag="bad"))
    return component


REQUESTS: Mapping[str, Callable[[str], Message]] = {
    "Resolve": lambda c: v1.ResolveRequest(component=c, repo="acme/web"),
    "BatchResolve": lambda c: v1.BatchResolveRequest(requests=[v1.ResolveRequest(component=c, repo="acme/web")]),
    "Watch": lambda c: v1.WatchRequest(components=[c]),
    "ReportOutcomes": lambda c: v1.ReportOutcomesRequest(
        client_id="c",
        sequence=time.monotonic_ns(),
        outcomes=[v1.Outcome(component=c, release=2, revision=2, channel=1, reason=1, repo="acme/web", result=1)],
    ),
    "Release": lambda c: v1.ReleaseRequest(component=c, tag="t5"),
    "Release (expedite)": lambda c: v1.ReleaseRequest(component=c, tag="t5", expedite=True),
    "Release (force)": lambda c: v1.ReleaseRequest(component=c, tag="bad", force=True),
    "CancelRelease": lambda c: v1.CancelReleaseRequest(component=c, release=4),
    "GetRelease": lambda c: v1.GetReleaseRequest(component=c, release=1),
    "ListReleases": lambda c: v1.ListReleasesRequest(component=c),
    "WatchRelease": lambda c: v1.WatchReleaseRequest(component=c, release=4),
    "GetRollout": lambda c: v1.GetRolloutRequest(component=c),
    "ListRollouts": lambda _: v1.ListRolloutsRequest(),
    "Ramp": lambda c: v1.RampRequest(component=c, percent=20),
    "Confirm": lambda c: v1.ConfirmRequest(component=c),
    "Rollback": lambda c: v1.RollbackRequest(component=c),
    "Finalize": lambda c: v1.FinalizeRequest(component=c, force=True),
    "Abandon": lambda c: v1.AbandonRequest(component=c),
    "Revert": lambda c: v1.RevertRequest(component=c, tag="t1"),
    "Pause": lambda c: v1.PauseRequest(component=c),
    "Resume": lambda c: v1.ResumeRequest(component=c),
    "Freeze": lambda c: v1.FreezeRequest(component=c),
    "Freeze (all)": lambda _: v1.FreezeRequest(all=True),
    "Unfreeze": lambda c: v1.UnfreezeRequest(component=c),
    "Unfreeze (all)": lambda _: v1.UnfreezeRequest(all=True),
    "Quarantine": lambda c: v1.QuarantineRequest(component=c, tag="worse"),
    "Unquarantine": lambda c: v1.UnquarantineRequest(component=c, tag="bad"),
    "ListQuarantine": lambda c: v1.ListQuarantineRequest(component=c),
    "SetOverride": lambda c: v1.SetOverrideRequest(component=c, repo="acme/web", tag="t1"),
    "DeleteOverride": lambda c: v1.DeleteOverrideRequest(component=c, repo="acme/app"),
    "BatchSetOverrides": lambda c: v1.BatchSetOverridesRequest(
        component=c, overrides=[v1.OverrideChange(repo="acme/web", tag="t1")]
    ),
    "ListOverrides": lambda c: v1.ListOverridesRequest(component=c),
    "SetPolicy": lambda c: v1.SetPolicyRequest(component=c, policy=v1.Policy(queue_mode=2)),
    "GetPolicy": lambda c: v1.GetPolicyRequest(component=c),
    "ListEvents": lambda c: v1.ListEventsRequest(component=c),
    "WhoAmI": lambda _: v1.WhoAmIRequest(),
    "GetServer": lambda _: v1.GetServerRequest(),
    "DeleteComponent": lambda c: v1.DeleteComponentRequest(component=c, confirm=c),
}
"""The request of each row, about a component that `prepared` has made. A word in brackets is a flag."""


def method_of(row: str) -> str:
    return row.partition(" ")[0]


def statuses(channel: Any, tokens: Tokens, *, prepared_over: Any = None) -> dict[str, dict[str, str]]:
    """Returns the status by row and caller. Each call has a component of its own, which is prepared over `prepared_over` if that
    is given, otherwise over `channel`.
    """
    numbers = itertools.count(1)

    def as_admin(method: str, request: Message) -> Any:
        return send(prepared_over or channel, method, request, tokens.metadata("admin"))

    def cell(row: str, caller: str) -> str:
        component = prepared(as_admin, f"restyler-{next(numbers)}")
        found = status(channel, method_of(row), REQUESTS[row](component), tokens.metadata(caller))
        as_admin("Unfreeze", v1.UnfreezeRequest(all=True))
        return found

    def settled(row: str, caller: str) -> str:
        """A server on a busy machine may be unavailable for a moment."""
        return next((found for _ in range(5) if (found := cell(row, caller)) != "UNAVAILABLE"), "UNAVAILABLE")

    return {row: {caller: settled(row, caller) for caller in CALLERS} for row in REQUESTS}


@contextlib.contextmanager
def serving(redis_url: str, namespace: str) -> Iterator[tuple[grpc.Channel, Tokens]]:
    """A server with tokens of every kind, one of which was revoked while it runs."""
    with short_directory() as directory:
        tokens = tokens_of_every_kind(directory / "access.toml")
        settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False}
        with (
            testing.run(directory, redis_url, **settings) as target,
            grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
        ):
            revoke(channel, tokens, "revoked")
            yield channel, tokens


def revoke(channel: grpc.Channel, tokens: Tokens, name: str) -> None:
    """Takes a grant out of the file, and waits until the server has seen that."""
    assert status(channel, "WhoAmI", v1.WhoAmIRequest(), tokens.metadata(name)) == "OK"
    tokens.revoke(name)
    eventually(lambda: status(channel, "WhoAmI", v1.WhoAmIRequest(), tokens.metadata(name)) != "OK")


def main() -> int:
    """Prints the table."""
    with store_server(VALKEY) as store, serving(store.url, "table") as (channel, tokens):
        found = statuses(channel, tokens)
    print(markdown(["RPC", *CALLERS], [[row, *cells.values()] for row, cells in found.items()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
