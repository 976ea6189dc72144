"""What a servicer is told of a call beside its request."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from rampd._contract.grammar import ACTOR, ACTOR_KEY, word_violation
from rampd_server.access.grants import Caller

ANONYMOUS = "anonymous"
Context = grpc.aio.ServicerContext[Any, Any]

_REQUEST_ID = "request_id"
_DESCRIBES = frozenset({"note", "attributes"})
"""Fields that say something of a request, and ask for nothing."""
_DIGEST = 32
_SHORT_DIGEST = 4


class Call:
    """One call: which method, by whom, with how much time. What costs something is worked out when it is asked for."""

    __slots__ = ("_context", "_name", "_request", "caller")

    def __init__(self, name: str, request: Message, context: Context, caller: Caller) -> None:
        self.caller = caller
        self._name = name
        self._request = request
        self._context = context

    @property
    def method(self) -> str:
        """The short name of the method: `Ramp`."""
        return self._name.rpartition("/")[2]

    @property
    def actor(self) -> str:
        """Who calls, as the history has it: the identity that was proven, and for whom it says to act; without a proven one,
        who the caller says it is in the metadata `x-rampd-actor`, or `anonymous`.
        """
        claimed = _claimed(self._context)
        if self.caller.identity == ANONYMOUS:
            return claimed[0] if claimed else ANONYMOUS
        return f"{self.caller.identity} (for {claimed[0]})" if claimed else self.caller.identity

    @property
    def is_actor_claimed(self) -> bool:
        """Whether `actor` is the caller's own word."""
        return self.caller.identity == ANONYMOUS and bool(_claimed(self._context))

    @property
    def identity(self) -> str:
        """Whom the caller's credentials prove. Without credentials everybody is `anonymous`, whatever they claim: of names that
        anybody may choose, one launcher would have as many as it likes.
        """
        return self.caller.identity

    def sees(self, component: str) -> bool:
        """Whether a component is there for the caller."""
        return self.caller.grant.sees_every_component or self.caller.grant.sees(component)

    @property
    def timeout_s(self) -> float | None:
        """Seconds that are left; None where the caller set no deadline."""
        return self._context.time_remaining()

    @property
    def digest(self) -> str:
        """Of method, identity and content: what a repeat of a request id must be equal in. What only describes a request
        is no content, and who somebody claims to be is no identity: both differ when a build is run again.
        """
        content = self._only(lambda name: name not in _DESCRIBES and name != _REQUEST_ID)
        return _digest(f"{self._name}\0{self.identity}\0".encode(), content)[:_DIGEST]

    @property
    def parts(self) -> Mapping[str, str]:
        """The short name of the method, and a short digest of the actor and of each field that is set: enough to tell in
        what a repeat of a request id differs.
        """
        names = [field.name for field, _ in self._request.ListFields() if field.name != _REQUEST_ID]
        fields = {name: _digest(b"", self._only(name.__eq__))[:_SHORT_DIGEST] for name in names}
        return {"method": self.method, "actor": _digest(self.actor.encode())[:_SHORT_DIGEST], **fields}

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
    """What is wrong with the actor that the metadata claims: (field, text)."""
    claimed = _claimed(context)
    if len(claimed) > 1:
        return [(ACTOR_KEY, f"given {len(claimed)} times, once is enough")]
    wrong = word_violation(ACTOR, claimed[0], required=True) if claimed else None
    return [] if wrong is None else [(ACTOR_KEY, wrong)]


def _claimed(context: Context) -> Sequence[str]:
    return [str(value) for key, value in context.invocation_metadata() or () if key == ACTOR_KEY]
