"""The RPCs of rampd.v1, from its descriptors, and how a call of one is bounded and tried again. No I/O here."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rampd._contract.grammar import shown
from rampd._runtime.backoff import chance as of_the_system
from rampd.errors import InvalidArgumentError, RampdError
from rampd.v1 import release_service_pb2, resolver_service_pb2, rollout_service_pb2

_SERVICES = tuple(
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


METHODS: Mapping[type[Message], Method] = {
    GetMessageClass(method.input_type): Method(
        name=method.name,
        path=f"/{service.full_name}/{method.name}",
        streams=method.server_streaming,
    )
    for service in _SERVICES
    for method in service.methods
}
"""Every RPC by the type of its request: each has its own."""

_CONNECT_MS = 5_000
_RECONNECT_MS = (100, 5_000)
_KEEPALIVE_MS = 10_000
_KEEPALIVE_TIMEOUT_MS = 3_000
_MAX_MESSAGE = 4 * 1024 * 1024

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    (
        "grpc.service_config",
        json.dumps(
            {
                "methodConfig": [
                    {
                        "name": [{"service": service.full_name} for service in _SERVICES],
                        # gRPC draws each pause at random, from nothing up to these.
                        "retryPolicy": {
                            "maxAttempts": 4,
                            "initialBackoff": "0.05s",
                            "maxBackoff": "0.5s",
                            "backoffMultiplier": 2,
                            # CANCELLED is what gRPC's server says of a call that it has not looked at, where it is too
                            # busy or stops. What is cancelled here is not tried again.
                            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                        },
                    }
                ],
                # A server that is down for everybody is not asked four times by everybody.
                "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
            }
        ),
    ),
    # After a fork, a child that shares subchannels with its parent fails or hangs: grpc/grpc#43055.
    ("grpc.use_local_subchannel_pool", 1),
    # A rampd server is next door; a proxy that the environment names for the web is none of its business.
    ("grpc.enable_http_proxy", 0),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS[0]),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS[1]),
    # A link that is half open shows after both together.
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
)

_FIRST_PAUSE_S = 0.02
_MAX_PAUSE_S = 0.5
_MAX_TIMEOUT_S = 1_000_000_000
"""30 years, which locks of Python and deadlines of gRPC can still count."""


class Attempts:
    """The tries of one call, all within one deadline.

    gRPC itself tries again what is UNAVAILABLE or was CANCELLED by the server. CONTENTION is tried again here: it is an answer like any other to gRPC,
    whose retries know status codes and no reasons.
    """

    __slots__ = ("_chance", "_deadline", "_failures")

    def __init__(self, timeout_s: float, now_s: float, chance: Callable[[], float] = of_the_system) -> None:
        self._deadline = now_s + timeout_s
        self._chance = chance
        self._failures = 0

    def left_s(self, now_s: float) -> float:
        """Seconds until the deadline, 0 after it. `now_s` is the clock of the constructor."""
        return max(0.0, self._deadline - now_s)

    def pause_s(self, error: RampdError, now_s: float) -> float | None:
        """Seconds to wait before the next try; None: it stays with this error."""
        if error.reason != "CONTENTION":
            return None
        pause = min(_FIRST_PAUSE_S * 2**self._failures, _MAX_PAUSE_S) * (0.5 + self._chance() / 2)
        self._failures += 1
        return pause if pause < self.left_s(now_s) else None


def checked_timeout(timeout: float) -> float:
    """A time-out in seconds. Raises InvalidArgumentError."""
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout <= _MAX_TIMEOUT_S:
        return timeout
    expected = f"must be a number of seconds above 0, at most {_MAX_TIMEOUT_S:,}"
    raise InvalidArgumentError(violations=[("timeout", f"{expected}; got {shown(timeout)}")])


_SCHEMES = ("unix-abstract:", "dns:", "ipv4:", "ipv6:")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@]*@)?(.*)", re.DOTALL)
_HOST_PORT = re.compile(r"[A-Za-z0-9.:\[\]_-]+:[0-9]+")
_NO_HOST = frozenset("/@?#\\")


def checked_target(target: str) -> str:
    """An address of a server, which `channel_target` takes. Raises InvalidArgumentError."""
    wrong = _what_is_wrong(target)
    if wrong:
        # What has an @ may have a password before it.
        got = "" if isinstance(target, str) and "@" in target else f"; got {shown(target)}"
        raise InvalidArgumentError(violations=[("target", f"{wrong}{got}")])
    return target


def channel_target(target: str) -> str:
    """A checked target in gRPC's notation, which has the path of a socket as a URL has it."""
    if target.startswith("unix:"):
        return "unix:" + quote(os.fsencode(_path(target)))
    return target


def _path(target: str) -> str:
    """After `unix://` comes a URL's path, in which `%20` is a space; after `unix:` the path as it is."""
    if target.startswith("unix://"):
        return unquote(target.removeprefix("unix://"), errors="surrogateescape")
    return target.removeprefix("unix:")


def _what_is_wrong(target: object) -> str:
    expected = 'must be "host:port" or "unix:/path/of/a/socket"'
    if not isinstance(target, str):
        return expected
    if target.startswith("unix:"):
        path = _path(target)
        if not path or "\0" in path:
            return expected
        if target.startswith("unix://") and not path.startswith("/"):
            return "must have an absolute path after unix://, as in unix:///run/rampd.sock"
        return ""
    if not target.isprintable() or " " in target:
        return expected
    if target.startswith(_SCHEMES) and target not in _SCHEMES:
        return ""
    if url := _URL.fullmatch(target):
        return _what_is_wrong_with_a_url(url[1].lower(), url[2].partition("/")[0])
    host, _, port = target.rpartition(":")
    is_port = port.isdecimal() and port.isascii() and 0 < int(port) < 65536
    return "" if host and is_port and not _NO_HOST & set(host) else expected


def _what_is_wrong_with_a_url(scheme: str, place: str) -> str:
    told = f'must be "{place if _HOST_PORT.fullmatch(place) else "host:port"}", without {scheme}://'
    if scheme == "https":
        return f"{told}: there is no TLS yet"
    if scheme in {"redis", "rediss"}:
        return 'must be "host:port" of a rampd server; the Redis is what only the server is told of'
    return told
