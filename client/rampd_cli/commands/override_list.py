"""`rampd override list`."""

from typing import TYPE_CHECKING, Final

import click

from rampd_cli.arguments import COMPONENT, REPO
from rampd_cli.command import command as make_command
from rampd_cli.listing import listing, rfc3339
from rampd_cli.session import Session

if TYPE_CHECKING:
    from rampd import v1

_COLUMNS: Final = ("repo", "channel", "tag", "expire_time", "actor", "create_time", "note")


@make_command("list", columns=_COLUMNS)
@click.argument("component", type=COMPONENT)
@click.option("--prefix", type=REPO, default="", metavar="TEXT", help="Only repos that begin with this, such as acme/.")
def command(session: Session, component: str, prefix: str) -> None:
    """Lists the overrides of a component by repo: what each repo gets, until when, who set it, since when, and why.

    \b
      rampd override list restyler --prefix acme/
    """
    from rampd import v1  # noqa: PLC0415 - it is slow to import

    overrides = list(session.admin().list_overrides(component, prefix=prefix, page_size=1000))
    session.show(
        listing(
            v1.ListOverridesResponse(overrides=overrides),
            (_row(each) for each in overrides),
            titles=("Repo", "Gets", "Until", "By", "Since", "Note"),
            drawn=(_drawn(session, each) for each in overrides),
            whole="Gets",
            nothing=f"{component} has no overrides" + (f" for repos that begin with {prefix}." if prefix else "."),
        )
    )


def _row(each: "v1.Override") -> tuple[str, ...]:
    return (
        each.repo,
        _channel(each),
        each.tag,
        rfc3339(each, "expire_time"),
        _actor(each),
        rfc3339(each, "create_time"),
        each.note,
    )


def _drawn(session: Session, each: "v1.Override") -> tuple[str, ...]:
    until = session.clock.time(each.expire_time) if each.HasField("expire_time") else ""
    since = session.clock.time(each.create_time) if each.HasField("create_time") else ""
    return each.repo, each.tag or _channel(each), until, _actor(each), since, each.note


def _channel(each: "v1.Override") -> str:
    from rampd import v1  # noqa: PLC0415 - it is slow to import

    return {v1.CHANNEL_CURRENT: "current", v1.CHANNEL_NEXT: "next"}.get(each.channel, "")


def _actor(each: "v1.Override") -> str:
    return f"{each.actor} (claimed)" if each.actor and each.actor_claimed else each.actor
