"""`rampd doctor`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rampd_cli.command import command as make_command
from rampd_cli.diagnosis.facts import Facts
from rampd_cli.diagnosis.finding import Finding, Result
from rampd_cli.failures import Exit
from rampd_cli.session import Session
from rampd_cli.shown import Shown

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = ("server", "check", "result", "message", "advice")
_STYLES = {Result.OK: "green", Result.WARNING: "yellow", Result.PROBLEM: "bold red"}


@make_command("doctor", columns=_COLUMNS)
def command(session: Session) -> int:
    """Looks for what is wrong with the connection, your credentials, the server and its store, and says what to do.

    With several --server it asks each of them, and compares them. It changes nothing.

    The exit code is 0 if nothing is a problem, 1 if something is, and 3 if a server was not reached.

    \b
      rampd doctor
      rampd doctor --server https://a.example.com:50051 --server https://b.example.com:50051
    """
    from rampd_cli.diagnosis.checks import findings  # noqa: PLC0415 - `rampd doctor --help` needs no check
    from rampd_cli.diagnosis.gathering import gather  # noqa: PLC0415

    facts = gather(session, session.places())
    found = list(findings(facts))
    rows = [(each.server, each.check, each.result, each.message, each.advice) for each in found]
    session.show(Shown({"checks": [_data(each) for each in found]}, rows, lambda console: _draw(console, found)))
    return exit_code(facts, found)


def exit_code(facts: Sequence[Facts], found: Sequence[Finding]) -> int:
    """Returns the exit code for what the checks say."""
    if not all(each.is_reached for each in facts):
        return Exit.NOT_REACHED
    return Exit.REFUSED if any(each.result is Result.PROBLEM for each in found) else Exit.DONE


def _data(finding: Finding) -> Mapping[str, Any]:
    return {
        "server": finding.server,
        "check": finding.check,
        "result": str(finding.result),
        "message": finding.message,
        "advice": finding.advice,
    }


def _draw(console: "Console", found: Sequence[Finding]) -> None:
    from rich.padding import Padding  # noqa: PLC0415 - only on a terminal
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from rampd._contract.wording import counted, one_line  # noqa: PLC0415

    servers = list(dict.fromkeys(each.server for each in found))
    for server in servers:
        if len(servers) > 1:
            console.print(Text(one_line(server) or "All servers together", "bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for each in (each for each in found if each.server == server):
            text = Text(one_line(each.message))
            if each.advice:
                text.append(f"\n{one_line(each.advice)}", "bold")
            table.add_row(Text(each.result, _STYLES[each.result]), each.check, text)
        console.print(Padding(table, (0, 0, 1 if len(servers) > 1 else 0, 0)))
    numbers = Counter(each.result for each in found)
    console.print(
        f"{counted(numbers[Result.PROBLEM], 'problem')}, {counted(numbers[Result.WARNING], 'warning')}, "
        f"{numbers[Result.OK]:,} ok."
    )
