"""The classes of commands: every command has the options that say where the server is and how the answer is shown."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import click
from click.core import ParameterSource

from rampd_cli.session import OUTPUTS, Session, Settings


def _shared_options() -> list[click.Option]:
    """The options that `rampd` takes, before a command and after it."""
    return [
        click.Option(
            ["--server"],
            multiple=True,
            default=(),
            metavar="ADDRESS",
            help="The server: HOST:PORT, https://HOST:PORT with TLS, or unix:PATH. Default: RAMPD_SERVER, the profile, this machine.",
        ),
        click.Option(
            ["--profile"], default="", metavar="NAME", help="The profile of the configuration file. See `rampd config`."
        ),
        click.Option(
            ["-o", "--output"],
            type=click.Choice(OUTPUTS),
            default=None,
            help="How the answer is shown. Default: table on a terminal, otherwise plain.",
        ),
        click.Option(
            ["--utc"], is_flag=True, default=False, help="Show times in UTC, not in the time zone of this machine."
        ),
        click.Option(
            ["--actor"],
            default="",
            metavar="NAME",
            help="Who you are in the history, if no credential says it. Default: your login name.",
        ),
    ]


SHARED: Final = tuple(str(option.name) for option in _shared_options())


class Command(click.Command):
    """A command. Its function gets a Session, then its own arguments, and returns an exit code or None for 0."""

    def __init__(
        self,
        name: str,
        *,
        columns: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self.columns = columns
        """The columns of `-o plain`. They keep their names and their order; new ones come at the end."""
        self.params += _shared_options()

    def invoke(self, ctx: click.Context) -> Any:
        root = ctx.find_root()
        shared = {}
        for name in SHARED:
            value = ctx.params.pop(name)
            is_given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
            shared[name] = value if is_given or root is ctx else root.params.get(name, value)
        ctx.obj = session = Session(Settings(**shared))
        if self.callback is None:
            return None
        with session:
            return ctx.invoke(self.callback, session, **ctx.params)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own, shared = [], []
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                (shared if param.name in SHARED else own).append(record)
        for title, records in (("Options", own), ("Options of every command", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Group(click.Group):
    """A command that has commands, such as `rampd override`."""

    command_class = Command


class Root(click.Group):
    """`rampd` itself. It imports the file of a command when the command is typed."""

    def __init__(self, sections: dict[str, dict[str, str]], **settings: Any) -> None:
        """`sections`: the title of a part of the help, and each of its commands with one line about it."""
        super().__init__("rampd", **settings)
        self.sections = sections
        self.params += _shared_options()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"rampd_cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], Command]:
    """Makes a Command of a function."""
    return click.command(name, cls=Command, **settings)
