"""`rampd policy show`."""

from typing import TYPE_CHECKING

import click

from rampd_cli.arguments import COMPONENT
from rampd_cli.command import command as make_command
from rampd_cli.policies.applying import every, present, tell_left_out
from rampd_cli.policies.reading import ROOT
from rampd_cli.policies.writing import file_of
from rampd_cli.session import Session
from rampd_cli.shown import Shown, as_data

if TYPE_CHECKING:
    from rampd.errors import RampdError


@make_command("show")
@click.argument("components", metavar="[COMPONENT]...", type=COMPONENT, nargs=-1)
def command(session: Session, components: tuple[str, ...]) -> None:
    """Writes the policies of components, or of all, as a file of YAML for `rampd policy apply`. Settings at their defaults are
    comments.

    If the data of a component is damaged, the others are shown, and the exit code is 1.

    With `-o json` it has all settings, with the names and values of the API's JSON. `apply` reads that, too.

    \b
      rampd policy show restyler
      rampd policy show > policies.yaml
    """
    admin = session.admin()
    damaged: list[RampdError] = []
    found = (
        [present(admin, name) for name in dict.fromkeys(components)]
        if components
        else list(every(session, damaged.append))
    )
    if session.output == "json":
        session.show(Shown({ROOT: {each.component: as_data(each.all) for each in found}}, (), lambda _: None))
    else:
        click.echo(file_of((each.component, each.own, each.all) for each in found), nl=False)
    # What is shown is not all, so the command fails.
    for error in damaged[1:]:
        tell_left_out(session, error)
    if damaged:
        raise damaged[0]
