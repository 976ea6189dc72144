"""Hostile clients, each a process of its own: `python -m tests.hostile KIND TARGET TOKEN` attacks until it is ended.

They write the frames of HTTP/2 themselves, because gRPC's own client is slower than the server, and keeps to the rules.
"""

import base64
import contextlib
import itertools
import json
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing

from rampd import v1
from rampd._contract.token import new_token
from tests.bench.http2 import CONTINUATION, END_HEADERS, HEADERS, RST_STREAM, Http2, frame

RESOLVE, WATCH = "/rampd.v1.ResolverService/Resolve", "/rampd.v1.ResolverService/Watch"
QUESTION = v1.ResolveRequest(component="restyler", repo="acme/app", job_id="4711").SerializeToString()
EVERYTHING = v1.WatchRequest().SerializeToString()
CONNECTIONS, AT_ONCE = 4, 50
CANCEL = b"\0\0\0\x08"
_AGAIN_S = 0.01


def flood(target: str, path: str, message: bytes, tokens: Iterator[str]) -> None:
    """Keeps `AT_ONCE` calls under way on each connection. A refused connection is opened again."""
    while True:
        with contextlib.suppress(OSError), ExitStack() as stack, selectors.DefaultSelector() as selector:
            for _ in range(CONNECTIONS):
                connection = stack.enter_context(closing(Http2(target)))
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                connection.socket.sendall(b"".join(_calls(connection, path, message, tokens, AT_ONCE)))
            while True:
                for key, _ in selector.select():
                    ended = sum(is_end for _, _, is_end in key.data.read())
                    key.data.socket.sendall(b"".join(_calls(key.data, path, message, tokens, ended)))
        time.sleep(_AGAIN_S)


def _calls(connection: Http2, path: str, message: bytes, tokens: Iterator[str], number: int) -> Iterator[bytes]:
    for token in itertools.islice(tokens, number):
        yield connection.request(path, message, [("authorization", f"Bearer {token}")])


def flood_of_resolve(target: str, token: str) -> None:
    """Calls Resolve without a pause."""
    flood(target, RESOLVE, QUESTION, itertools.repeat(token))


def flood_of_wrong_tokens(target: str, _token: str) -> None:
    """Sends tokens with a right checksum that no grant has."""
    flood(target, RESOLVE, QUESTION, iter(new_token, ""))


def flood_of_random_key_ids(target: str, _token: str) -> None:
    """Sends tokens of a trusted issuer, each with another key id."""
    flood(target, RESOLVE, QUESTION, iter(_token_of_issuer, ""))


def _token_of_issuer() -> str:
    parts = ({"alg": "RS256", "kid": secrets.token_hex(8)}, {"iss": ISSUER, "exp": 4e9, "sub": "x"})
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, base64.urlsafe_b64encode(secrets.token_bytes(256)).decode().rstrip("=")])


ISSUER = "http://127.0.0.1:1"
"""Nobody answers there, which is worse for a server than an issuer that answers."""


def flood_of_wrong_requests(target: str, _token: str) -> None:
    """Sends batches in which every field is wrong, without a token: each costs the server more than a Resolve."""
    wrong = v1.ResolveRequest(component="A", repo=" ", job_id=" ")
    message = v1.BatchResolveRequest(requests=[wrong] * 200).SerializeToString()
    flood(target, "/rampd.v1.ResolverService/BatchResolve", message, itertools.repeat("none"))


def flood_of_watch(target: str, token: str) -> None:
    """Opens streams of Watch without a pause. Opens each stream again that ends or is refused."""
    flood(target, WATCH, EVERYTHING, itertools.repeat(token))


def streams_never_read(target: str, token: str) -> None:
    """Opens as many streams as the server takes, and reads nothing."""
    with ExitStack() as stack:
        while True:
            with contextlib.suppress(OSError):
                connection = stack.enter_context(closing(Http2(target, window=1024)))
                connection.socket.settimeout(5)
                connection.socket.sendall(b"".join(_calls(connection, WATCH, EVERYTHING, itertools.repeat(token), 100)))
            time.sleep(1)


def huge_headers(target: str, token: str) -> None:
    """Sends calls with a megabyte of headers, in pieces."""
    more = [("authorization", f"Bearer {token}"), *((f"x-{number}", "x" * 8192) for number in range(128))]
    while True:
        with contextlib.suppress(OSError), closing(Http2(target)) as connection:
            connection.socket.settimeout(5)
            for _ in range(100):
                stream, headers = connection.head(RESOLVE, more)
                pieces = [headers[place : place + 16_384] for place in range(0, len(headers), 16_384)]
                frames = [frame(CONTINUATION, 0, stream, piece) for piece in pieces]
                frames[0] = frame(HEADERS, 0, stream, pieces[0])
                frames[-1] = frame(CONTINUATION, END_HEADERS, stream, pieces[-1])
                connection.socket.sendall(b"".join(frames))
        time.sleep(_AGAIN_S)


def rapid_resets(target: str, token: str) -> None:
    """Begins calls and cancels each at once, so that no limit of calls under way counts them (CVE-2023-44487)."""
    more = [("authorization", f"Bearer {token}")]
    while True:
        with contextlib.suppress(OSError), closing(Http2(target)) as connection:
            connection.socket.settimeout(5)
            while True:
                frames = []
                for _ in range(100):
                    stream, headers = connection.head(RESOLVE, more)
                    frames.append(frame(HEADERS, END_HEADERS, stream, headers) + frame(RST_STREAM, 0, stream, CANCEL))
                connection.socket.sendall(b"".join(frames))
                connection.socket.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    if not connection.socket.recv(1 << 20):
                        break
                connection.socket.settimeout(5)
        time.sleep(_AGAIN_S)


def slow_handshakes(target: str, _token: str) -> None:
    """Holds hundreds of connections that never send a whole message. Opens each connection again that the server ends."""
    host, _, port = target.rpartition(":")
    held: list[socket.socket] = []
    while True:
        with contextlib.suppress(OSError):
            while len(held) < 500:
                held.append(socket.create_connection((host, int(port)), timeout=5))
        for each in list(held):
            try:
                each.sendall(b"P")
            except OSError:
                held.remove(each)
                each.close()
        time.sleep(1)


KINDS: Mapping[str, Callable[[str, str], None]] = {
    each.__name__.replace("_", " "): each
    for each in (
        *(flood_of_resolve, flood_of_wrong_tokens, flood_of_random_key_ids, flood_of_wrong_requests, flood_of_watch),
        *(streams_never_read, huge_headers, rapid_resets, slow_handshakes),
    )
}


@contextlib.contextmanager
def attacking(kind: str, target: str, token: str) -> Iterator[None]:
    """Attacks for as long as the block lasts. The attacker has the lowest priority, so that the honest client beside it on the
    same machine measures the server and not the attacker.
    """
    command = [*("nice", "-n", "19"), sys.executable, "-m", "tests.hostile", kind, target, token]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        assert process.poll() is None, "the attacker has ended"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    print("attacking", flush=True)
    KINDS[sys.argv[1]](*sys.argv[2:])
