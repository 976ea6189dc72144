"""A watcher: follows Watch as a launcher does, and records what it knows after each message."""

import threading
import time
from collections.abc import Mapping

import grpc

from rampd._contract.component_state import Component, MalformedStateError
from rampd._watching.feed import Feed
from rampd.v1 import resolver_service_pb2_grpc
from tests.chaos.fleet import Fleet
from tests.chaos.record import Known, Record, Watched

_STREAM_S = 5.0
"""A stream ends after this time, so that the watcher resumes from its cursor now and then."""


class Watcher:
    """Follows one server."""

    def __init__(self, who: str, fleet: Fleet, server: int, record: Record) -> None:
        self._who = who
        self._server = server
        self._record = record
        self._feed = Feed()
        self._channel = fleet.channel(server)
        self._stub = resolver_service_pb2_grpc.ResolverServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def run(self, over: threading.Event) -> None:
        while not over.is_set():
            call = self._stub.Watch(self._feed.begin(), timeout=_STREAM_S)
            is_rewound = False
            try:
                for message in call:
                    is_rewound = is_rewound or message.HasField("rewind")
                    self._feed.take(message)
                    self._note(is_rewound=is_rewound)
                    is_rewound = is_rewound and not message.state.last
                    if over.is_set():
                        call.cancel()
                        return
            except MalformedStateError as error:
                self._note(problem=str(error))
                self._feed.lost(None)
                call.cancel()
            except grpc.RpcError:
                self._feed.lost(None)
                time.sleep(0.05)

    def _note(self, *, is_rewound: bool = False, problem: str = "") -> None:
        feed = self._feed
        if not feed.cursor:
            return
        components = {name: known_of(component) for name, component in feed.components.items()}
        confirmed_s = max(feed.confirmed_s, -1e9)
        now_s = time.monotonic()
        self._record.add(
            Watched(self._who, self._server, now_s, feed.cursor, components, confirmed_s, is_rewound, problem)
        )


def known_of(component: Component) -> Known:
    snapshot = component.snapshot
    return Known(
        snapshot.revision,
        snapshot.state.value,
        snapshot.current.tag,
        snapshot.next.tag if snapshot.next else "",
        snapshot.basis_points,
        overrides_of(component),
    )


def overrides_of(component: Component) -> Mapping[str, tuple[str, str, int | None]]:
    return {
        repo: (choice.channel.value if choice.channel else "", choice.tag, choice.expire_ms)
        for repo, choice in component.overrides.items()
    }
