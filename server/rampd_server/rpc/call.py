"""The data of a call that a servicer gets beside the request."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from rampd._contract.grammar import ACTOR, ACTOR_KEY, word_violation
from rampd_server.access.grants import Caller

ANONYMOUS = "anonymous"
Context = grpc.aio.ServicerContext[Any, Any]

_ABOUT_THE_CALL = frozenset({"request_id", "dry_run"})
"""Fields that are no part of what a request asks for. A dry run may name the id of a request that was applied, or that follows."""
_DESCRIBES = frozenset({"note", "attributes"})
"""Fields that only describe a request. They do not change what it asks for."""
_DIGEST = 32
_SHORT_DIGEST = 4
_IDENTITY = 8
"""Longer, because two identities with the same digest would be taken for one."""


class Call:
    """One call: its method, its caller and its time left. Expensive values are computed only when they are read."""

    __slots__ = ("_claims", "_request", "caller", "context", "name")

    def __init__(self, name: str, request: Message, context: Context, caller: Caller) -> None:
        self.caller = caller
        self.context = context
        self.name = name
        """The full name of the method: `rampd.v1.RolloutService/Ramp`."""
        self._request = request
        self._claims: Sequence[str] | None = None

    @property
    def method(self) -> str:
        """The short name of the method: `Ramp`."""
        return self.name.rpartition("/")[2]

    @property
    def actor(self) -> str:
        """The caller's name for the history. It is the proven identity, and for whom the caller claims to act. Without a proven
        identity it is the name that the caller claims in the metadata `x-rampd-actor`, or `anonymous`.
        """
        claimed = self._claimed
        if self.caller.identity == ANONYMOUS:
            return claimed[0] if claimed else ANONYMOUS
        return f"{self.caller.identity} (for {claimed[0]})" if claimed else self.caller.identity

    @property
    def is_actor_claimed(self) -> bool:
        """Whether the caller has claimed `actor` without proof."""
        return self.caller.identity == ANONYMOUS and bool(self._claimed)

    @property
    def identity(self) -> str:
        """The identity that the caller's credentials prove; `anonymous` without credentials. A claimed name does not count,
        because one launcher could claim any number of names.
        """
        return self.caller.identity

    def sees(self, component: str) -> bool:
        """Whether a component is there for the caller."""
        return self.caller.grant.sees_every_component or self.caller.grant.sees(component)

    @property
    def timeout_s(self) -> float | None:
        """The seconds that are left; None if the caller set no deadline."""
        return self.context.time_remaining()

    @property
    def digest(self) -> str:
        """The digest of method, identity and content. A repeat of a request id must have the same digest. Fields that
        only describe a request, and the claimed actor, are not part of it, because both differ when a build is run
        again.
        """
        content = self._only(lambda name: name not in _DESCRIBES and name not in _ABOUT_THE_CALL)
        return _digest(f"{self.name}\0{self.identity}\0".encode(), content)[:_DIGEST]

    @property
    def parts(self) -> Mapping[str, str]:
        """The short name of the method, and a short digest of the identity, of the actor and of each field that is set. They
        show whose a request id is, and in which fields a repeat differs.
        """
        names = [field.name for field, _ in self._request.ListFields() if field.name not in _ABOUT_THE_CALL]
        fields = {name: _digest(b"", self._only(name.__eq__))[:_SHORT_DIGEST] for name in names}
        identity, actor = _digest(self.identity.encode()), _digest(self.actor.encode())
        return {"method": self.method, "identity": identity[:_IDENTITY], "actor": actor[:_SHORT_DIGEST], **fields}

    @property
    def _claimed(self) -> Sequence[str]:
        """The names that the caller claims. They are read once, because gRPC makes a list of all metadata each time."""
        if self._claims is None:
            self._claims = _claimed(self.context)
        return self._claims

    def _only(self, is_kept: Callable[[str], bool]) -> bytes:
        content = type(self._request)()
        content.CopyFrom(self._request)
        for field, _ in self._request.ListFields():
            if not is_kept(field.name):
                content.ClearField(field.name)
        return content.SerializeToString(deterministic=True)


def _digest(*data: bytes) -> str:
    return hashlib.sha256(b"".join(data)).hexdigest()


def actor_violations(context: Context) -> list[tuple[str, str]]:
    """Returns the violations of the actor that the metadata claims: (field, text)."""
    claimed = _claimed(context)
    if len(claimed) > 1:
        return [(ACTOR_KEY, f"given {len(claimed)} times, once is enough")]
    wrong = word_violation(ACTOR, claimed[0], required=True) if claimed else None
    return [] if wrong is None else [(ACTOR_KEY, wrong)]


def _claimed(context: Context) -> Sequence[str]:
    return [str(value) for key, value in context.invocation_metadata() or () if key == ACTOR_KEY]
