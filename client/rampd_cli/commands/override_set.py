"""`rampd override set`."""

from datetime import datetime
from typing import Any

import click

from rampd_cli.arguments import COMPONENT, END, REPO, TAG
from rampd_cli.changing import COLUMNS, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("set", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("repo", type=REPO)
@click.option("--tag", type=TAG, default="", help="The version. It may be one that was never released.")
@click.option("--channel", type=click.Choice(("current", "next")), default=None, help="The channel, instead of --tag.")
@click.option("--expires", type=END, default=None, metavar="DURATION|TIME", help="When it ends. Default: never.")
@change_options
def command(
    session: Session,
    component: str,
    repo: str,
    tag: str,
    channel: str | None,
    expires: datetime | None,
    **options: Any,
) -> int:
    """Gives a repo, or all repos below a prefix such as acme/*, a fixed version or channel.

    \b
      rampd override set restyler acme/app --tag pb/secret-branch --expires 7d
      rampd override set restyler 'acme/*' --channel next
    """
    if bool(tag) == bool(channel):
        raise click.UsageError("Give --tag or --channel, and not both.")
    return change(
        session,
        "set_override",
        component,
        options,
        repo=repo,
        tag=tag,
        channel=channel.upper() if channel else None,
        expire_time=expires,
    )
