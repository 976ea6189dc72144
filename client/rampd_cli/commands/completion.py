"""`rampd completion`."""

import click

from rampd_cli.command import command as make_command
from rampd_cli.session import Session


@make_command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(_session: Session, shell: str) -> None:
    """Prints the script that completes commands, options, components, tags and the repos with an override in your shell.

    Names come from the server, if it answers at once. The options on the line say which server, as for every command.

    For bash, in ~/.bashrc:

    \b
      eval "$(rampd completion bash)"

    For zsh, in ~/.zshrc after compinit:

    \b
      eval "$(rampd completion zsh)"

    For fish, once:

    \b
      rampd completion fish > ~/.config/fish/completions/rampd.fish
    """
    from rampd_cli.shells import SCRIPTS  # noqa: PLC0415 - only this command and a shell need them

    click.echo(SCRIPTS[shell], nl=False)
