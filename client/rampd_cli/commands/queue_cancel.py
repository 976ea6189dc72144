"""`rampd queue cancel`."""

from typing import TYPE_CHECKING, Any

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.failures import WrongUseError
from rampd_cli.session import Session

if TYPE_CHECKING:
    from rampd import v1


@make_command("cancel", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("release")
@click.option(
    "--by",
    type=click.Choice(("number", "tag")),
    default=None,
    help="What RELEASE is. Needed only if it is the number of one release and the tag of another one.",
)
@change_options
def command(session: Session, component: str, release: str, by: str | None, **options: Any) -> int:
    """Takes a release out of the queue, by its tag or by its number.

    \b
      rampd queue cancel restyler 20200409
    """
    number = _number(session, component, release, by)
    return change(session, "cancel_release", component, options, release=number)


def _number(session: Session, component: str, release: str, by: str | None) -> int:
    """Returns the number of a release. Raises WrongUseError, and NotFoundError if there is none with this tag."""
    is_number = release.isascii() and release.isdecimal()
    if by == "number":
        if not is_number:
            raise WrongUseError(f"{release!r} is not a number.")
        return int(release)
    queue = session.admin().get_rollout(component).queue
    of_tag = next((each.number for each in queue if each.tag == release), None)
    if of_tag is None and is_number and by is None:
        return int(release)
    if of_tag is None:
        return _ended(session, component, release).number
    if is_number and by is None and of_tag != int(release) and any(each.number == int(release) for each in queue):
        raise WrongUseError(
            f"{release} is the tag of release {of_tag}, and the number of another release. Say which: --by tag or --by number."
        )
    return of_tag


def _ended(session: Session, component: str, tag: str) -> "v1.Release":
    """Returns the newest release with a tag that does not wait. The server then says what became of it."""
    for each in session.admin().list_releases(component):
        if each.tag == tag:
            return each
    from rampd.errors import NotFoundError  # noqa: PLC0415 - only for an error

    raise NotFoundError(
        f"{component} has no release with the tag {tag} among its last releases.",
        reason="RELEASE_NOT_FOUND",
        metadata={"component": component, "tag": tag},
    )
