"""`rampd revert`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from rampd_cli.advice import instead_of_rollback
from rampd_cli.arguments import COMPONENT, PREVIOUS
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session

if TYPE_CHECKING:
    from rampd import v1


@make_command(
    "revert",
    columns=COLUMNS,
    asks="`rampd revert --to TAG`, if there is a newer previous tag, or if current came by a Revert",
)
@click.argument("component", type=COMPONENT)
@click.option(
    "--to",
    type=PREVIOUS,
    default="",
    metavar="TAG",
    help="The previous tag to go back to. Default: the newest. Asks if older, and after another revert.",
)
@click.option(
    "--quarantine/--no-quarantine",
    default=True,
    help="Refuse the bad tag until somebody lifts the quarantine. Default: --quarantine.",
)
@change_options
def command(session: Session, component: str, to: str, quarantine: bool, **options: Any) -> int:
    """Makes the previous version current again, for everybody at once.

    Without --to it goes back only once: a repeat changes nothing, and says who reverted what.

    \b
      rampd revert restyler --note "loses comments"
      rampd revert restyler --to 20200301
    """
    asks, seen = "", None
    if to and not options["yes"] and not options["dry_run"]:
        admin = session.admin()
        rollout, releases = admin.get_rollout(component), admin.list_releases(component)
        asks, seen = _beyond_one(rollout, releases, to, quarantine=quarantine), rollout.revision
    with _advice_on_current(session, component):
        return change(session, "revert", component, options, asks=asks, seen=seen, tag=to, quarantine=quarantine)


def _beyond_one(rollout: "v1.Rollout", releases: "Iterable[v1.Release]", to: str, *, quarantine: bool) -> str:
    """Says why there is no way back, if a Revert goes back over more than one version: the tags in between, or what the last Revert
    has restored. Empty if it goes back over one. A Revert that only undoes the last one, without a quarantine, is none of them.
    """
    left = rollout.current.tag
    tags = list(dict.fromkeys(each.tag for each in rollout.previous if each.tag != left))
    before_revert = [each.tag for each in releases if _was_left_for(each, rollout.current)]
    is_restored = bool(before_revert) and (quarantine or to not in before_revert)
    if to == left or (to not in tags[1:] and not is_restored):
        return ""
    over = ", ".join([left, *(tags[: tags.index(to)] if to in tags else [])])
    asks = f"{to} becomes current for everybody at once, and goes back over {over}."
    if is_restored:
        asks += f" {left} is what the last Revert has restored."
    return f"{asks} {left} is quarantined." if quarantine else asks


def _was_left_for(release: "v1.Release", current: "v1.Release") -> bool:
    """Whether a Revert left a release for current, at the moment at which it became current."""
    from rampd._contract.release_end import REVERTED  # noqa: PLC0415 - only with --to

    return release.end_reason.startswith(f"{REVERTED}{current.tag} ") and release.update_time == current.update_time


@contextmanager
def _advice_on_current(session: Session, component: str) -> Iterator[None]:
    """If the block is refused because next is rolled out, the person also reads how to leave current all the same."""
    from rampd.errors import FailedPreconditionError, RampdError  # noqa: PLC0415 - it is slow to import

    try:
        yield
    except FailedPreconditionError as error:
        if error.reason == "ROLLOUT_IN_PROGRESS":
            with suppress(RampdError):
                if line := instead_of_rollback(session.admin().get_rollout(component), session.at):
                    error.add_note(line)
        raise
