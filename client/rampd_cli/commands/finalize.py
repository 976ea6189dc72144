"""`rampd finalize`."""

from typing import Any

import click

from rampd_cli.advice import after_finalize, before_finalize
from rampd_cli.arguments import COMPONENT
from rampd_cli.changing import COLUMNS, change, change_options, only_if_next, shown
from rampd_cli.command import command as make_command
from rampd_cli.failures import Exit
from rampd_cli.session import Session


@make_command("finalize", columns=COLUMNS, asks="`rampd finalize --force`")
@click.argument("component", type=COMPONENT)
@only_if_next
@click.option("--force", is_flag=True, default=False, help="Finalize a next at 0 %, which nobody has tried. Asks.")
@change_options
def command(session: Session, component: str, tag: str, force: bool, **options: Any) -> int:
    """Makes next current. The first release of the queue becomes next at 0 %.

    \b
      rampd finalize restyler
    """
    release, warning = ("", "") if options["dry_run"] or session.output != "table" else _warning(session, component)
    asks = ""
    if force:
        asks = (
            f"Next of {component} becomes current for everybody at once, even if nobody has tried it. {warning}".strip()
        )

    def answered(response: Any) -> int:
        # No question, because a Revert takes it back.
        was_it = bool(warning) and response.changed and response.rollout.current.tag == release
        following = f"{warning}\n{after_finalize(response.rollout, session.at)}" if was_it else ""
        session.show(shown(response, component=component, stands=True, following=following))
        return Exit.DONE

    return change(session, "finalize", component, options, asks=asks, then=answered, tag=tag, force=force)


def _warning(session: Session, component: str) -> tuple[str, str]:
    """Returns the tag of next, and that automation has found that it fails, in a sentence. Both are empty if it has not."""
    rollout = session.admin().get_rollout(component)
    return rollout.next.tag, before_finalize(rollout)
