"""`rampd queue list`."""

from typing import Final

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.command import command as make_command
from rampd_cli.listing import listing, rfc3339
from rampd_cli.session import Session

_COLUMNS: Final = ("position", "release", "tag", "actor", "create_time", "note")


@make_command("list", columns=_COLUMNS)
@click.argument("component", type=COMPONENT)
def command(session: Session, component: str) -> None:
    """Lists the releases that wait, in the order in which they will start.

    \b
      rampd queue list restyler
    """
    from rampd import v1  # noqa: PLC0415 - it is slow to import

    rollout = session.admin().get_rollout(component)
    places = list(enumerate(rollout.queue, start=1))
    session.show(
        listing(
            v1.Rollout(component=component, revision=rollout.revision, queue=rollout.queue),
            [
                (str(place), str(each.number), each.tag, each.actor, rfc3339(each, "create_time"), each.note)
                for place, each in places
            ],
            titles=("Position", "Release", "Tag", "By", "Since", "Note"),
            drawn=[
                (str(place), str(each.number), each.tag, each.actor, session.clock.time(each.create_time), each.note)
                for place, each in places
            ],
            whole="Tag",
            nothing=f"No release of {component} waits.",
        )
    )
