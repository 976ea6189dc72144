"""Starts what benchmarks need: stores, rampd-servers and bare servers. Each runs on its core, and ends with its block."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from rampd import v1
from rampd._contract.token import digest_of, new_token
from rampd_server.process import event_loop
from tests.bench import cores
from tests.servers import IN_PRODUCTION_S, ServerProcess, Stubs, rampd_server, short_directory, stubs
from tests.stores import REDIS, VALKEY, StoreServer, store_server

COMPONENT = "restyler"
REPO = "acme/app"


@dataclass(frozen=True, slots=True)
class Bare:
    """A bare server, which has no state."""

    target: str
    process_id: int


@contextlib.contextmanager
def store(directory: Path | None = None, on: set[int] = cores.LOAD) -> Iterator[StoreServer]:
    """Starts an empty Redis, or Valkey if Redis is not installed."""
    with cores.on(on), store_server(REDIS if shutil.which("redis-server") else VALKEY, directory=directory) as running:
        yield running


@contextlib.contextmanager
def starting(
    store: StoreServer,
    *flags: str,
    on: set[int] = cores.SERVER,
    directory: Path | None = None,
    **environment: str,
) -> Iterator[ServerProcess]:
    """Starts a server that listens, and may not serve yet. With a `directory`, what it keeps stays there."""
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(short_directory())
        with cores.on(on):
            given = ("--insecure-admin", "--redis-url", store.url, *flags)
            server = stack.enter_context(
                rampd_server(directory, *given, store_deadline_s=IN_PRODUCTION_S, **environment)
            )
        server.event("listening")
        yield server


@contextlib.contextmanager
def rampd(store: StoreServer, *flags: str, on: set[int] = cores.SERVER, **environment: str) -> Iterator[ServerProcess]:
    """Starts a server, and waits until it serves."""
    with starting(store, *flags, on=on, **environment) as server:
        server.event("serving", within_s=120)
        yield server


@dataclass
class Access:
    """An access file of launchers and one admin."""

    path: Path
    tokens: dict[str, str]

    @classmethod
    def of(cls, folder: Path, **limits: str) -> "Access":
        """Makes it, with a grant for each name, and its `limits` as TOML."""
        tokens = {name: new_token() for name in ("ops", *limits)}
        grants = [
            "\n".join(
                [
                    "[[grant]]",
                    f'name = "{name}"',
                    f'role = "{"admin" if name == "ops" else "launcher"}"',
                    f'tokens = ["{digest_of(token)}"]',
                    f"limits = {{ {limits.get(name, '')} }}",
                ]
            )
            for name, token in tokens.items()
        ]
        path = folder / "access.toml"
        path.touch(mode=0o600)
        path.write_text("\n".join(grants))
        return cls(path, tokens)

    def trust(self, issuer: str) -> None:
        """Adds a grant for the tokens of an OIDC issuer."""
        proof = f'[[grant.oidc]]\nissuer = "{issuer}"\naudience = "rampd"\nclaims = {{ repository_id = "1" }}\n'
        self.path.write_text(f'{self.path.read_text()}\n[[grant]]\nname = "ci"\nrole = "ci"\n{proof}')


@contextlib.contextmanager
def guarded(store: StoreServer, access: Access, *flags: str, on: set[int] = cores.SERVER) -> Iterator[ServerProcess]:
    """Starts a server that asks for credentials, and waits until it serves."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        given = ("--access-file", str(access.path), "--redis-url", store.url, *flags)
        with cores.on(on):
            server = stack.enter_context(rampd_server(directory, *given, store_deadline_s=IN_PRODUCTION_S))
        server.event("serving", within_s=120)
        yield server


@contextlib.contextmanager
def bare(module: str, *arguments: str, on: set[int] = cores.SERVER) -> Iterator[Bare]:
    """Starts a module of this folder that prints its port."""
    with program(sys.executable, "-m", f"tests.bench.{module}", *arguments, on=on) as started:
        yield started


@contextlib.contextmanager
def program(*command: str, on: set[int] = cores.SERVER) -> Iterator[Bare]:
    """Starts a program that prints its port."""
    with cores.on(on):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Bare(f"127.0.0.1:{int(process.stdout.readline())}", process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def calls(server: ServerProcess) -> Iterator[Stubs]:
    """Makes stubs for a server."""
    with stubs(server.target) as call:
        yield call


def begin_rollout(server: ServerProcess, *, overrides: int = 10) -> None:
    """Makes a component of usual size: a rollout at 10 %, a few releases and overrides."""
    with calls(server) as call:
        for number in range(5):
            call(
                "Release",
                component=COMPONENT,
                tag=f"2020030{number + 1}",
                attributes={"memory": "2g"},
                expedite=number < 4,
            )
        call("Ramp", component=COMPONENT, percent=10)
        for number in range(overrides):
            call("SetOverride", component=COMPONENT, repo=f"acme/pinned-{number}", channel=v1.CHANNEL_NEXT)


def command_counts(store: StoreServer) -> dict[str, int]:
    """Returns how often Redis has run each command."""

    async def ask() -> dict[str, int]:
        client: Redis = store.client()
        stats = await client.info("commandstats")
        await client.aclose()
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}

    return event_loop.run(ask())
