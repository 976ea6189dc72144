"""A client of another language, as a process that calls a server: each word says what it does, and it says what came.

`resolve` asks five times. `refused` asks for a component that there is not. `watch` tells the first state and the first change, and
cancels. `late` has half a second. `health` asks for it. `large` is a message of about 300 KB, `too_large` one of 5 MiB. `calls` calls
until each of its callers has seen an error. `bench N` calls so many times, one after the other.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_END_S = 20


@dataclass(frozen=True, slots=True)
class Secure:
    """What a client needs to call a server with TLS that asks for a token."""

    authority: Path
    token: str


@dataclass
class Client:
    """A client that runs."""

    process: "subprocess.Popen[str]"

    def ask(self, word: str) -> dict[str, Any]:
        """Says what to do, and returns the first answer."""
        assert self.process.stdin is not None
        print(word, file=self.process.stdin, flush=True)
        return self.read()

    def read(self) -> dict[str, Any]:
        """Returns the next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the client has ended with {self.process.wait(_END_S)}"
        return dict(json.loads(line))


@contextlib.contextmanager
def client(command: Sequence[str | Path], target: str, secure: Secure | None = None) -> Iterator[Client]:
    """Starts a client, and ends it with the block."""
    more = () if secure is None else (secure.authority, secure.token)
    with subprocess.Popen(
        [*command, target, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Client(process)
        finally:
            process.kill()
