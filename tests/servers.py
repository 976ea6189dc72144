"""Starts rampd-server as a process on port 0, reads its address from its log, and ends it."""

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from rampd import v1
from rampd.v1 import release_service_pb2_grpc, resolver_service_pb2_grpc, rollout_service_pb2_grpc
from rampd_server import testing
from rampd_server.listeners import Listening
from rampd_server.storage.link import DEADLINE_S
from rampd_server.testing import STORE_DEADLINE_S
from tests.ports import require_kept
from tests.waiting import eventually

SHORT_DEADLINE_S = 2.0
IN_PRODUCTION_S = DEADLINE_S
"""For a test that is about a slow store."""
_START_S = 60
_STOP_S = 60
_END_S = 20
_PATIENCE = Path(__file__).parent / "patience"


def require(program: str) -> str:
    """Returns the path of a program. If it is not installed, the test is skipped; in CI, the test fails."""
    path = shutil.which(program)
    if path is None:
        if "CI" in os.environ:
            pytest.fail(f"{program} is not installed, and CI needs it")
        pytest.skip(f"{program} is not installed")
    return path


@dataclass
class ServerProcess:
    """A running server and what it has printed."""

    process: "subprocess.Popen[str]"
    directory: Path
    log: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    """Every line exactly as it was printed."""

    def event(self, name: str, *, within_s: float = _START_S) -> dict[str, Any]:
        """Waits for a line of the log with this event. Returns the last such line."""
        end = time.monotonic() + within_s
        is_last_look = False
        while not is_last_look:
            # Asked before the look: the line may come between the two.
            is_last_look = time.monotonic() > end or (self.process.poll() is not None and not self._reader.is_alive())
            for line in reversed(self.log):
                if line.get("event") == name:
                    return line
            time.sleep(0.01)
        raise AssertionError(f"no {name} in {within_s} s; the log: {self.log[-20:]}")

    @property
    def target(self) -> str:
        return str(self.event("listening")["address"])

    @property
    def fast_target(self) -> str:
        return str(self.event("listening_fast")["address"])

    @property
    def socket(self) -> Path:
        return self.directory / "rampd.sock"

    def follow(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.raw.append(line.rstrip("\n"))
            # The last line of a server that is killed may be cut off.
            if line.startswith("{") and line.endswith("\n"):
                self.log.append(json.loads(line))
            else:
                self.said.append(line.rstrip())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(_STOP_S)
        self.join()
        return code

    def join(self) -> None:
        """Waits until all that the ended server has printed is read."""
        self._reader.join(_STOP_S)


def program_of(command: str) -> str:
    """Returns the first of the programs that the welcome of a server names, in a command of it."""
    return next(name for name in ("grpcurl", "curl", "rampd") if re.search(rf"(^|[ /]){name} ", command))


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A temporary folder. Its path is short enough for a unix socket in it."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as path:
        yield Path(path)


@contextlib.contextmanager
def rampd_server(
    directory: Path, *flags: str, limits: str = "", store_deadline_s: float = STORE_DEADLINE_S, **environment: str
) -> Iterator[ServerProcess]:
    """Starts a server with its data in `directory`, and ends it with the block. `limits` are the arguments of a `ulimit` that
    runs first. A call of the store may take `store_deadline_s`.
    """
    for flag, address in itertools.pairwise(flags):
        if flag in {"--listen", "--http", "--fast-listen"}:
            require_kept(address)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAMPD_")} | environment
    if store_deadline_s != IN_PRODUCTION_S:
        paths = filter(None, (str(_PATIENCE), environment.get("PYTHONPATH")))
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "STORE_DEADLINE_S": str(store_deadline_s)}
    process = subprocess.Popen(
        [
            *(("sh", "-c", f'ulimit {limits} && exec "$@"', "sh") if limits else ()),
            *(sys.executable, "-m", "rampd_server", "--listen", "127.0.0.1:0"),
            *("--data-dir", str(directory), "--log-format", "json", *flags),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    server = ServerProcess(process, directory)
    server.follow()
    try:
        yield server
    finally:
        # SIGTERM first: a server that is killed may leave its embedded store running.
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        server.join()
        process.stdout.close()


class Stubs:
    """All methods of a server, over one channel."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self._stubs = (
            resolver_service_pb2_grpc.ResolverServiceStub(self.channel),
            release_service_pb2_grpc.ReleaseServiceStub(self.channel),
            rollout_service_pb2_grpc.RolloutServiceStub(self.channel),
        )

    def __call__(self, method: str, **fields: object) -> Any:
        """`stubs("Ramp", component="restyler", percent=10)`. The limit is for a busy machine."""
        for stub in self._stubs:
            if hasattr(stub, method):
                return getattr(stub, method)(getattr(v1, f"{method}Request")(**fields), timeout=60)
        raise AssertionError(method)

    def until_made(self, method: str, **fields: object) -> Any:
        """Makes a change, as a caller of a server in production does: while its store is too slow, the call is sent again with the
        same request_id.
        """
        fields = {"request_id": f"made-{secrets.token_hex(8)}"} | fields
        answers: list[Any] = []

        def is_made() -> bool:
            try:
                answers.append(self(method, **fields))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            return bool(answers)

        eventually(is_made)
        return answers[0]


@contextlib.contextmanager
def stubs(target: str) -> Iterator[Stubs]:
    """Makes stubs, and closes their channel with the block."""
    made = Stubs(grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]))
    try:
        yield made
    finally:
        made.channel.close()


@contextlib.contextmanager
def server_that_soon_gives_up(directory: Path, redis_url: str, **settings: object) -> Iterator[Listening]:
    """Runs a server in a thread. It gives up a call of the store after SHORT_DEADLINE_S.

    The first connection may take longer on a busy machine. So the start waits for the store, as in production.
    """
    deadline = {"store_deadline_s": SHORT_DEADLINE_S, "wait_for_store": True}
    with testing.listening(directory, redis_url, **deadline, **settings) as at:
        with stubs(str(at.grpc)) as call:
            eventually(lambda: call("ListRollouts"), suppressed=grpc.RpcError)
        yield at


def reason_of(error: grpc.RpcError) -> str:
    """Returns the `reason` of the ErrorInfo in an error."""
    return _info_of(error).reason


def metadata_of(error: grpc.RpcError) -> dict[str, str]:
    """Returns the metadata of the ErrorInfo in an error."""
    return dict(_info_of(error).metadata)


def _info_of(error: grpc.RpcError) -> Any:
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    for detail in rpc_status.from_call(error).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info
    raise AssertionError(error)
