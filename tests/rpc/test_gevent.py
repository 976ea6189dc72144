"""In a program that gevent has patched, at any time, other greenlets run while a resolver waits."""

import pytest

from tests.rpc.test_local_fork import run_script
from tests.servers import Stubs

pytestmark = pytest.mark.timeout(400)
PATCH = "import gevent.monkey; gevent.monkey.patch_all()\n"
IMPORT = "import os, signal, sys, time; from rampd import Resolver\n"
MAKE = "resolver = Resolver(sys.argv[1], mode=sys.argv[2], timeout=50)\n"
USE = "resolver.resolve('restyler', repo='acme/app')\n"
FORK = "child = os.fork()\nif child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
WORK = """
signal.alarm(100)
import gevent
ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)
gevent.spawn(tick)
tags = {each.get() for each in [gevent.spawn(resolver.resolve, 'restyler', repo=f'acme/{n}') for n in range(20)]}
tags = {each.tag for each in tags}
end = time.monotonic() + 50
is_connected = lambda: resolver.status().connected
while not (is_connected() and len(ticks) > 20) and time.monotonic() < end:
    gevent.sleep(0.01)
print(tags, is_connected(), len(ticks) > 20)
resolver.close()
sys.stdout.flush()
# In a child of a process where gevent has patched gRPC and gRPC was used, gRPC never finishes its shutdown.
os._exit(0)
"""


@pytest.mark.parametrize("mode", ["local", "rpc"])
@pytest.mark.parametrize(
    "order",
    [
        (PATCH, IMPORT, MAKE),
        (IMPORT, PATCH, MAKE),
        (IMPORT, MAKE, PATCH),
        (IMPORT, MAKE, USE, PATCH),
        (IMPORT, MAKE, USE, FORK, PATCH),
        (PATCH, IMPORT, MAKE, USE, FORK),
    ],
    ids=["before the import", "after it", "once made", "once used", "in a child", "before a fork"],
)
def test_a_resolver_works_in_a_program_that_gevent_has_patched(
    target: str, call: Stubs, order: tuple[str, ...], mode: str
) -> None:
    call("Release", component="restyler", tag="t1")
    assert run_script("".join(order) + WORK, target, mode)[0] == "{'t1'} True True\n"
