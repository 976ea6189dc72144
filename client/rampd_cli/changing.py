"""What every command that changes something does: a dry run, a question where there is no way back, the call, the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from rampd_cli.failures import Exit
from rampd_cli.session import Session
from rampd_cli.shown import Shown

COLUMNS: Final = ("component", "changed", "revision", "message")
"""The columns of the answer of a change."""
_SHOWN_MOVES: Final = 10

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class How:
    """The options that every change has."""

    note: str
    dry_run: bool
    expect_revision: int | None
    request_id: str
    yes: bool

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> "How":
        """Takes these options out of the options of a command."""
        return cls(**{name: options.pop(name) for name in cls.__slots__})

    def arguments(self) -> dict[str, Any]:
        """Returns them as arguments of a method of Admin."""
        return {
            "note": self.note or None,
            "expected_revision": self.expect_revision,
            "request_id": self.request_id or None,
        }


def change_options(function: _Function) -> _Function:
    """Adds the options of `How` to a command. Its function gets them as keyword arguments."""
    for option in reversed(
        (
            click.option("--note", default="", metavar="TEXT", help="Why. The history keeps it."),
            click.option("--dry-run", is_flag=True, default=False, help="Show what would happen, and change nothing."),
            click.option(
                "--expect-revision",
                type=int,
                default=None,
                metavar="N",
                help="Only if the component is at this revision.",
            ),
            click.option(
                "--request-id",
                default="",
                metavar="ID",
                help="A repeat with the same ID within 24 hours changes nothing.",
            ),
            click.option("-y", "--yes", is_flag=True, default=False, help="Do not ask."),
        )
    ):
        function = option(function)
    return function


def change(
    session: Session,
    verb: str,
    component: str,
    options: dict[str, Any],
    *,
    asks: str = "",
    **arguments: Any,
) -> int:
    """Calls a method of Admin and shows its answer.

    `asks`: why there is no way back, in a sentence. Then the person sees what will happen, and is asked. What the person saw
    is what is changed: another revision is refused.
    """
    how = How.taken_from(options)
    method = getattr(session.admin(), verb)
    call = {**how.arguments(), **arguments}
    if how.dry_run:
        session.show(shown(method(component, dry_run=True, **call), is_dry_run=True))
        return Exit.DONE
    if asks and not how.yes:
        if how.expect_revision is None and component:
            call["expected_revision"] = session.admin().get_rollout(component).revision
        if session.is_interactive:
            session.tell(_text(method(component, dry_run=True, **call), is_dry_run=True))
        session.confirm(f"{asks} Go on?")
    session.show(shown(method(component, **call)))
    return Exit.DONE


def shown(response: Any, *, is_dry_run: bool = False) -> Shown:
    """Returns the answer of a change."""
    row = (
        response.rollout.component,
        "no" if is_dry_run or not response.changed else "yes",
        str(response.revision),
        response.message,
    )
    return Shown(response, [row], lambda console: console.print(_text(response, is_dry_run=is_dry_run), soft_wrap=True))


def _text(response: Any, *, is_dry_run: bool) -> str:
    from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that shows something

    if not is_dry_run:
        return one_line(response.message)
    lines = [f"Dry run, nothing is changed. The answer would be: {one_line(response.message)}"]
    if response.HasField("preview"):
        preview = response.preview
        about = "about " if preview.estimated else ""
        lines.append(
            f"{about}{preview.repos_moved:,} of {about}{preview.repos_seen:,} repos seen in the last day would get another "
            f"version{':' if preview.moves else '.'}".capitalize()
        )
        lines += [
            f"  {one_line(move.repo)}: {one_line(move.before) or 'none'} -> {one_line(move.after) or 'none'}"
            for move in preview.moves[:_SHOWN_MOVES]
        ]
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
