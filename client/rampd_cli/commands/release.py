"""`rampd release`."""

from datetime import timedelta
from typing import Any

import click

from rampd_cli.arguments import COMPONENT, TAG, TIMEOUT
from rampd_cli.changing import COLUMNS, attributes_of, change, change_options
from rampd_cli.command import command as make_command
from rampd_cli.failures import Exit
from rampd_cli.session import Session


@make_command("release", columns=COLUMNS, asks="`rampd release --expedite`")
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
@click.option(
    "--expedite", is_flag=True, default=False, help="Make it current at once, without a ramp: for a hotfix. Asks."
)
@click.option("--force", is_flag=True, default=False, help="End a quarantine of the tag.")
@click.option("--wait", "waits", is_flag=True, default=False, help="Wait until it is current, as `rampd wait` does.")
@click.option(
    "--timeout", type=TIMEOUT, default=None, metavar="DURATION", help="How long --wait waits. Default: without end."
)
@change_options
def command(
    session: Session,
    component: str,
    tag: str,
    attribute: tuple[str, ...],
    expedite: bool,
    force: bool,
    waits: bool,
    timeout: timedelta | None,
    **options: Any,
) -> int:
    """Hands in a tag. It becomes next at 0 %, or waits in the queue.

    \b
      rampd release restyler 20200409 --attribute commit=1a2b3c
      rampd release restyler 20200409 --wait --timeout 2h
    """
    if timeout is not None and not waits:
        raise click.UsageError("--timeout is for --wait.")

    def wait_for(response: Any) -> int:
        from rampd._contract.wording import one_line  # noqa: PLC0415 - only for --wait
        from rampd_cli.waiting.goal import Goal  # noqa: PLC0415 - as above
        from rampd_cli.waiting.run import wait  # noqa: PLC0415 - as above

        session.tell(one_line(response.message))
        wait(session, component, f"#{response.release}", Goal("current"), timeout=timeout, keeps_waiting=False)
        return Exit.DONE

    asks = f"{tag} becomes current for everybody at once, without a ramp." if expedite else ""
    return change(
        session,
        "release",
        component,
        options,
        asks=asks,
        then=wait_for if waits else None,
        tag=tag,
        attributes=attributes_of(attribute),
        expedite=expedite,
        force=force,
    )
