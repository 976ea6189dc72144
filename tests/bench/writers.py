"""Many writers, each as fast as it gets answers: `python -m tests.bench.writers KIND NUMBER COMPONENT TARGET...`.

KIND is `overrides`, or `verbs` (Ramp, Pause and Resume), or a method: `Ramp`, `Release`, `SetOverride`. A method goes to COMPONENT, or if
COMPONENT ends with a hyphen, to each of `MANY` components in turn. Each writer has its own connection. On SIGTERM the program prints how
many writes a second were answered with a result, and ends.
"""

import contextlib
import itertools
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from rampd import v1
from tests.bench import cores
from tests.bench.http2 import Http2

_SERVICES = {"Release": "ReleaseService"}
"""The services of the methods that are not of RolloutService."""
_REPOS = 100
MANY = 100
_STOP_S = 30


@dataclass
class Rate:
    """The rate of the writers. It is set when they have ended."""

    per_s: float = 0.0


@contextlib.contextmanager
def writing(kind: str, number: int, component: str, *targets: str, on: set[int] = cores.ALL) -> Iterator[Rate]:
    """Runs this many writers in a separate process, spread over the servers, until the block ends."""
    with cores.on(on):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.writers", kind, str(number), component, *targets],
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdout is not None
    rate = Rate()
    try:
        process.stdout.readline()  # the writers have begun
        yield rate
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=_STOP_S)
        rate.per_s = float(said or "nan")


def _requests(kind: str, component: str) -> Iterator[tuple[str, Message]]:
    names = [f"{component}{number}" for number in range(MANY)] if component.endswith("-") else [component]
    for number in itertools.count():
        name, turn = names[number % len(names)], number // len(names)
        if kind == "Ramp":
            yield kind, v1.RampRequest(component=name, percent=turn % 50 + 1)
        elif kind == "Release":
            yield kind, v1.ReleaseRequest(component=name, tag=f"t{number}", expedite=True)
        elif kind == "SetOverride":
            yield kind, v1.SetOverrideRequest(component=name, repo=f"load/repo-{turn % _REPOS}", tag=f"x{turn}")
        elif kind == "overrides":
            repo = f"load/repo-{number % _REPOS}"
            yield "SetOverride", v1.SetOverrideRequest(component=component, repo=repo, tag=f"x{number}")
        elif number % 3 == 0:
            yield "Ramp", v1.RampRequest(component=component, percent=number % 50 + 1)
        elif number % 3 == 1:
            yield "Pause", v1.PauseRequest(component=component)
        else:
            yield "Resume", v1.ResumeRequest(component=component)


def main(kind: str, number: int, component: str, targets: list[str]) -> None:
    is_over: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(1))
    requests = _requests(kind, component)
    selector = selectors.DefaultSelector()

    def send(connection: Http2) -> None:
        name, message = next(requests)
        path = f"/rampd.v1.{_SERVICES.get(name, 'RolloutService')}/{name}"
        connection.socket.sendall(connection.request(path, message.SerializeToString()))

    for target, _ in zip(itertools.cycle(targets), range(number), strict=False):
        connection = Http2(target)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        send(connection)
    print("begun", flush=True)
    began, done = time.perf_counter(), 0
    while not is_over:
        for key, _ in selector.select(0.1):
            for _, data, is_end in key.data.read():
                done += bool(data)
                if is_end:
                    send(key.data)
    if not done:
        raise SystemExit(f"No {kind} was answered with a result.")
    print(done / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
