"""What every command that changes something does: a dry run, a question where there is no way back, the call, the answer."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

import click

from rampd_cli.advice import after_change
from rampd_cli.arguments import NEXT, TEXT, Whole
from rampd_cli.failures import Exit, is_failure, not_written, note_interrupted
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

    def with_request_id(self) -> "How":
        """Returns them for one request, whose id is known also if its answer is not."""
        return replace(self, request_id=self.request_id or os.urandom(16).hex())

    def arguments(self) -> dict[str, Any]:
        """Returns them as arguments of a method of Admin."""
        return {
            "note": self.note or None,
            "expected_revision": self.expect_revision,
            "request_id": self.request_id or None,
        }


_OPTIONS: Final = {
    "note": click.option("--note", type=TEXT, default="", metavar="TEXT", help="Why. The history keeps it."),
    "dry_run": click.option(
        "--dry-run", is_flag=True, default=False, help="Show what would happen, and change nothing."
    ),
    "expect_revision": click.option(
        "--expect-revision", type=Whole(), default=None, metavar="N", help="Only if the component is at this revision."
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
    how = How.taken_from(options).with_request_id()
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
    response = _made(method, component, call, again)
    with after_the_change(how.request_id):
        if then is not None:
            return then(response)
        following = after_change(verb, response, arguments, session.at)
        session.show(shown(response, component=component, stands=True, following=following))
    return Exit.DONE


@contextmanager
def before_the_change() -> Iterator[None]:
    """While the block runs, nothing is written. After Ctrl-C the person reads so."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note("Nothing was changed.")
        raise


@contextmanager
def during_the_change(request_id: str) -> Iterator[None]:
    """While the block makes a request. If the block ends without its answer, a program reads the id of the request."""
    from rampd.errors import DeadlineExceededError, UnavailableError  # noqa: PLC0415 - the call imports them anyway

    try:
        yield
    except (UnavailableError, DeadlineExceededError) as error:
        error.metadata.setdefault("request_id", request_id)
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        note_interrupted(error, request_id=request_id)
        raise


@contextmanager
def after_the_change(request_id: str) -> Iterator[None]:
    """While the block shows the answer of a request. If it can't, the person reads that the change is made. `request_id`: empty if
    nothing was changed. Raises NotWrittenError.
    """
    made = f"The change is made (request id {request_id})" if request_id else ""
    try:
        yield
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        if made:
            error.add_note(f"{made}.")
            note_interrupted(error, request_id=request_id)
        raise
    except Exception as error:
        if not made or is_failure(error):
            raise
        raise not_written(error, f"{made}, but its answer", {"request_id": request_id}) from error


def _confirmed(
    session: Session, method: Callable[..., Any], component: str, call: Mapping[str, Any], asks: str, answer: str
) -> int | None:
    """Shows a person what will happen, and asks. Returns the revision that was shown: 0 before the first release, None if the data is
    damaged. Raises as `Session.confirm`, and RampdError if the server would refuse the change.
    """
    from rampd.errors import UnimplementedError  # noqa: PLC0415 - only for a command that asks

    expected: int | None = call["expected_revision"]
    looks = session.is_interactive and expected is None and bool(component)
    if looks:
        expected = _revision(session, component)
    # Also without a terminal, because the server may refuse the change, and its refusal says why.
    try:
        would, expected = _dry_run(method, component, call, expected)
    except UnimplementedError:
        session.tell("This server can't say what would happen: it is older than --dry-run.")
    else:
        session.tell(f"What would happen: {_would(would)}")
        if not would.changed:
            return expected
    session.confirm(asks if answer else f"{asks} Go on?", answer=answer)
    if looks and expected is None:
        _require_damaged(session, component)
    return expected


def _revision(session: Session, component: str) -> int | None:
    """Returns the revision of a component: 0 if there is none, None if its data is damaged."""
    from rampd.errors import InternalError, NotFoundError  # noqa: PLC0415 - only for a command that asks

    try:
        return session.admin().get_rollout(component).revision
    except NotFoundError:
        return 0
    except InternalError:
        return None


def _dry_run(
    method: Callable[..., Any], component: str, call: Mapping[str, Any], expected: int | None
) -> tuple[Any, int | None]:
    """Returns what would happen, and at which revision of the component."""
    from rampd.errors import AbortedError  # noqa: PLC0415 - only for a command that asks

    try:
        return method(component, dry_run=True, **{**call, "expected_revision": expected}), expected
    except AbortedError as error:
        # A component that was deleted keeps its revision. Only this refusal tells it.
        if expected != 0 or call["expected_revision"] == 0 or error.reason != "REVISION_MISMATCH":
            raise
        return _dry_run(method, component, call, int(error.metadata["actual"]))


def _require_damaged(session: Session, component: str) -> None:
    """Raises AbortedError if the data of a component is not damaged any more. A server compares no revision of damaged data, so a
    change of it has no other guard.
    """
    if _revision(session, component):
        from rampd.errors import AbortedError  # noqa: PLC0415 - only for a refusal

        raise AbortedError(
            f"The data of {component} was damaged when you were asked, and is not any more. Nothing was changed. Look at it, and "
            "decide again.",
            reason="REVISION_MISMATCH",
            metadata={"component": component},
        )


def _made(method: Callable[..., Any], component: str, call: Mapping[str, Any], also: str) -> Any:
    """Makes a change. If nobody knows whether it was made, the person reads how to repeat it, and that nothing is done twice.

    `also`: the options that the same request needs besides the request id.
    """
    from rampd.errors import DeadlineExceededError, UnavailableError  # noqa: PLC0415 - the call imports them anyway

    request_id = call["request_id"]
    if call.get("expire_time") is None:
        again = f"To try again, add this, and the change is made once at most: --request-id {request_id}{also}"
    else:
        # `--for 2h` means another time later, so it would be another request. But it sets the same thing again.
        again = "Type it again: a repeat does no harm."
    try:
        with during_the_change(request_id):
            return method(component, **call)
    except (UnavailableError, DeadlineExceededError) as error:
        error.add_note(again)
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note(f"The change may have been made. {again}")
        raise


def shown(
    response: Any, *, component: str = "", is_dry_run: bool = False, stands: bool = False, following: str = ""
) -> Shown:
    """Returns the answer of a change. `stands`: whether a person also sees where the component stands now. `following`: the
    line that says what a person may type next.
    """
    from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that shows something

    changed = ("would" if is_dry_run else "yes") if response.changed else "no"
    text = f"{dry_run_prefix(response)}{_would(response)}" if is_dry_run else one_line(response.message)
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


def dry_run_prefix(response: Any) -> str:
    """Returns what stands before the message of a dry run, which speaks as if the change was made."""
    return f"Dry run, nothing is changed. {'Afterwards: ' if response.changed else ''}"


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
