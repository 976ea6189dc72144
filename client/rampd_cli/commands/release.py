"""`rampd release`."""

from typing import Any

import click

from rampd_cli.arguments import COMPONENT, TAG
from rampd_cli.changing import COLUMNS, attributes_of, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("release", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("tag", type=TAG)
@click.option(
    "-a",
    "--attribute",
    multiple=True,
    default=(),
    metavar="KEY=VALUE",
    help="What launchers get with the tag. Repeat it for more.",
)
@click.option("--expedite", is_flag=True, default=False, help="Make it current at once, without a ramp: for a hotfix.")
@click.option("--force", is_flag=True, default=False, help="End a quarantine of the tag.")
@change_options
def command(
    session: Session,
    component: str,
    tag: str,
    attribute: tuple[str, ...],
    expedite: bool,
    force: bool,
    **options: Any,
) -> int:
    """Hands in a tag. It becomes next at 0 %, or waits in the queue.

    \b
      rampd release restyler 20200409 --attribute commit=1a2b3c
    """
    asks = f"{tag} becomes current for everybody at once, without a ramp." if expedite else ""
    return change(
        session,
        "release",
        component,
        options,
        asks=asks,
        tag=tag,
        attributes=attributes_of(attribute),
        expedite=expedite,
        force=force,
    )
