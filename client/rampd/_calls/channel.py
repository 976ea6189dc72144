"""How to open a channel to a server: the options for calls, and the options for Watch."""

import json
from typing import TypeAlias

import grpc
from grpc.experimental import ChannelOptions

from rampd._calls.methods import SERVICES
from rampd._calls.target import channel_target
from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd._runtime.green_threads import adapt_grpc

Options: TypeAlias = tuple[tuple[str, str | int], ...]

_CONNECT_MS = 5_000
_RECONNECT_MS = (100, 5_000)
_KEEPALIVE_MS = 10_000
_KEEPALIVE_TIMEOUT_MS = 3_000

CHANNEL_OPTIONS: Options = (
    (
        "grpc.service_config",
        json.dumps(
            {
                "methodConfig": [
                    {
                        "name": [{"service": service.full_name} for service in SERVICES],
                        # gRPC draws each pause at random, from 0 to these values.
                        "retryPolicy": {
                            "maxAttempts": 4,
                            "initialBackoff": "0.05s",
                            "maxBackoff": "0.5s",
                            "backoffMultiplier": 2,
                            # gRPC's server answers CANCELLED to a call that it has not looked at, because it is too busy
                            # or stops. A call that is cancelled on this side is not tried again.
                            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                        },
                    }
                ],
                # Otherwise every client asks a server that is down four times.
                "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
            }
        ),
    ),
    # After a fork, a child that shares subchannels with its parent fails or hangs: grpc/grpc#43055.
    ("grpc.use_local_subchannel_pool", 1),
    # The proxy in the environment is for the web, not for a rampd server.
    ("grpc.enable_http_proxy", 0),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS[0]),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS[1]),
    # A half-open link is noticed after both times together.
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
)
"""Options for the channel of every call except Watch."""

WATCH_OPTIONS: Options = tuple(
    {
        **dict(CHANNEL_OPTIONS),
        # The feed decides when to try again. gRPC's own retries would come on top of that.
        "grpc.enable_retries": 0,
        # A dead link must be noticed soon. A server accepts pings as often as this.
        "grpc.keepalive_time_ms": 5_000,
        "grpc.keepalive_timeout_ms": 2_000,
        # With this, only the reading thread is inside gRPC, so that the gate knows when no thread is inside.
        ChannelOptions.SingleThreadedUnaryStream: 1,
    }.items()
)
"""Options for the channel of Watch."""


def open_channel(
    target: str, options: Options = CHANNEL_OPTIONS, credentials: grpc.ChannelCredentials | None = None
) -> grpc.Channel:
    """Returns a channel to a checked target. It connects at its first call."""
    adapt_grpc()
    if credentials is not None:
        return grpc.secure_channel(channel_target(target), credentials, options=options)
    return grpc.insecure_channel(channel_target(target), options=options)
