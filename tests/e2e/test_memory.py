"""What a server as a process does with its memory."""

import subprocess
import sys
from pathlib import Path

from tests.servers import ServerProcess
from tests.waiting import eventually

_COUNTS_AT_ITS_END = """
import atexit, gc, runpy
atexit.register(lambda: print("spared", gc.get_freeze_count(), flush=True))
runpy.run_module("rampd_server", run_name="__main__", alter_sys=True)
"""


def test_garbage_collection_spares_what_stays_as_long_as_the_server(directory: Path) -> None:
    """Given a server that has started, expect that no answer with many components makes it look through all of its memory."""
    words = [sys.executable, "-c", _COUNTS_AT_ITS_END, "--listen", "127.0.0.1:0", "--data-dir", str(directory)]
    words += ["--log-format", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        server = ServerProcess(process, directory)
        server.follow()
        try:
            server.event("serving")
            eventually(lambda: any("Ctrl-C" in line for line in server.said))
            assert server.stop() == 0
        finally:
            process.kill()
        [line] = [line for line in server.said if line.startswith("spared ")]
        assert int(line.removeprefix("spared ")) > 50_000
