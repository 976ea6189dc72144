"""The errors that prevent a server from starting, and their messages."""

import ast
import asyncio
from pathlib import Path

import pytest

from rampd_server.process.startup import StartupError, report, ungrouped


async def fail(error: Exception) -> None:
    raise error


async def fail_in_a_group(error: Exception) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail(error))


async def run_in_a_group(*errors: Exception) -> None:
    async with asyncio.TaskGroup() as tasks:
        for error in errors:
            tasks.create_task(fail_in_a_group(error))
        await asyncio.Event().wait()


async def test_the_refusal_of_a_task_is_raised_without_its_groups() -> None:
    refusal = StartupError("no")
    with pytest.raises(StartupError) as caught, ungrouped():
        await run_in_a_group(refusal)
    assert caught.value is refusal


async def test_a_refusal_without_a_group_is_raised_unchanged() -> None:
    refusal = StartupError("no")
    with pytest.raises(StartupError) as caught, ungrouped():
        await fail(refusal)
    assert caught.value is refusal


@pytest.mark.parametrize("errors", [[KeyError("a defect")], [StartupError("no"), KeyError("a defect")]])
async def test_a_defect_beside_a_refusal_is_not_hidden(errors: list[Exception]) -> None:
    with pytest.raises(ExceptionGroup) as caught, ungrouped():
        await run_in_a_group(*errors)
    assert caught.value.subgroup(KeyError)


def test_a_sentence_is_one_line_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(StartupError("The data directory a\nb\u202ec can't be used.", "More.")) == 2
    assert capsys.readouterr().err == (
        "rampd-server: The data directory a\\nb\\u202ec can't be used.\nrampd-server: More.\n"
    )


def test_no_module_catches_by_except_star() -> None:
    """An exception raised inside it is wrapped in a group on CPython 3.11.2, and bare on a later version."""
    root = Path(__file__).parents[3]
    modules = [path for source in ("client", "server") for path in (root / source).rglob("*.py")]
    assert len(modules) > 50
    found = [
        path for path in modules for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.TryStar)
    ]
    assert found == []
