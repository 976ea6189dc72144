"""An independent implementation gets the same buckets and versions: JavaScript on node, with a murmur3 from npm."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent / "javascript"
VECTORS = ROOT / "proto/rampd/v1/bucketing_vectors.json"
DECISIONS = ROOT / "proto/rampd/v1/decision_vectors.json"
TIMEOUT_S = 100


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must be able to do this: {reason}")
    pytest.skip(reason)


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


@pytest.fixture
def folder(pytestconfig: pytest.Config) -> Path:
    """A folder with the installed packages. It is kept between runs."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            unavailable(f"{command} is not installed")
    folder = pytestconfig.cache.mkdir("vectors-in-javascript")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
    try:
        npm = run("npm", "ci", *quiet, cwd=folder, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        unavailable(f"npm ci took more than {TIMEOUT_S} s")
    if npm.returncode:
        unavailable(f"npm ci failed: {npm.stderr}")
    return folder


def snippet(document: str) -> str:
    (code,) = re.findall(r"^```js\n(.*?)^```$", (ROOT / "docs" / document).read_text(), re.MULTILINE | re.DOTALL)
    return code


def answers(folder: Path, program: str, vectors: str) -> Any:
    (folder / "bucket.js").write_text(snippet("bucketing.md"))
    (folder / "decide.js").write_text(snippet("resolution.md"))
    node = run("node", program, cwd=folder, input=vectors, timeout=60)
    assert node.returncode == 0, node.stderr
    return json.loads(node.stdout)


@pytest.mark.parametrize(("document", "name"), [("bucketing.md", "bucket.js"), ("resolution.md", "decide.js")])
def test_the_documented_javascript_is_that_of_the_example(document: str, name: str) -> None:
    assert snippet(document) == (ROOT / "examples/launcher-node/decision" / name).read_text()


def test_the_documented_javascript_answers_every_vector(folder: Path) -> None:
    vectors = VECTORS.read_text()
    expected = [{key: vector[key] for key in ("hash_input", "hash", "bucket")} for vector in json.loads(vectors)]
    assert answers(folder, "answer_vectors.js", vectors) == expected


def test_the_documented_javascript_decides_every_vector(folder: Path) -> None:
    vectors = DECISIONS.read_text()
    expected = [[job["answer"] for job in group["jobs"]] for group in json.loads(vectors)]
    assert answers(folder, "answer_decisions.js", vectors) == expected
