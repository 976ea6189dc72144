"""The classes of commands: every command has the options that say where the server is and how the answer is shown."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from rampd_cli.advice import after_refusal, command_of_verb
from rampd_cli.arguments import PROFILE, SERVER, Text
from rampd_cli.failures import Exit, defect, is_failure, is_of_stream, tell, tell_interrupted
from rampd_cli.session import OUTPUTS, Session, Settings
from rampd_cli.streams import throw_away


def _shared_options() -> list[click.Option]:
    """The options that `rampd` takes, before a command and after it."""
    return [
        click.Option(
            ["--server"],
            type=SERVER,
            multiple=True,
            default=(),
            metavar="ADDRESS",
            help="The server: HOST:PORT, https://HOST:PORT with TLS, or unix:PATH. Default: RAMPD_SERVER, the profile, this machine.",
        ),
        click.Option(
            ["--profile"],
            type=PROFILE,
            default="",
            metavar="NAME",
            help="The profile of the configuration file. See `rampd config`.",
        ),
        click.Option(
            ["-o", "--output"],
            type=click.Choice(OUTPUTS),
            default=None,
            help="How the answer is shown. Default: table on a terminal, otherwise plain.",
        ),
        click.Option(
            ["--utc"],
            is_flag=True,
            default=False,
            help="Show times in UTC, not in the time zone of this machine. Times that you type, such as 09:00, are local also then.",
        ),
        click.Option(
            ["--actor"],
            default="",
            metavar="NAME",
            help="Who you are in the history, if no credential says it. Default: your login name.",
        ),
    ]


SHARED: Final = tuple(str(option.name) for option in _shared_options())


class _Reading(click.Command):
    """A command that says of an option that it does not have what to type instead, and refuses empty values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [*args]
        try:
            left = super().parse_args(ctx, args)
        except click.UsageError as error:
            from rampd_cli.mistyped import with_advice  # noqa: PLC0415 - only for a mistake

            error.ctx = error.ctx or ctx
            raise with_advice(error, ctx, words) from None
        _require_values(self, ctx)
        return left


def _require_values(command: click.Command, ctx: click.Context) -> None:
    """Raises UsageError for an empty value on the command line, such as that of a variable that is not set. It would be taken for
    none, and so switch a guard off, or an address.
    """
    if ctx.resilient_parsing:
        return
    for param in command.params:
        value = ctx.params.get(str(param.name))
        is_typed = ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
        if is_typed and "" in (value if isinstance(value, tuple) else (value,)) and not isinstance(param.type, Text):
            is_option = isinstance(param, click.Option)
            name = max(param.opts, key=len) if is_option else param.human_readable_name.strip("[].")
            wanted = f"give it a value{'' if param.required else ', or leave it out'}"
            raise click.UsageError(f"{name} is empty: {wanted}. A variable that is not set is empty, too.", ctx)


class Command(_Reading):
    """A command. Its function gets a Session, then its own arguments, and returns an exit code or None for 0."""

    def __init__(
        self,
        name: str,
        *,
        columns: tuple[str, ...] = (),
        asks: str = "",
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self.asks = asks
        """What has to be typed so that a person is asked, for the document. Empty if the command never asks."""
        self.columns = columns
        """The columns of `-o plain`. They keep their names and their order; new ones come at the end."""
        self.params += _shared_options()

    def invoke(self, ctx: click.Context) -> Any:
        ctx.obj = session = Session(Settings.of(ctx))
        for name in SHARED:
            del ctx.params[name]
        if self.callback is None:
            return None
        given = dict(ctx.params)
        with session:
            try:
                return ctx.invoke(self.callback, session, **ctx.params)
            except BrokenPipeError:
                # The program that reads the output has ended.
                throw_away(sys.stdout)
                return Exit.PIPE_CLOSED
            except (KeyboardInterrupt, SystemExit) as error:
                return tell_interrupted(error, output_of(session))
            except Exception as error:
                if isinstance(error, click.exceptions.Exit) or is_of_stream(error):
                    raise
                told = error if is_failure(error) else defect(error)
                return tell(told, output_of(session), after_refusal(told, str(ctx.info_name), given, session.at))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            # An argument stands in the first line of the help, with nothing to say about it here.
            if (record := param.get_help_record(ctx)) is not None and record[1]:
                (shared if param.name in SHARED else own).append(record)
        for title, records in (("Options", own), ("Options of every command", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if self.columns:
            with formatter.section("Columns of -o plain, separated by tabs"):
                formatter.write_text(", ".join(self.columns))


def output_of(session: Session) -> str:
    """The output for an error. That of a person if the configuration can't say it: what is wrong with it may be the error."""
    try:
        return session.output
    except Exception:  # noqa: BLE001 - the error that is told must not get lost
        return ""


class _Commands(_Reading, click.Group):
    """Commands. The file of a command is imported when the command is typed."""

    sections: Mapping[str, Mapping[str, str]]
    """The title of a part of the help, and each of its commands with one line about it."""
    _prefix = ""
    """How the names of the files begin."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"rampd_cli.commands.{self._prefix}{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"There is no command {ctx.command_path} {name!r}.{self._instead(ctx, name)}", ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # click would import every command for its line.
        commands = [
            CompletionItem(name, help=line) for section in self.sections.values() for name, line in section.items()
        ]
        found = [item for item in commands if item.value.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _instead(self, ctx: click.Context, name: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - only for a command that there is not

        near = get_close_matches(name.lower(), self.list_commands(ctx), n=1)
        return f" Did you mean: {ctx.command_path} {near[0]}" if near else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


class Group(_Commands):
    """A command that has commands, such as `rampd override`. The file of `rampd override set` is `commands/override_set.py`."""

    def __init__(self, name: str, commands: Mapping[str, str], **settings: Any) -> None:
        """`commands`: each command, with one line about it."""
        super().__init__(name, no_args_is_help=True, **settings)
        self.sections = {"Commands": commands}
        self._prefix = f"{name}_"
        self.params += _shared_options()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Each command shows the options of every command.
        self.format_commands(ctx, formatter)


class Root(_Commands):
    """`rampd` itself."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]], **settings: Any) -> None:
        super().__init__("rampd", **settings)
        self.sections = sections
        self.params += _shared_options()

    def _instead(self, ctx: click.Context, name: str) -> str:
        known = command_of_verb(name)
        if known.partition(" ")[0] in self.list_commands(ctx):
            return f" It is: {ctx.command_path} {known}"
        return super()._instead(ctx, name)


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], Command]:
    """Makes a Command of a function."""
    return click.command(name, cls=Command, **settings)
