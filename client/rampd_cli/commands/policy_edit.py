"""`rampd policy edit`."""

from typing import Any, Final

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import (
    COLUMNS,
    How,
    after_the_change,
    change_options,
    during_the_change,
    require_revision,
    shown,
)
from rampd_cli.command import command as make_command
from rampd_cli.policies.applying import Present, present, set_policy
from rampd_cli.policies.editing import edited_file
from rampd_cli.policies.reading import Problem, WrittenPolicy, read_text
from rampd_cli.policies.writing import file_of
from rampd_cli.session import Session

_HEAD: Final = """\
# The policy of {component}. Save and close the file to set it. If you save nothing, nothing changes.
# A setting that is left out is at its default. `rampd policy schema` says what each setting means.
"""


@make_command("edit", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@change_options
def command(session: Session, component: str, **options: Any) -> None:
    """Opens the policy of a component in $VISUAL or $EDITOR, and sets it when you save and close.

    If a line is wrong, the editor opens again, and the text above the line says why. If somebody else has changed the policy
    meanwhile, your change is refused. Whatever goes wrong, also with the editor, your text is kept in a file. It is also kept after
    --dry-run.

    \b
      rampd policy edit restyler --note "slower steps"
    """
    how = How.taken_from(options).with_request_id()
    admin = session.admin()
    has = present(admin, component)
    require_revision(component, has.revision, how)
    problems: list[Problem] = []
    text = _HEAD.format(component=component) + file_of([(component, has.own, has.all)])
    with edited_file(text, at=session.at) as file:
        while True:
            written, problems = _read(component, file.edit(problems))
            if written is not None and not problems:
                answer, problems = _set(admin, has, written, how)
                if answer is not None:
                    break
        file.stays = how.dry_run
    with after_the_change("" if how.dry_run else how.request_id):
        session.show(shown(answer, component=component, is_dry_run=how.dry_run))
    if how.dry_run:
        session.tell(f"Your text is in {file.path}. To set it: rampd policy apply {file.path}{session.at}")


def _read(component: str, text: str) -> tuple[WrittenPolicy | None, list[Problem]]:
    found, problems = read_text(text, component)
    others = [each for each in found if each.component != component]
    problems += [Problem(each.file, each.line, f"Only {component} can be here.") for each in others]
    mine = next((each for each in found if each.component == component), None)
    if mine is None and not problems:
        problems.append(Problem(component, 1, f"{component} is missing."))
    return mine, problems


def _set(admin: Any, has: Present, written: WrittenPolicy, how: How) -> tuple[Any, list[Problem]]:
    from rampd.errors import InvalidArgumentError  # noqa: PLC0415 - it is slow to import

    try:
        with during_the_change(how.request_id):
            return set_policy(admin, has, written.policy, how), []
    except InvalidArgumentError as error:
        if problems := written.refused(error.violations):
            return None, problems
        raise
