"""`rampd policy edit`."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Final

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, shown
from rampd_cli.command import command as make_command
from rampd_cli.failures import DeclinedError, WrongUseError
from rampd_cli.policies.applying import Present, present, set_policy
from rampd_cli.policies.reading import Problem, WrittenPolicy, read_text
from rampd_cli.policies.writing import file_of
from rampd_cli.session import Session

_HEAD: Final = """\
# The policy of {component}. Save and close the file to set it. If you save nothing, nothing changes.
# A setting that is left out is at its default.
"""
_WRONG: Final = "# WRONG: "


@make_command("edit", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.option("--note", default="", metavar="TEXT", help="Why. The history keeps it.")
def command(session: Session, component: str, note: str) -> None:
    """Opens the policy of a component in $VISUAL or $EDITOR, and sets it when you save and close.

    If a line is wrong, the editor opens again, and the text above the line says why. If somebody else has changed the policy
    meanwhile, your change is refused, and your text is kept in a file.

    \b
      rampd policy edit restyler --note "slower steps"
    """
    admin = session.admin()
    has = present(admin, component)
    text, before = _HEAD.format(component=component) + file_of([(component, has.own, has.all)]), ""
    while True:
        try:
            saved = click.edit(text, extension=".yaml")
        except click.ClickException as error:
            kept = f" Your text is in {_kept(before)}." if before else ""
            raise WrongUseError(f"{error.message} Nothing was changed.{kept}") from error
        if saved is None:
            kept = f" Your text is in {_kept(before)}." if before else ""
            raise DeclinedError(f"You saved nothing. Nothing was changed.{kept}")
        before = edited = _without_problems(saved)
        written, problems = _read(component, edited)
        if written is not None and not problems:
            answer, problems = _set(admin, has, written, note, edited)
            if answer is not None:
                session.show(shown(answer))
                return
        text = _with_problems(edited, problems)


def _read(component: str, text: str) -> tuple[WrittenPolicy | None, list[Problem]]:
    found, problems = read_text(text, component)
    others = [each for each in found if each.component != component]
    problems += [Problem(each.file, each.line, f"Only {component} can be here.") for each in others]
    mine = next((each for each in found if each.component == component), None)
    if mine is None and not problems:
        problems.append(Problem(component, 1, f"{component} is missing."))
    return mine, problems


def _set(admin: Any, has: Present, written: WrittenPolicy, note: str, text: str) -> tuple[Any, list[Problem]]:
    from rampd.errors import InvalidArgumentError, RampdError  # noqa: PLC0415 - it is slow to import

    try:
        return set_policy(admin, has, written.policy, note), []
    except RampdError as error:
        if isinstance(error, InvalidArgumentError) and (problems := written.refused(error.violations)):
            return None, problems
        error.add_note(f"Your text is in {_kept(text)}. Then: rampd policy diff FILE, and rampd policy apply FILE")
        raise


def _kept(text: str) -> str:
    handle, name = mkstemp(prefix="rampd-policy-", suffix=".yaml")
    os.close(handle)
    Path(name).write_text(text)
    return name


def _with_problems(text: str, problems: Sequence[Problem]) -> str:
    """Returns the text with each problem above its line."""
    lines = text.splitlines()
    for problem in sorted(problems, reverse=True):
        lines.insert(max(problem.line - 1, 0), f"{_WRONG}{' '.join(problem.text.split())}")
    return "\n".join(lines) + "\n"


def _without_problems(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(_WRONG))
