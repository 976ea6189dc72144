"""`rampd policy apply`."""

from collections.abc import Sequence
from typing import Any

import click

from rampd_cli.arguments import FILE
from rampd_cli.changing import (
    COLUMNS,
    How,
    after_the_change,
    before_the_change,
    dry_run_prefix,
    during_the_change,
    options_of_many_changes,
    require_revision,
)
from rampd_cli.command import command as make_command
from rampd_cli.commands.policy_diff import differing
from rampd_cli.failures import mark_partly_done
from rampd_cli.policies.applying import Planned, checked, planned, refuse, set_policy, wanted_of
from rampd_cli.session import Session
from rampd_cli.shown import Shown, as_data, as_dry_run, terminal

_SAME = "The policy is as the file says."


@make_command("apply", columns=COLUMNS, asks="`rampd policy apply --prune`, if it would reset a policy")
@click.argument("files", type=FILE, metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--prune",
    is_flag=True,
    default=False,
    help="Also reset the policy of every component that no file names. Asks first.",
)
@options_of_many_changes
def command(session: Session, files: tuple[str, ...], prune: bool, **options: Any) -> None:
    """Sets the policies that files have: YAML or JSON, `-` is stdin. A file says the whole policy of each component that it names:
    a field that it leaves out goes back to its default.

    Everything that is wrong is shown at once, as FILE:LINE, before anything is written. The server checks all policies before the
    first is set. If somebody changes a policy in between, the command does not change this policy. If the command is interrupted,
    type it again.

    \b
      policies:
        restyler:
          auto_start: true
          steps:
            - percent: 5
              hold: 10m
    """
    how = How.taken_from(options)
    with before_the_change():
        plans = planned(session, wanted_of(session, files), prune=prune)
        _require_revision(plans, how)
        changing = [plan for plan in plans if plan.differences]
        would = _checked(session, changing, how)
    if changing and session.output == "table":
        differing(changing).draw(terminal())
    if how.dry_run:
        session.show(_summary(plans, would, is_dry_run=True))
        return
    reset = [plan.component for plan in changing if plan.written is None]
    if reset and not how.yes:
        session.confirm(f"No file names {', '.join(reset)}. {_back(reset)} to the defaults. Go on?")
    answers, request_id = _set(session, changing, how)
    with after_the_change(request_id):
        session.show(_summary(plans, answers))


def _require_revision(plans: Sequence[Planned], how: How) -> None:
    """Raises UsageError if the revision could be that of several components, and AbortedError if it is another one."""
    if how.expect_revision is None:
        return
    if len(plans) != 1:
        raise click.UsageError(f"--expect-revision is for one component; here are {len(plans)}. Apply each file alone.")
    require_revision(plans[0].component, plans[0].present.revision, how)


def _checked(session: Session, plans: Sequence[Planned], how: How) -> list[Any]:
    """Asks the server about every policy, and returns its answers. Nothing is written."""
    from rampd.errors import UnimplementedError  # noqa: PLC0415 - it is slow to import

    try:
        would, problems = checked(session.admin(), plans, how)
    except UnimplementedError:
        if how.dry_run:
            raise
        session.tell("This server can't check all policies before the first is set: it is older than dry runs.")
        return []
    refuse(session, problems)
    return would


def _set(session: Session, plans: Sequence[Planned], how: How) -> tuple[list[Any], str]:
    """Sets one policy after the other. Returns the answers, and the id of the last request; it is empty if there is none. If that
    ends early, the person reads how far it came.
    """
    from rampd.errors import DeadlineExceededError, RampdError, UnavailableError  # noqa: PLC0415 - it is slow to import

    answers: list[Any] = []
    one = how
    try:
        for plan in plans:
            one = how.with_request_id()
            with during_the_change(one.request_id):
                answers.append(set_policy(session.admin(), plan.present, plan.wanted, one))
    except (RampdError, KeyboardInterrupt, SystemExit) as error:
        left = [plan.component for plan in plans[len(answers) :]]
        is_open = not isinstance(error, RampdError) or isinstance(error, UnavailableError | DeadlineExceededError)
        unknown = f" Perhaps set: {left.pop(0)}." if is_open and left else ""
        rest = f" Not set: {', '.join(left)}." if left else ""
        text = f"Set: {', '.join(_names(answers)) or 'nothing'}.{unknown}{rest} Type the command again for the rest."
        error.add_note(text)
        if isinstance(error, RampdError):
            error.metadata.setdefault("component", plans[len(answers)].component)
            if answers:
                mark_partly_done(error)
        raise
    return answers, one.request_id


def _back(reset: Sequence[str]) -> str:
    return "Its policy goes back" if len(reset) == 1 else "Their policies go back"


def _names(answers: Sequence[Any]) -> list[str]:
    return [answer.rollout.component for answer in answers]


def _summary(plans: Sequence[Planned], answers: Sequence[Any], *, is_dry_run: bool = False) -> Shown:
    """What each component got, in the order of the files."""
    by_name = dict(zip(_names(answers), answers, strict=True))
    rows = []
    for plan in plans:
        answer = by_name.get(plan.component)
        if answer is None:
            rows.append((plan.component, "no", str(plan.present.revision), _SAME))
        else:
            changed = ("would" if is_dry_run else "yes") if answer.changed else "no"
            said = f"{dry_run_prefix(answer)}{answer.message}" if is_dry_run else answer.message
            rows.append((plan.component, changed, str(answer.revision), said))

    def draw(console: Any) -> None:
        from rampd._contract.wording import counted, one_line  # noqa: PLC0415 - only for a person
        from rampd_cli.drawing.paragraph import say  # noqa: PLC0415 - as above

        for component, changed, _, message in rows:
            if changed != "no":
                say(console, f"{component}: {one_line(message)}")
        done = sum(changed != "no" for _, changed, _, _ in rows)
        verb = "It would set" if is_dry_run else "Set"
        say(console, f"{verb} {counted(done, 'policy').replace('policys', 'policies')}; {len(rows) - done} as before.")

    data = {"responses": [as_data(answer) for answer in answers]}
    return Shown(as_dry_run(data) if is_dry_run else data, rows, draw)
