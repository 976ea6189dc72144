"""How a server is asked which version a repo runs: once, to check its answers, and then as fast as h2load can."""

from collections.abc import Callable

import grpc
import httpx

from tests.bench.load import Load, LoadOfJson
from tests.bench.peers.contender import CURRENT, NEXT, REPOS, Contender

Request = Callable[[str], bytes]
"""What a server is sent to ask about a repo."""


def over_grpc(name: str, target: str, method: str, request: Request) -> Load:
    """Checks the answers of a server, and returns the load for it.

    Raises AssertionError if an answer is wrong, and grpc.RpcError if a status is not OK.
    """
    with grpc.insecure_channel(target) as channel:
        ask = channel.unary_unary(f"/{method}")
        Contender(name, lambda repo: ask(request(repo), timeout=5), _tag).check()
    return Load(target, method, request(REPOS[0]))


def over_http(name: str, target: str, path: str, request: Request) -> Load:
    """The same for a server that takes JSON over HTTP. Raises httpx.HTTPStatusError if a status is not 200."""
    with httpx.Client(base_url=f"http://{target}", headers={"content-type": "application/json"}) as client:
        Contender(name, lambda repo: client.post(path, content=request(repo)).raise_for_status().content, _tag).check()
    return LoadOfJson(target, path, request(REPOS[0]))


def _tag(answer: bytes) -> str:
    """Returns the version in an answer of any form. Each version has a text of its own."""
    return next(tag for tag in (CURRENT, NEXT) if tag.encode() in answer)
