"""`rampd history`."""

from datetime import datetime

import click

from rampd_cli.arguments import COMPONENT, PAST, WholeRange
from rampd_cli.command import command as make_command
from rampd_cli.failures import Exit
from rampd_cli.session import Session

COLUMNS = ("time", "component", "actor", "claimed", "action", "note", "changes", "revision", "id")
_NEWEST = 20
_MOST = 1_000_000_000


@make_command("history", columns=COLUMNS)
@click.argument("component", type=COMPONENT, required=False, default="")
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    default=False,
    help="Go on with new events as they come, until Ctrl-C.",
)
@click.option(
    "--since",
    type=PAST,
    default=None,
    metavar="DURATION|TIME",
    help="Only events since then: 2h, 7d, 09:00, 2026-12-01T09:00.",
)
@click.option(
    "-n",
    "--limit",
    type=WholeRange(min=0, max=_MOST),
    default=None,
    metavar="N",
    help=f"At most the N newest events. Default: {_NEWEST}; with --since all.",
)
def command(session: Session, component: str, follow: bool, since: datetime | None, limit: int | None) -> int:
    """Shows who changed what, when and why: in one component, or in all.

    The newest event is the last one, in every form of output. "(claimed)" after a name means that no credential proves it.
    docs/cli.md explains words such as trial, driver and namespace.

    With --follow, no event is missing and none comes twice, even if the server restarts. JSON has a line for each event.

    \b
      rampd history restyler --since 1d
      rampd history --follow
    """
    # An import of these modules also imports the messages, which `--help` does not need.
    from rampd_cli.history import following, showing  # noqa: PLC0415

    if limit is None and since is None:
        limit = _NEWEST
    if follow:
        following.follow(session, component, since=since, limit=limit)
    session.show(showing.shown(session, component, since=since, limit=limit))
    return Exit.DONE
