"""Targets that need more than Python say so before they install or start anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("target", "program", "package"), [("bench", "h2load", "nghttp2-client"), ("soak", "redis-server", "redis-server")]
)
def test_a_target_that_lacks_a_program_names_it_and_installs_nothing(tmp_path, target, program, package):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "uname", "python3"):
        (programs / name).symlink_to(shutil.which(name))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        [programs / "make", target],
        cwd=tmp_path,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == f"make {target} needs {program}. On Debian and Ubuntu: sudo apt-get install {package}\n"
    assert not (tmp_path / ".venv").exists()
    contributing = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    assert package in next(row for row in contributing.split("| `make ") if row.startswith(f"{target}`"))
