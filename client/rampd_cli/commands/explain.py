"""`rampd explain`."""

import click

from rampd_cli.arguments import COMPONENT, REPO, TEXT
from rampd_cli.command import command as make_command
from rampd_cli.failures import Exit, exit_of
from rampd_cli.session import Session

COLUMNS = ("source", "tag", "channel", "reason", "release", "bucket", "revision", "stale", "told")


@make_command("explain", columns=COLUMNS)
@click.argument("component", type=COMPONENT)
@click.argument("repo", type=REPO)
@click.option(
    "--job-id",
    type=TEXT,
    default="",
    metavar="ID",
    help="The id of the job. It matters only if each job draws a bucket.",
)
def command(session: Session, component: str, repo: str, job_id: str) -> int:
    """Shows which version a repo gets, by which rule, and what would change it.

    It also asks each server that is given with --server, and shows where an answer differs. If one of them does not answer,
    the exit code is that of the failed call.

    \b
      rampd explain restyler acme/app
      rampd explain restyler acme/app --server 10.0.0.1:50051 --server 10.0.0.2:50051
    """
    # An import of these modules also imports the messages, which `--help` does not need.
    from rampd_cli.explaining.asking import ask  # noqa: PLC0415
    from rampd_cli.explaining.showing import shown  # noqa: PLC0415

    known, asked = ask(session, component, repo, job_id)
    session.show(shown(known, asked, session.clock, is_for_programs=session.output in {"json", "yaml"}))
    for each in asked:
        if each.error is not None:
            return exit_of(each.error)
    return Exit.DONE
