"""A later version of rampd, whose data have a later schema: made up from a copy of the source, and run beside this version."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rampd_server.storage.schema import EARLIEST, SCHEMA
from rampd_server.testing import STORE_DEADLINE_S
from tests.servers import ServerProcess, Stubs, rampd_server, stubs

ROOT = Path(__file__).parents[1]
LATER: Final = SCHEMA + 1
_STORAGE = "server/rampd_server/storage"
# A rollout is paused or not: "1" and "0" up to now, "yes" and "no" in the later schema. This version calls these damage.
_CHANGES = (
    (f"{_STORAGE}/schema.py", f"SCHEMA: Final = {SCHEMA}\n", f"SCHEMA: Final = {LATER}\n"),
    (f"{_STORAGE}/schema.py", f"EARLIEST: Final = {EARLIEST}\n", f"EARLIEST: Final = {SCHEMA}\n"),
    (
        f"{_STORAGE}/store.py",
        "patch = difference.patch().to_json()\n",
        f"""patch = difference.patch().to_json()
        if int(self.schema) >= {LATER}:
            patch = patch.replace('"paused","0"', '"paused","no"').replace('"paused","1"', '"paused","yes"')
""",
    ),
    (
        f"{_STORAGE}/codec/rollout_hash.py",
        '"paused", texts.read_flag)',
        '"paused", lambda text: texts.read_flag({"yes": "1", "no": "0"}.get(text, text)))',
    ),
    (
        f"{_STORAGE}/codec/rollout_hash.py",
        "        if found == expected:\n",
        '        if found == expected or (field.name == "paused" and found in {"yes", "no"}):\n',
    ),
)


def make_later(folder: Path) -> str:
    """Makes the later version in a folder. Returns its PYTHONPATH."""
    for name in ("client", "server"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in _CHANGES:
        text = (folder / file).read_text("utf-8")
        assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
        (folder / file).write_text(text.replace(old, new), "utf-8")
    return os.pathsep.join(str(folder / name) for name in ("client", "server"))


@contextlib.contextmanager
def serving(
    directory: Path,
    url: str,
    path: str = "",
    namespace: str = "default",
    *,
    store_deadline_s: float = STORE_DEADLINE_S,
) -> Iterator[tuple[ServerProcess, Stubs]]:
    """A server that serves, and what calls it. `path` is the PYTHONPATH of its version; empty: this version."""
    flags = ("--redis-url", url, "--namespace", namespace)
    environment = {"PYTHONPATH": path} if path else {}
    with (
        rampd_server(directory, *flags, store_deadline_s=store_deadline_s, **environment) as server,
        stubs(f"unix:{server.socket}") as call,
    ):
        server.event("serving")
        yield server, call


def run(command: str, *words: str, path: str, code: int = 0) -> str:
    """Runs a command of `rampd-server`, and returns what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "rampd_server", command, *words],
        env=os.environ | ({"PYTHONPATH": path} if path else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def begin(call: Stubs, component: str = "restyler") -> None:
    """Makes a component with a rollout."""
    call("Release", component=component, tag="a")
    call("Release", component=component, tag="b")


def is_paused(call: Stubs, component: str = "restyler") -> bool:
    """Whether a rollout is paused. Fails if the server can't read it."""
    rollout = call("GetRollout", component=component).rollout
    assert not rollout.damage.problem
    return bool(rollout.paused)
