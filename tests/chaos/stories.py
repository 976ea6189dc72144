"""Records that are told, and not recorded: a store, a server and callers that do everything right. For tests of the rules."""

from dataclasses import replace
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._decision.resolution import Overrides, resolve
from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.loss import after_loss
from rampd_server.domain.rollout.model import Absent, Freeze, LostRevisions, Rollout, numbered
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Namespace, Override
from rampd_server.replica.projection import choice_of, snapshot_of
from rampd_server.rpc.messages.convert import rollout_message
from rampd_server.storage.codec.feed_entry import overrides_patch, write_namespace, write_overrides
from rampd_server.storage.codec.patch import diff
from tests.chaos.record import Call, Clock, End, Entry, Fault, Known, Life, Record, Watched
from tests.chaos.requests import Asked, asked

WHO = "ada"
_AHEAD_MS = 1_700_000_000_000
_TAKES_S = 0.1
"""How long each call takes. Its change is made in the middle."""


class Story:
    """A record in which time passes only when it is told."""

    def __init__(self) -> None:
        self.record = Record(calls=[], clocks=[Clock(0.0, _AHEAD_MS)], lives=[Life(0, "0-0", 0.0, 0.0)])
        self.at_s = 1.0
        self.head = "0-0"
        self.freeze: Freeze | None = None
        self.states: dict[str, Rollout | Absent] = {}
        self.overrides: dict[str, dict[str, Override]] = {}
        self._confirmed_s = 0.0
        self._past: dict[str, tuple[Any, ...]] = {}

    @property
    def now_ms(self) -> int:
        return round(self.at_s * 1000 + self.record.clocks[-1].ahead_ms)

    def set_clock(self, by_ms: int) -> None:
        """Sets the store's clock on."""
        self.record.clocks.append(Clock(self.at_s, self.record.clocks[-1].ahead_ms + by_ms))

    def wait(self, seconds: float) -> None:
        self.at_s += seconds

    def timestamp(self, in_s: float) -> Timestamp:
        made = Timestamp()
        made.FromMilliseconds(self.now_ms + round(in_s * 1000))
        return made

    def state(self, component: str) -> Rollout | Absent:
        return self.states.get(component, Absent(component))

    # Calls.

    def call(self, method: str, component: str = "restyler", **fields: Any) -> Call:
        """Makes a change. It is refused, or changes nothing, where the state machine says so."""
        fields = {"request_id": f"r{len(self.record.calls)}"} | fields
        request = getattr(v1, f"{method}Request")(component=component, **fields)
        what = asked(method, request)
        if what.freezes_all is not None:
            return self._freeze_all(method, request, what)
        if what.overrides is not None:
            return self._override(method, request, what)
        before = self.state(component)
        try:
            effect = transition(before, what.command, self._context(expected_revision=what.expected_revision))
        except RefusedError as error:
            return self.answer(method, request, code="FAILED_PRECONDITION", reason=error.reason, message=error.message)
        if effect.changed:
            self._commit(component, effect.after, self._author(method, request.request_id))
        found: dict[str, Any] = {
            "changed": effect.changed,
            "message": effect.message,
            "revision": self.state(component).revision,
        }
        if method == "Release":
            found |= {
                "disposition": f"DISPOSITION_{effect.disposition}",
                "release": effect.release,
                "queue_position": effect.queue_position,
            }
        return self.answer(method, request, self._response(method, component, **found))

    def repeat(self, call: Call) -> Call:
        """Sends a request again that was answered."""
        response = type(call.response)()
        response.CopyFrom(call.response)
        response.replayed = True
        response.message = "This request_id was already applied; this is its first result."
        return self.answer(call.method, call.request, response)

    def read(self, component: str = "restyler", server: int = 0) -> Call:
        response = v1.GetRolloutResponse(rollout=self._message(component))
        return self.answer("GetRollout", v1.GetRolloutRequest(component=component), response, server=server)

    def resolve(self, component: str = "restyler", repo: str = "acme/a", server: int = 0, age_s: float = 0.05) -> Call:
        state, overrides = self.state(component), Overrides()
        assert isinstance(state, Rollout)
        for name, override in self.overrides.get(component, {}).items():
            overrides.set(name, choice_of(override))
        found = resolve(snapshot_of(state), overrides, repo, "", lambda: self.now_ms, age_s)
        response = v1.ResolveResponse(
            tag=found.tag,
            release=found.release,
            channel=f"CHANNEL_{found.channel}" if found.channel else None,
            revision=found.revision,
            stale=found.stale,
        )
        response.snapshot_age.FromMilliseconds(round(age_s * 1000))
        return self.answer("Resolve", v1.ResolveRequest(component=component, repo=repo), response, server=server)

    # What others do.

    def rampd(self, action: str, command: commands.Command, component: str = "restyler") -> None:
        """Lets a server change something by itself."""
        effect = transition(self.state(component), command, self._context("rampd"))
        assert effect.changed
        self._commit(component, effect.after, self._author(action, "", "rampd"))
        self.at_s += _TAKES_S

    def watch(self, who: str = "watcher0") -> Watched:
        components = {}
        for name, state in self.states.items():
            if isinstance(state, Rollout):
                overrides = {
                    repo: (each.channel, each.tag, each.expire_ms)
                    for repo, each in self.overrides.get(name, {}).items()
                }
                following = state.next_release.tag if state.next_release else ""
                current = state.current_release.tag
                components[name] = Known(
                    state.revision, state.state.value, current, following, state.basis_points, overrides
                )
        seen = Watched(who, 0, self.at_s, f"epoch/{self.head}", components, self.at_s - 0.1)
        self.record.add(seen)
        self.at_s += _TAKES_S
        return seen

    def fault(self, kind: str, seconds: float, server: int = -1) -> None:
        self.record.add(Fault(kind, server, self.at_s, self.at_s + seconds))
        self.at_s += seconds

    def fail_over(self, head: str, states: dict[str, Rollout | Absent]) -> None:
        """Goes back to an earlier entry."""
        self.record.add(Life(len(self.record.lives), head, self.at_s, self.at_s + 0.1))
        self.fault("failover", 0.1)
        self.head, self.states = head, dict(states)

    def record_loss(self, known: Rollout, component: str = "restyler") -> None:
        """Lets a server that knows a later state say what is lost."""
        stored = self.state(component)
        lost = LostRevisions(stored.revision + 1, known.revision)
        after = after_loss(stored, known, lost, self._context("rampd", note="lost"), protects=True)
        self._commit(component, after, self._author("RecordLoss", "", "rampd", note="lost"))
        self.at_s += _TAKES_S

    def end(self) -> Record:
        """Everybody agrees."""
        for server in range(2):
            self.record.add(End(server, "", self.at_s))
            for component in self.states:
                self.record.add(End(server, component, self.at_s, self._message(component)))
        return self.record

    # How it is written down.

    def _context(self, actor: str = WHO, *, note: str = "", expected_revision: int | None = None) -> Context:
        return Context(self.now_ms, actor, note, expected_revision, self.freeze)

    def _author(self, action: str, request_id: str, actor: str = WHO, *, note: str = "") -> dict[str, str]:
        return {"action": action, "request_id": request_id, "actor": actor, "note": note, "time": str(self.now_ms + 50)}

    def _commit(self, component: str, after: Rollout | Absent, author: dict[str, str]) -> None:
        before = self.state(component)
        fields = {
            "component": component,
            "revision": str(after.revision),
            "base": before.entry,
            "patch": diff(before, after).patch().to_json(),
        }
        if isinstance(after, Absent):
            fields["deleted"] = "1"
            self.overrides.pop(component, None)
        self._append(fields, author)
        self.states[component] = numbered(after, after.revision, self.head)

    def _append(self, fields: dict[str, str], author: dict[str, str]) -> None:
        previous, self.head = self.head, f"{self.now_ms + 50}-1"
        at_s = self.at_s + _TAKES_S / 2
        life = self.record.lives[-1].number
        self.record.add(Entry(life, self.head, fields | {"prev": previous}, author, at_s - 0.01, at_s + 0.01))

    def _override(self, method: str, request: Any, what: Asked) -> Call:
        component, before = what.component, self.state(what.component)
        assert isinstance(before, Rollout)
        assert what.overrides is not None
        fields = {
            "component": component,
            "revision": str(before.revision + 1),
            "base": before.entry,
            "patch": overrides_patch(self.now_ms),
            "overrides": write_overrides(what.overrides),
        }
        self._append(fields, self._author(method, request.request_id))
        self.states[component] = replace(before, revision=before.revision + 1, entry=self.head, update_ms=self.now_ms)
        there = self.overrides.setdefault(component, {})
        for repo, override in what.overrides.items():
            there.pop(repo, None)
            if override is not None:
                there[repo] = override
        found = {"changed": True, "revision": before.revision + 1}
        return self.answer(method, request, self._response(method, component, **found))

    def _freeze_all(self, method: str, request: Any, what: Asked) -> Call:
        self.freeze = Freeze(WHO, "", self.now_ms, what.expire_ms) if what.freezes_all else None
        self._append({"namespace": write_namespace(Namespace(self.freeze))}, self._author(method, request.request_id))
        response = getattr(v1, f"{method}Response")(changed=True, frozen_all=bool(what.freezes_all))
        return self.answer(method, request, response)

    def _message(self, component: str) -> v1.Rollout | None:
        state = self.state(component)
        return rollout_message(state, Namespace(self.freeze), self.now_ms) if isinstance(state, Rollout) else None

    def _response(self, method: str, component: str, **fields: Any) -> Any:
        return getattr(v1, f"{method}Response")(rollout=self._message(component), **fields)

    def answer(self, method: str, request: Any, response: Any = None, server: int = 0, **error: str) -> Call:
        """Makes any call, with this answer."""
        call = Call(WHO, server, method, request, self.at_s, self.at_s + _TAKES_S, response, **error)
        self.record.add(call)
        self.at_s += _TAKES_S
        return call
