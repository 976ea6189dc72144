"""What docs/security.md says of the edges of access, tried: what answers everybody, and what is not stored."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis import Redis

from rampd import v1
from rampd._contract.token import digest_of
from tests.rpc.access_table import Tokens, send, status
from tests.servers import rampd_server, require
from tests.stores import REDIS, VALKEY, StoreServer, store_server

WRONG = (("authorization", "Bearer nonsense"),)


@pytest.fixture
def tokens(directory: Path) -> Tokens:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ada", "admin")
    return tokens


def listed(target: str) -> "subprocess.CompletedProcess[str]":
    """What grpcurl learns about the services without a credential."""
    words = [require("grpcurl"), "-plaintext", target, "list"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def channel_to(target: str) -> grpc.Channel:
    return grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])


def test_health_and_reflection_answer_everybody_and_name_no_component(directory: Path, tokens: Tokens) -> None:
    with rampd_server(directory, "--access-file", str(tokens.path)) as server:
        server.event("serving")
        with channel_to(server.target) as channel:
            send(channel, "Release", v1.ReleaseRequest(component="restyler", tag="t1"), tokens.metadata("ada"))
            assert status(channel, "ListRollouts", v1.ListRolloutsRequest()) == "UNAUTHENTICATED"
            health = health_pb2_grpc.HealthStub(channel)
            found = [health.Check(health_pb2.HealthCheckRequest()), health.List(health_pb2.HealthListRequest())]
        services = listed(server.target).stdout
        assert "rampd.v1.RolloutService\n" in services
        assert "restyler" not in services + repr(found)


def test_reflection_can_be_turned_off(directory: Path, tokens: Tokens) -> None:
    with rampd_server(directory, "--access-file", str(tokens.path), "--no-reflection") as server:
        server.event("serving")
        assert "does not support the reflection API" in listed(server.target).stderr


def test_a_wrong_header_is_refused_at_the_socket_too_and_not_looked_at_without_an_access_file(
    directory: Path, tokens: Tokens
) -> None:
    for flags, expected in ((("--access-file", str(tokens.path)), "UNAUTHENTICATED"), ((), "OK")):
        with rampd_server(directory / "s", *flags) as server:
            server.event("serving")
            with channel_to(f"unix:{server.socket}") as channel:
                assert status(channel, "WhoAmI", v1.WhoAmIRequest()) == "OK"
                assert status(channel, "WhoAmI", v1.WhoAmIRequest(), WRONG) == expected
            assert server.stop() == 0


@pytest.fixture(params=[VALKEY, REDIS])
def store(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with store_server(request.param) as running:
        yield running


def content(redis: Redis, key: bytes) -> object:
    match redis.type(key):
        case b"hash":
            return redis.hgetall(key)
        case b"stream":
            return redis.xrange(key)
        case b"zset":
            return redis.zrange(key, 0, -1)
        case b"set":
            return redis.smembers(key)
        case kind:
            assert kind == b"string"
            return redis.get(key)


def test_a_reader_of_redis_or_of_the_data_directory_finds_no_token_and_no_digest(
    directory: Path, tokens: Tokens, store: StoreServer
) -> None:
    data = directory / "data"
    flags = ("--access-file", str(tokens.path), "--redis-url", store.url)
    with rampd_server(data, *flags) as server:
        server.event("serving")
        with channel_to(server.target) as channel:
            request = v1.ReleaseRequest(component="restyler", tag="t1", request_id="build-1")
            send(channel, "Release", request, tokens.metadata("ada"))
        assert server.stop() == 0
    with Redis.from_url(store.url) as redis:
        kept = b"".join(repr((key, content(redis, key))).encode() for key in redis.scan_iter())
    files = [path for path in data.rglob("*") if path.is_file()]
    kept += b"".join(path.read_bytes() for path in files)
    assert b"ada" in kept
    token = tokens.of["ada"]
    for secret in (token, digest_of(token), digest_of(token)[7:39]):
        assert secret.encode() not in kept
    assert files
    assert [path for path in files if path.stat().st_mode & 0o077] == []
