"""What every command that changes something does: a dry run, a question where there is no way back, the call, the answer."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import click

from rampd_cli.advice import after_change
from rampd_cli.arguments import NEXT
from rampd_cli.failures import Exit
from rampd_cli.session import Session
from rampd_cli.shown import Shown, as_dry_run

COLUMNS: Final = ("component", "changed", "revision", "message")
"""The columns of the answer of a change. `component` is `*` for the whole namespace. `changed` is `yes`, `no`, or for a dry run
`would` instead of `yes`.
"""
_SHOWN_MOVES: Final = 10

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class How:
    """The options that every change has."""

    note: str = ""
    dry_run: bool = False
    expect_revision: int | None = None
    request_id: str = ""
    yes: bool = False

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> "How":
        """Takes these options out of the options of a command."""
        return cls(**{each.name: options.pop(each.name) for each in fields(cls) if each.name in options})

    def arguments(self) -> dict[str, Any]:
        """Returns them as arguments of a method of Admin."""
        return {
            "note": self.note or None,
            "expected_revision": self.expect_revision,
            "request_id": self.request_id or None,
        }


_OPTIONS: Final = {
    "note": click.option("--note", default="", metavar="TEXT", help="Why. The history keeps it."),
    "dry_run": click.option(
        "--dry-run", is_flag=True, default=False, help="Show what would happen, and change nothing."
    ),
    "expect_revision": click.option(
        "--expect-revision", type=int, default=None, metavar="N", help="Only if the component is at this revision."
    ),
    "request_id": click.option(
        "--request-id", default="", metavar="ID", help="A repeat with the same ID within 24 hours changes nothing."
    ),
    "yes": click.option(
        "-y",
        "--yes",
        is_flag=True,
        default=False,
        help="Do not ask. Only a change that can't be taken back asks.",
    ),
}
"""By the fields of `How`."""


only_if_next = click.option("--tag", type=NEXT, default="", metavar="TAG", help="Only if this is the tag of next.")
"""The guard of the commands that change next."""


def change_options(function: _Function) -> _Function:
    """Adds the options of `How` to a command. Its function gets them as keyword arguments."""
    return _with_options(function, _OPTIONS)


def options_of_many_changes(function: _Function) -> _Function:
    """As `change_options`, for a command that sends many requests. A request id is that of one request, so it takes none."""
    return _with_options(function, [name for name in _OPTIONS if name != "request_id"])


def _with_options(function: _Function, names: Collection[str]) -> _Function:
    for name in reversed([*names]):
        function = _OPTIONS[name](function)
    return function


def require_revision(component: str, revision: int, how: How) -> None:
    """Raises AbortedError, as the server would, if a component is not at the revision that the person expects: for a command that
    does more than one call.
    """
    if how.expect_revision in {None, revision}:
        return
    from rampd.errors import AbortedError  # noqa: PLC0415 - only for a refusal

    raise AbortedError(
        f"{component} is at revision {revision}, not {how.expect_revision}: somebody changed it. Look at it, and decide again.",
        reason="REVISION_MISMATCH",
        metadata={"component": component, "expected": str(how.expect_revision), "actual": str(revision)},
    )


def change(
    session: Session,
    verb: str,
    component: str,
    options: dict[str, Any],
    *,
    asks: str = "",
    answer: str = "",
    seen: int | None = None,
    then: Callable[[Any], int] | None = None,
    **arguments: Any,
) -> int:
    """Calls a method of Admin and shows its answer. `component` is empty for a change of the whole namespace.

    `asks`: why there is no way back, in a sentence. Then the person sees what will happen, and is asked. What the person saw
    is what is changed: another revision is refused. `answer`: what the person has to type to go on, instead of `y`.
    `seen`: the revision at which `asks` was found out, also if there is nothing to ask.
    `then`: what follows the change; it gets the answer, shows what there is to show, and returns the exit code.
    """
    how = How.taken_from(options)
    method = getattr(session.admin(), verb)
    call = {**how.arguments(), **arguments}
    if how.dry_run:
        session.show(shown(method(component, dry_run=True, **call), component=component, is_dry_run=True))
        return Exit.DONE
    again = ""
    if how.expect_revision is None:
        call["expected_revision"] = seen
    if asks and not how.yes:
        call["expected_revision"] = _confirmed(session, method, component, call, asks, answer)
        again = " --yes"
    if (expected := call["expected_revision"]) != how.expect_revision:
        again += f" --expect-revision {expected}"
    response = _made(session, method, component, call, again)
    if then is not None:
        return then(response)
    following = after_change(verb, response, arguments, session.at)
    session.show(shown(response, component=component, stands=True, following=following))
    return Exit.DONE


@contextmanager
def before_the_change(session: Session) -> Iterator[None]:
    """While the block runs, nothing is written. After Ctrl-C the person reads so."""
    try:
        yield
    except KeyboardInterrupt:
        session.tell("\nNothing was changed.")
        raise


def _confirmed(
    session: Session, method: Callable[..., Any], component: str, call: Mapping[str, Any], asks: str, answer: str
) -> int | None:
    """Shows a person what will happen, and asks. Returns the revision that was shown, None if there is none. Raises as
    `Session.confirm`, and RampdError if the server would refuse the change.
    """
    from rampd.errors import InternalError, NotFoundError, UnimplementedError  # noqa: PLC0415 - only for a command that asks

    expected: int | None = call["expected_revision"]
    if session.is_interactive and expected is None and component:
        # There is no revision to show before the first release of a component, nor of one whose data is damaged.
        with suppress(NotFoundError, InternalError):
            expected = session.admin().get_rollout(component).revision
    # Also without a terminal, because the server may refuse the change, and its refusal says why.
    try:
        would = method(component, dry_run=True, **{**call, "expected_revision": expected})
    except UnimplementedError:
        session.tell("This server can't say what would happen: it is older than --dry-run.")
    else:
        session.tell(f"What would happen: {_would(would)}")
        if not would.changed:
            return expected
    session.confirm(asks if answer else f"{asks} Go on?", answer=answer)
    return expected


def _made(session: Session, method: Callable[..., Any], component: str, call: Mapping[str, Any], also: str) -> Any:
    """Makes a change. If nobody knows whether it was made, the person reads how to repeat it, and that nothing is done twice.

    `also`: the options that the same request needs besides the request id.
    """
    from rampd.errors import DeadlineExceededError, UnavailableError  # noqa: PLC0415 - the call imports them anyway

    request_id = call["request_id"] or os.urandom(16).hex()
    if call.get("expire_time") is None:
        again = f"To try again, add this, and the change is made once at most: --request-id {request_id}{also}"
    else:
        # `--for 2h` means another time later, so it would be another request. But it sets the same thing again.
        again = "Type it again: a repeat does no harm."
    try:
        return method(component, **{**call, "request_id": request_id})
    except (UnavailableError, DeadlineExceededError) as error:
        error.metadata.setdefault("request_id", request_id)
        error.add_note(again)
        raise
    except KeyboardInterrupt:
        session.tell(f"\nThe change may have been made. {again}")
        raise


def shown(
    response: Any, *, component: str = "", is_dry_run: bool = False, stands: bool = False, following: str = ""
) -> Shown:
    """Returns the answer of a change. `stands`: whether a person also sees where the component stands now. `following`: the
    line that says what a person may type next.
    """
    from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that shows something

    changed = ("would" if is_dry_run else "yes") if response.changed else "no"
    text = f"Dry run, nothing is changed. {_would(response)}" if is_dry_run else one_line(response.message)
    row = (response.rollout.component or component or "*", changed, str(response.revision), text.replace("\n", " "))

    def draw(console: Any) -> None:
        from rampd_cli.drawing.paragraph import say  # noqa: PLC0415 - only for a person

        say(console, text)
        if stands and response.HasField("rollout"):
            from rampd_cli.summary import summary  # noqa: PLC0415 - only for a person

            say(console, summary(response.rollout), "dim")
        if following:
            say(console, following)

    return Shown(as_dry_run(response) if is_dry_run else response, [row], draw)


def _would(response: Any) -> str:
    """The answer of a dry run: its message, and whom it would give another version, a line each."""
    from rampd._contract.wording import counted, one_line  # noqa: PLC0415 - only for a command that shows something

    lines = [one_line(response.message)]
    preview = response.preview
    if preview.repos_seen:
        about = "about " if preview.estimated else ""
        lines.append(
            f"Of the {about}{counted(preview.repos_seen, 'repo')} that rampd saw in the last day, {about}{preview.repos_moved:,} "
            f"would get another version{':' if preview.moves else '.'}"
        )
        lines += [
            f"  {one_line(move.repo)}: {one_line(move.before) or 'none'} -> {one_line(move.after) or 'none'}"
            for move in preview.moves[:_SHOWN_MOVES]
        ]
        if preview.moves and (more := preview.repos_moved - len(preview.moves[:_SHOWN_MOVES])) > 0:
            lines.append(f"  and {about}{more:,} more")
    elif response.HasField("preview"):
        lines.append(
            "rampd saw no repo of this component in the last day, so it can't say who would get another version."
        )
    return "\n".join(lines)


def attributes_of(pairs: tuple[str, ...]) -> Mapping[str, str]:
    """Returns `k=v` pairs as a mapping. Raises UsageError."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--attribute needs KEY=VALUE; got {pair!r}.")
        if key in found:
            raise click.UsageError(f"--attribute {key} is given twice.")
        found[key] = value
    return found
