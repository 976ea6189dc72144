"""Builds the clients of other languages, each in a folder of its own that is kept."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILT = ROOT / "build/clients"
BUILD_S = 600.0
"""How long a step may take. Rust compiles its libraries too."""


class NotBuiltError(Exception):
    """The language is not installed, or its libraries can't be had. The text says which step failed."""


@dataclass(frozen=True, slots=True)
class Language:
    """How the client of a language is built and started, in its folder."""

    name: str
    library: str
    needs: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    starts: tuple[str, ...]
    """A word that begins with `./` is a file of the folder."""


GO: Final = Language(
    "go",
    "grpc-go",
    ("go", "buf"),
    (("go", "mod", "download"), ("buf", "generate"), ("go", "build", "-o", "client", ".")),
    ("./client",),
)
NODE: Final = Language(
    "node",
    "grpc-js",
    ("node", "npm"),
    (("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"),),
    ("node", "./client.js"),
)
RUST: Final = Language(
    "rust", "tonic", ("cargo",), (("cargo", "build", "--release", "--locked", "--quiet"),), ("./target/release/client",)
)
LANGUAGES: Final = (GO, NODE, RUST)


def built(language: Language) -> list[str]:
    """Builds the client, unless it is built already. Returns the command that starts it. Raises NotBuiltError."""
    path = os.pathsep.join((str(ROOT / ".venv/bin"), os.environ["PATH"]))
    for program in language.needs:
        if shutil.which(program, path=path) is None:
            raise NotBuiltError(f"{program} is not installed")
    source, folder = HERE / language.name, BUILT / language.name
    folder.mkdir(parents=True, exist_ok=True)
    stamp, present = folder / ".built", _digest(source, ROOT / "proto", repr(language.steps))
    with (BUILT / f"{language.name}.lock").open("w") as lock:
        # Of tests that run at once, one builds, and no other one begins again while a client runs.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != present:
            shutil.copytree(source, folder, dirs_exist_ok=True)
            for step in language.steps:
                _run(step, folder, path)
            stamp.write_text(present)
    return [str(folder / word) if word.startswith("./") else word for word in language.starts]


def _digest(source: Path, proto: Path, steps: str) -> str:
    """Changes with everything that a client is built from."""
    found = hashlib.sha256(steps.encode())
    for path in sorted(each for folder in (source, proto) for each in folder.rglob("*") if each.is_file()):
        found.update(path.read_bytes())
    return found.hexdigest()


def _run(step: tuple[str, ...], folder: Path, path: str) -> None:
    environment = {**os.environ, "PATH": path}
    try:
        done = subprocess.run(
            step, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=BUILD_S
        )
    except subprocess.TimeoutExpired:
        raise NotBuiltError(f"{' '.join(step)} took more than {BUILD_S:.0f} s") from None
    if done.returncode:
        raise NotBuiltError(f"{' '.join(step)} failed: {done.stderr}")
