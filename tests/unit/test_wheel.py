"""The wheel has every file of the packages: also templates, styles, scripts and Lua, which nothing imports."""

import importlib.util
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
PACKAGES = [ROOT / name for name in BUILD["packages"]]
FILES = sorted(
    path for package in PACKAGES for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
)
"""Every file of the packages."""


def test_the_packages_have_what_the_page_is_made_of() -> None:
    """Given a list of files that is empty by mistake, expect that the other tests do not pass."""
    found = {path.relative_to(ROOT / "server").as_posix() for path in FILES if path.is_relative_to(ROOT / "server")}
    assert {f"rampd_server/page/{name}" for name in ("templates/component/head.html", "static/live.js")} <= found


@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None and "CI" not in os.environ, reason="hatchling is not installed"
)
def test_the_wheel_has_every_file(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = [path for path in FILES if path.relative_to(ROOT).as_posix().partition("/")[2] not in names]
    assert missing == []


def test_no_setting_leaves_a_file_out_of_the_wheel() -> None:
    """Without a build: hatchling takes whole packages, apart from what a setting or `.gitignore` leaves out."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert settings.keys() == {"targets"}
    assert BUILD.keys() == {"packages", "shared-data"}
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    names = "\n".join(path.relative_to(ROOT).as_posix() for path in FILES)
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input=names,
        capture_output=True,
        text=True,
        check=False,
    )
    # Of git: 1 if it ignores none of them.
    assert (ignored.returncode, ignored.stdout) == (1, "")
