"""A copy of the repository in which one mutation at a time is made, and tests are run against it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from tests.mutants.mutations import ROOT, Mutation

LIMIT_S = 150
"""Of one run. pytest ends a test that hangs a little earlier, and shows where."""
_TEST_LIMIT_S = 120
_PATIENCE_S = 20
"""How long a test waits for what may never come with a mutation."""
_BASELINE_LIMIT_S = 900
"""Of all tests together without a mutation."""
_FOR_A_FORK = (
    *("-o", "faulthandler_timeout=130"),  # It shows where a run is that even pytest can't end.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # pytest_server has imported what pytest would rewrite.
)
_QUIETLY = ("-q", "-p", "no:cacheprovider", "-p", "no:schemathesis")
"""Without the cache, and without what takes longer to import than most tests."""
_COPIED = ("client", "server", "proto", "tests", "docs", "pyproject.toml", "Makefile", "README.md", "CONTRIBUTING.md")
_IMPORTED = "import rampd, rampd_server; print(rampd.__file__); print(rampd_server.__file__)"
_PASSED, _FAILED = 0, 1
"""Exit codes of pytest. With every other one no test was run to its end."""


class Verdict(StrEnum):
    """The result of a mutation."""

    NOTICED = "noticed"
    HUNG = "HUNG"
    """The test did not end in time, although its row does not say that it hangs."""
    SURVIVED = "SURVIVED"
    """The test passes without what the line is for."""
    STALE = "stale"
    """The old text is not in the file exactly once: whoever moved the code moves the row."""
    BROKEN = "BROKEN"
    """The test fails without the mutation, or could not be run with it."""
    SKIPPED = "skipped"
    """The test needs a program that is not here. CI, and the night, skip nothing."""

    @property
    def is_fault(self) -> bool:
        return self not in {self.NOTICED, self.SKIPPED}


class Scratch:
    """The copy. Imports come from it, also in processes that tests start, because they have its PYTHONPATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Without the variables that a server reads, and without those of an outer pytest.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAMPD_", "PYTEST_"))}
        self._environment = kept | {"PYTHONPATH": os.pathsep.join(str(folder / name) for name in ("client", "server"))}
        self._marks = 0
        self._server = subprocess.Popen(
            (sys.executable, "-m", "tests.mutants.pytest_server"),
            cwd=folder,
            env=self._environment | {"PATIENCE_S": f"{_PATIENCE_S}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._server.communicate()

    def check(self) -> None:
        """Checks that imports come from the copy. Otherwise no mutation would change anything."""
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTED],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=True,
        )
        if not all(Path(line).is_relative_to(self._folder) for line in done.stdout.split()):
            raise RuntimeError(f"the copy in {self._folder} is not what is imported, but {done.stdout}")

    def without_mutation(self, tests: Sequence[str], *, at_once: int = 1) -> dict[str, Verdict | None]:
        """Returns why each test proves nothing, or None for a test that passes with the unchanged code."""
        code, output = self._run("-rA", "-n", str(at_once), "--dist", "worksteal", *tests)
        if code != _PASSED:
            print(output, file=sys.stderr)
        ended = re.findall(r"^(PASSED|FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
        return {test: _doubt({word for word, found in ended if _is_of(found, test)}, code) for test in tests}

    def with_mutation(self, mutation: Mutation) -> Verdict:
        """Returns whether the test of a mutation notices it."""
        path = self._folder / mutation.file
        text = path.read_text("utf-8")
        if mutation.is_stale(text):
            return Verdict.STALE
        try:
            self._write(path, mutation.apply(text))
            code, output = self._run_in_fork("-x", f"--timeout={_TEST_LIMIT_S}", mutation.test)
        finally:
            self._write(path, text)
        if code == _PASSED:
            return Verdict.SURVIVED
        if code == _FAILED and "Timeout (>" in output:
            if not mutation.hangs:
                print(output, file=sys.stderr)
            return Verdict.NOTICED if mutation.hangs else Verdict.HUNG
        if code == _FAILED and re.search(r"\d+ (?:failed|error)", output):
            return Verdict.NOTICED
        print(output, file=sys.stderr)
        return Verdict.BROKEN

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, "utf-8")
        # Python recognises a changed file by its size and its time in seconds, and both may be the same as before.
        self._marks += 1
        os.utime(path, (self._marks, self._marks))

    def _run(self, *arguments: str) -> tuple[int, str]:
        """Returns the exit code of pytest and its output. A run that takes too long has failed."""
        process = subprocess.Popen(
            (sys.executable, "-m", "pytest", *_QUIETLY, *arguments),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        try:
            output, _ = process.communicate(timeout=_BASELINE_LIMIT_S)
        except subprocess.TimeoutExpired:
            return _FAILED, f"Timeout (>{_BASELINE_LIMIT_S} s)"
        else:
            return process.returncode, output
        finally:
            _kill_group(process.pid)
            process.wait()

    def _run_in_fork(self, *arguments: str) -> tuple[int, str]:
        """As _run, in a process that has the imports. A run that takes too long has failed."""
        assert self._server.stdin
        assert self._server.stdout
        printed = self._folder / "printed"
        json.dump(((*_QUIETLY, *_FOR_A_FORK, *arguments), str(printed)), self._server.stdin)
        print(file=self._server.stdin, flush=True)
        group = int(self._server.stdout.readline())
        limit = threading.Timer(LIMIT_S, _kill_group, (group,))
        limit.start()
        code = int(self._server.stdout.readline())
        limit.cancel()
        _kill_group(group)
        output = printed.read_text("utf-8", "replace")
        return (_FAILED, f"Timeout (>{LIMIT_S} s)\n{output}") if code == -signal.SIGKILL else (code, output)


def _kill_group(group: int) -> None:
    """Ends a run of pytest, together with all processes that its tests have left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _is_of(found: str, test: str) -> bool:
    """Whether a node is a test of the list, or one case of it."""
    return found == test or found.startswith(f"{test}[")


def _doubt(words: set[str], code: int) -> Verdict | None:
    if words == {"PASSED"}:
        return None
    return Verdict.SKIPPED if not words and code == _PASSED else Verdict.BROKEN


@contextlib.contextmanager
def scratch() -> Iterator[Scratch]:
    """Yields a copy that exists as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="rampd-mutants-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        for each in _COPIED:
            if (ROOT / each).is_dir():
                shutil.copytree(ROOT / each, folder / each)
            else:
                shutil.copy(ROOT / each, folder / each)
        made = Scratch(folder)
        made.check()
        with contextlib.closing(made):
            yield made
