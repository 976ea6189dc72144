"""`rampd revert`."""

from typing import TYPE_CHECKING, Any

import click

from rampd_cli.arguments import COMPONENT, PREVIOUS
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session

if TYPE_CHECKING:
    from rampd import v1


@make_command("revert", columns=COLUMNS, asks="`rampd revert --to TAG`, if there is a newer previous tag")
@click.argument("component", type=COMPONENT)
@click.option(
    "--to",
    type=PREVIOUS,
    default="",
    metavar="TAG",
    help="The previous tag to go back to. Default: the newest. Asks if older.",
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
        rollout = session.admin().get_rollout(component)
        asks, seen = _beyond_one(rollout, to), rollout.revision
    return change(session, "revert", component, options, asks=asks, seen=seen, tag=to, quarantine=quarantine)


def _beyond_one(rollout: "v1.Rollout", to: str) -> str:
    """Says why there is no way back, if a tag is not the newest of the previous ones. The tags in between would be jumped over."""
    tags = list(dict.fromkeys(each.tag for each in rollout.previous if each.tag != rollout.current.tag))
    if to not in tags[1:]:
        return ""
    over = ", ".join([rollout.current.tag, *tags[: tags.index(to)]])
    return f"{to} becomes current for everybody at once, and goes back over {over}."
