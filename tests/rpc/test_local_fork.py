"""A launcher forks while it watches: every child resolves and watches by itself, and the parent goes on."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers import Stubs

pytestmark = pytest.mark.timeout(400)
CHILDREN = 100

RESOLVERS = {
    "blocking": """
        from rampd import Resolver

        def make():
            return Resolver(sys.argv[1], timeout=60)

        def resolve():
            return resolver.resolve("restyler", repo="acme/app").tag
    """,
    "asyncio": """
        import asyncio
        from rampd import AsyncResolver

        def make():
            return AsyncResolver(sys.argv[1], timeout=60)

        def resolve():
            async def main():
                return (await resolver.resolve("restyler", repo="acme/app")).tag
            return asyncio.run(main())
    """,
}
FORK = """
    import os, signal, sys, time

    def is_watching():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if resolver.status().connected:
                return True
            time.sleep(0.005)
        return False

    def child():
        child = os.fork()
        if not child:
            signal.alarm(150)
            try:
                os._exit(0 if resolve() == "t1" and is_watching() else 1)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    resolver = make()
    if sys.argv[3] == "used":
        resolve()
    codes = [child() for _ in range(int(sys.argv[2]))]
    print([code for code in codes if code], resolve(), is_watching())
"""


@pytest.mark.parametrize(("before", "children"), [("used", CHILDREN), ("unused", 5)])
@pytest.mark.parametrize("kind", RESOLVERS)
def test_children_resolve_and_the_parent_goes_on(
    target: str, call: Stubs, kind: str, before: str, children: int
) -> None:
    call("Release", component="restyler", tag="t1")
    assert run(kind, target, before, children)[0] == "[] t1 True\n"


@contextmanager
def writing(call: Stubs) -> Iterator[None]:
    """Makes changes all the time until the block ends."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.002):
            number += 1
            call("SetOverride", component="restyler", repo=f"x/{number % 50}", tag=f"t{number}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


def test_no_thread_is_inside_grpc_when_a_process_forks_while_it_receives_changes(target: str, call: Stubs) -> None:
    call("Release", component="restyler", tag="t1")
    with writing(call):
        said, complained = run("blocking", target, "used", CHILDREN, GRPC_VERBOSITY="info")
    assert said == "[] t1 True\n"
    # gRPC prints this if its fork handlers did not run. Then its children may crash.
    assert "skipping fork" not in complained


CALLS_UNDER_WAY = """
    import asyncio, os, signal, sys
    from rampd import AsyncResolver

    resolver = AsyncResolver(sys.argv[1], mode="rpc", timeout=60)

    async def ask():
        return (await resolver.resolve("restyler", repo="acme/app")).tag

    async def ask_on(end):
        while not end.is_set():
            await ask()

    async def main():
        end = asyncio.Event()
        asking = [asyncio.create_task(ask_on(end)) for _ in range(4)]
        codes = []
        for _ in range(int(sys.argv[2])):
            await asyncio.sleep(0.002)
            child = os.fork()
            if not child:
                signal.alarm(150)
                asyncio._set_running_loop(None)
                tag = asyncio.new_event_loop().run_until_complete(ask())
                os._exit(0 if tag == "t1" else 1)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        end.set()
        await asyncio.gather(*asking)
        print([code for code in codes if code], await ask())

    asyncio.run(main())
"""


def test_a_fork_during_asyncio_calls_breaks_no_child(target: str, call: Stubs) -> None:
    call("Release", component="restyler", tag="t1")
    said, complained = run_script(CALLS_UNDER_WAY, target, str(CHILDREN), GRPC_VERBOSITY="info")
    assert said == "[] t1\n"
    assert "skipping fork" not in complained


def run(kind: str, target: str, before: str, children: int, **environment: str) -> tuple[str, str]:
    """Runs the program of this kind. Returns its output and its errors."""
    script = "import sys\n" + textwrap.dedent(RESOLVERS[kind]) + textwrap.dedent(FORK)
    return run_script(script, target, str(children), before, **environment)


def run_script(script: str, *arguments: str, **environment: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout, done.stderr[-20_000:]
