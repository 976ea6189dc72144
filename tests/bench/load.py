"""The load generator is h2load. It is faster than any client in Python, and can send gRPC calls with one message each way."""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from tests.bench import cores

_RATE = re.compile(r"finished in [^,]+, ([\d.]+) req/s")


@dataclass(frozen=True, slots=True)
class Load:
    """Sends one request to one method of one server many times."""

    target: str
    method: str
    """`rampd.v1.ResolverService/Resolve`."""
    request: Message | bytes
    """The message, or its bytes."""
    token: str = ""
    """What proves who calls."""
    scheme: str = "http"
    """`https`: over TLS. h2load takes any certificate."""

    def throughput(self, calls: int, *, connections: int = 4, streams: int = 16, on: set[int] = cores.LOAD) -> float:
        """Returns the calls per second with `connections` times `streams` calls at the same time."""
        output = self._run("-n", str(calls), "-c", str(connections), "-m", str(streams), on=on)
        found = _RATE.search(output)
        assert found is not None, output
        return float(found[1])

    def latencies_us(self, calls: int) -> list[int]:
        """Makes calls one after the other. Returns their times, sorted."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "log")
            self._run("-n", str(calls), "-c", "1", "-m", "1", f"--log-file={log}")
            return sorted(int(line.split()[2]) for line in log.read_text().splitlines())

    def _run(self, *arguments: str, on: set[int] = cores.LOAD) -> str:
        program = shutil.which("h2load")
        if program is None:
            sys.exit("h2load is not installed; on Debian and Ubuntu it comes with nghttp2-client.")
        with tempfile.NamedTemporaryFile() as body, cores.on(on):
            body.write(self._body())
            body.flush()
            output = subprocess.run(
                [
                    *(program, "-t", "1", *arguments, "-d", body.name),
                    *self._protocol(),
                    *(("-H", f"authorization: Bearer {self.token}") if self.token else ()),
                    f"{self.scheme}://{self.target}/{self.method}",
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        calls = int(arguments[1])
        data_bytes = re.search(r"\((\d+)\) data", output)
        # h2load counts a gRPC refusal as a success, but a refusal has no message.
        assert f"{calls} succeeded" in output, output
        assert data_bytes is not None, output
        assert int(data_bytes[1]) > 5 * calls, output
        return output

    def _body(self) -> bytes:
        data = self.request if isinstance(self.request, bytes) else self.request.SerializeToString()
        return b"\0" + len(data).to_bytes(4, "big") + data

    def _protocol(self) -> tuple[str, ...]:
        return "-H", "content-type: application/grpc", "-H", "te: trailers"


@dataclass(frozen=True, slots=True)
class LoadOfJson(Load):
    """Sends JSON over HTTP/1.1, one request after the other on each connection."""

    request: bytes

    def throughput(self, calls: int, *, connections: int = 64, streams: int = 1, on: set[int] = cores.LOAD) -> float:
        """Returns the calls per second with `connections` calls at the same time."""
        # Not `super()`: the decorator makes another class.
        return Load.throughput(self, calls, connections=connections, streams=streams, on=on)

    def _body(self) -> bytes:
        return self.request

    def _protocol(self) -> tuple[str, ...]:
        return "--h1", "-H", "content-type: application/json"


def percentile(ordered: list[int] | list[float], share: float) -> float:
    """Returns a percentile of sorted values. `share` is 0 to 1."""
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


def median(values: list[int] | list[float]) -> float:
    return float(statistics.median(values))
