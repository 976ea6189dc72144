"""A launcher forks after it has resolved: its children can resolve, and the launcher goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from rampd import v1
from tests.rpc.scripted_server import ScriptedServer, scripted_server

pytestmark = pytest.mark.timeout(400)
CHILDREN = 100

BLOCKING = """
    import os, sys, threading
    from rampd import Resolver

    resolver = Resolver(sys.argv[1], mode="rpc", timeout=60)

    def resolve():
        return resolver.resolve("restyler", repo="acme/app").tag
"""
ASYNCIO = """
    import asyncio, os, sys, threading
    from rampd import AsyncResolver

    resolver = AsyncResolver(sys.argv[1], mode="rpc", timeout=60)

    def resolve():
        async def main():
            return (await resolver.resolve("restyler", repo="acme/app")).tag
        return asyncio.run(main())
"""
FORK = """
    def children():
        for _ in range(int(sys.argv[2])):
            child = os.fork()
            if not child:
                try:
                    os._exit(0 if resolve() == "20200409" else 1)
                except BaseException as error:
                    print(repr(error), file=sys.stderr, flush=True)
                    os._exit(2)
            yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
IN_TURN = """
    resolve()
    print([*children()], resolve())
"""
BESIDE_A_BUSY_THREAD = """
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            resolve()

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        codes = [*children()]
    finally:
        stop.set()
        thread.join()
    print(codes, resolve())
"""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        script.answers["Resolve"] = [v1.ResolveResponse(tag="20200409")]
        yield script


@pytest.mark.parametrize(
    "parts",
    [(BLOCKING, FORK, IN_TURN), (BLOCKING, FORK, BESIDE_A_BUSY_THREAD), (ASYNCIO, FORK, IN_TURN)],
    ids=["blocking", "blocking, beside a busy thread", "asyncio"],
)
def test_children_resolve_and_the_parent_goes_on(server: ScriptedServer, parts: tuple[str, ...]) -> None:
    assert run(parts, server, CHILDREN) == f"{[0] * CHILDREN} 20200409\n"


def test_a_resolver_that_was_not_used_before_the_fork_is_used_after_it(server: ScriptedServer) -> None:
    assert run((BLOCKING, FORK, "print([*children()], resolve())"), server, 3) == "[0, 0, 0] 20200409\n"


def run(parts: tuple[str, ...], server: ScriptedServer, children: int) -> str:
    """Runs a script and returns what it prints. The script and all its children must end in time."""
    script = "".join(map(textwrap.dedent, parts))
    process = subprocess.Popen(
        [sys.executable, "-c", script, server.target, str(children)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, complained = process.communicate(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == 0, complained
    return printed
