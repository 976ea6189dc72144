"""`rampd quarantine list`."""

from typing import Final

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.command import command as make_command
from rampd_cli.listing import listing, rfc3339
from rampd_cli.session import Session

_COLUMNS: Final = ("tag", "actor", "create_time", "note")


@make_command("list", columns=_COLUMNS)
@click.argument("component", type=COMPONENT)
def command(session: Session, component: str) -> None:
    """Lists the quarantined tags of a component: who quarantined each, when and why.

    \b
      rampd quarantine list restyler
    """
    from rampd import v1  # noqa: PLC0415 - it is slow to import

    tags = list(session.admin().list_quarantine(component, page_size=1000))
    session.show(
        listing(
            v1.ListQuarantineResponse(tags=tags),
            [(tag.tag, tag.actor, rfc3339(tag, "create_time"), tag.note) for tag in tags],
            titles=("Tag", "By", "Since", "Note"),
            drawn=[(tag.tag, tag.actor, session.clock.time(tag.create_time), tag.note) for tag in tags],
            whole="Tag",
            nothing=f"{component} has no quarantined tags.",
        )
    )
