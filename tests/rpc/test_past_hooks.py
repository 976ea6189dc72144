"""A program forks without running Python's fork hooks, as uWSGI does. Its children go on, or say why they can't."""

import pytest

from tests.rpc.test_local_fork import run_script
from tests.servers import Stubs

pytestmark = pytest.mark.timeout(400)
CHILDREN = 30

START = """
    import ctypes, os, signal, sys, time
    from rampd import Admin, AsyncResolver, RampdError, Resolver

    # A thread that has waited this long for the interpreter's lock asks for it. A child that is forked at that moment gives the
    # lock away, and waits for ever for a thread that it does not have. This is a defect of Python, not of rampd.
    sys.setswitchinterval(3600)
    fork = ctypes.PyDLL(None).fork
    target, number = sys.argv[1], int(sys.argv[2])

    def children(work):
        codes = []
        for _ in range(number):
            child = fork()
            if not child:
                signal.alarm(200)
                try:
                    os._exit(0 if work() else 1)
                except BaseException as error:
                    print(repr(error), file=sys.stderr, flush=True)
                    os._exit(2)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return [code for code in codes if code]

    def until(condition):
        end = time.monotonic() + 50
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        return condition()
"""
WATCHING = """
    from rampd._runtime.fork_gate import call_gate

    resolver, unused = Resolver(target, timeout=50), Admin(target, timeout=50)
    ask = lambda repo: resolver.resolve("restyler", repo=repo)
    ask("acme/app")
    # The resolver answers as soon as it has a state. Its thread may still be working on that state, and is not inside gRPC then.
    assert until(lambda: resolver.status().connected and call_gate.is_inside)
    def work():
        made_here = AsyncResolver(target)
        try:
            unused.get_rollout("restyler")
        except RampdError as error:
            refusal = error.reason, "lazy-apps" in error.message
        # A fresh answer does not check for a fork, because that needs a system call. A stale answer does.
        if not until(lambda: ask("acme/app").reason == "STALE"):
            return False
        resolver.report(ask("acme/app"), "restyler", repo="acme/app", succeeded=True, duration=1)
        status = resolver.status()
        assert status.next_withheld and not status.connected and "lazy-apps" in status.error, status
        assert status.reports.dropped == 1 and "lazy-apps" in status.reports.error, status
        assert made_here.status().next_withheld
        assert refusal == ("FORKED", True), refusal
        before = time.monotonic()
        resolver.close()
        return ask_closed() and time.monotonic() - before < 50
    def ask_closed():
        try:
            ask("acme/app")
        except RampdError as error:
            return error.reason == "CLOSED"
    print(children(work), ask("acme/app").tag, until(lambda: resolver.status().connected))
"""
IDLE = """
    resolver, watching, admin = Resolver(target, mode="rpc", timeout=50), Resolver(target, timeout=50), Admin(target, timeout=50)
    ask = lambda: resolver.resolve("restyler", repo="acme/app").tag
    ask()
    admin.get_rollout("restyler")
    def work():
        resolution = watching.resolve("restyler", repo="acme/app")
        watching.report(resolution, "restyler", repo="acme/app", succeeded=True, duration=1)
        return (
            until(lambda: watching.status().connected and watching.status().reports.sent == 1)
            and ask() == resolution.tag == admin.get_rollout("restyler").next.tag == "t2"
        )
    print(children(work), ask(), True)
"""


@pytest.fixture
def ramped(call: Stubs) -> None:
    call("Release", component="restyler", tag="t1")
    call("Release", component="restyler", tag="t2")
    call("Ramp", component="restyler", percent=100)


def test_if_a_thread_was_inside_grpc_the_child_withholds_next_and_its_status_says_why(
    target: str, ramped: None
) -> None:
    assert run_script(START + WATCHING, target, "2")[0] == "[] t2 True\n"


def test_if_no_thread_was_inside_grpc_children_go_on(target: str, ramped: None) -> None:
    assert run_script(START + IDLE, target, str(CHILDREN))[0] == "[] t2 True\n"
