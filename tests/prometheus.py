"""A real Prometheus that scrapes a real exporter. Each is a process that ends with the block that started it."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import require

_START_S = 30
_STOP_S = 10

# Prints its port. Each line of its input is a tag and its error rate.
_EXPORTER = """
import sys
from prometheus_client import Gauge, start_http_server

rate = Gauge("job_error_rate", "Share of jobs that failed.", ["tag"])
server, thread = start_http_server(0, addr="127.0.0.1")
print(server.server_port, flush=True)
for line in sys.stdin:
    tag, value = line.split()
    rate.labels(tag).set(float(value))
"""
_CONFIGURATION = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - {{job_name: jobs, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
"""


@dataclass
class Exporter:
    """Exports a metric by tag, as launchers would."""

    process: "subprocess.Popen[str]"
    port: int

    def set(self, tag: str, value: str) -> None:
        self.process.stdin.write(f"{tag} {value}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(_STOP_S)


@dataclass
class PrometheusServer:
    process: "subprocess.Popen[bytes]"
    url: str

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait(_STOP_S)


@contextlib.contextmanager
def exporter() -> Iterator[Exporter]:
    process = subprocess.Popen(
        [sys.executable, "-c", _EXPORTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(_START_S, process.kill)
    watchdog.start()
    try:
        port = process.stdout.readline()
        watchdog.cancel()
        yield Exporter(process, int(port))
    finally:
        watchdog.cancel()
        process.kill()
        process.wait(_STOP_S)
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def prometheus(directory: Path, *, scrapes: int) -> Iterator[PrometheusServer]:
    """Starts Prometheus on a free port. If it is not installed, the test is skipped; in CI, the test fails."""
    program = require("prometheus")
    configuration, log = directory / "prometheus.yml", directory / "prometheus.log"
    configuration.write_text(_CONFIGURATION.format(port=scrapes))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(program, f"--config.file={configuration}", f"--storage.tsdb.path={directory / 'data'}"),
                *("--web.listen-address=127.0.0.1:0", "--log.format=json"),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        yield PrometheusServer(process, f"http://{_address(process, log)}")
    finally:
        process.kill()
        process.wait(_STOP_S)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        said = {event.get("msg"): event for event in events}
        if "Server is ready to receive web requests." in said and "Listening on" in said:
            return str(said["Listening on"]["address"])
        time.sleep(0.02)
    pytest.fail(f"Prometheus did not start: {log.read_text()[-2000:]}")
