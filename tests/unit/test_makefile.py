"""`make` lists its targets. Those that need more than Python say so before they install or start anything."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("target", "program", "package"),
    [
        ("bench", "h2load", "nghttp2-client"),
        ("bench-peers", "go", "golang-go"),
        ("soak", "redis-server", "redis-server"),
    ],
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
    assert program in listed()[target]
    assert package in (ROOT / "CONTRIBUTING.md").read_text()


def make(*words: str) -> str:
    # Without the flags of an outer make.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    done = subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def listed() -> dict[str, str]:
    """Returns each target of the list with its sentence."""
    return dict(re.findall(r"^  make ([a-z-]+) +(.*)$", make("help"), re.MULTILINE))


def test_make_without_a_target_lists_the_daily_targets_first() -> None:
    every_day, now_and_then = make().split("\n\n")
    assert re.findall(r"^  make (\S+)", every_day, re.MULTILINE) == [
        "help",
        "run",
        "test",
        "format",
        "lint",
        "gen",
        "docs",
        "check",
    ]
    assert every_day.startswith("Every day:")
    assert now_and_then.startswith("Now and then:")
    assert make("help") == make()


def test_each_target_for_people_is_in_the_list_with_a_sentence() -> None:
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    only_needed_by_others = {"python", "free", "linux", "h2load", "go", "redis-server"}
    assert set(phony.split()) - only_needed_by_others == set(listed())
    assert [sentence for sentence in listed().values() if not re.match(r"[A-Z].*\.$", sentence)] == []


def test_each_target_that_a_document_or_a_hook_names_exists() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text()
    named = set(re.findall(r"entry: make -s ([a-z-]+)", config))
    assert named == {"lint", "test"}
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        named |= set(re.findall(r"`make (?:[A-Z]+=\S+ )?([a-z-]+)", path.read_text()))
    assert named <= set(listed()), named - set(listed())
    for file in re.findall(r"PYTEST=(\S+)", config):
        assert (ROOT / file).is_file()
