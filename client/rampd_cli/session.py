"""One run of a command: its settings, its connection, and the ways to talk to the person."""

import getpass
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click
from click.core import ParameterSource

from rampd_cli.failures import DeclinedError, WrongUseError
from rampd_cli.place import Place, has_proof, place_of, typed
from rampd_cli.profiles import Profile, read_profiles
from rampd_cli.shown import Shown, show, terminal
from rampd_cli.streams import hang_up_is_an_error, may_be_lost

if TYPE_CHECKING:
    from rampd import Admin, Resolver
    from rampd._standing.clock import Clock

OUTPUTS: Final = ("table", "plain", "json", "yaml")
_RESOLVE_S: Final = 5.0
"""How long a server has to say which version a repo gets: as long as for any other question of a person."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options of every command say. Empty or None: not given."""

    server: Sequence[str] = ()
    profile: str = ""
    output: str | None = None
    utc: bool = False
    actor: str = ""

    @classmethod
    def of(cls, ctx: click.Context) -> Self:
        """Returns what a command line says, before the command and after it."""
        return cls(**{each.name: _given(ctx, each.name) for each in fields(cls)})


def _given(ctx: click.Context, name: str) -> Any:
    """The value of an option of every command: the one nearest to the command's own arguments wins."""
    value, at = ctx.params[name], ctx
    while at.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
        if at.parent is None:
            return value
        at = at.parent
    return at.params[name]


class Session:
    """Ends its connection at the end of the `with` block."""

    def __init__(self, settings: Settings) -> None:
        # gRPC writes a line for each failed handshake. The error of the call says the same.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        self._settings = settings
        self._profile: Profile | None = None
        self._admins: dict[str, Admin] = {}
        self._resolvers: dict[str, Resolver] = {}

    @property
    def profile_name(self) -> str:
        """The name of the profile that was asked for. Empty: the default one of the configuration file."""
        return self._settings.profile or os.environ.get("RAMPD_PROFILE", "")

    @property
    def typed_profile(self) -> str:
        """The profile of the command line. Empty: none is named there."""
        return self._settings.profile

    @property
    def at(self) -> str:
        """What a command line ends with that a person copies, so that it reaches the same server: the options that the person has
        typed. What the environment and the configuration file say holds for the next command, too.
        """
        return typed(self._settings.server[:1], self.typed_profile)

    @property
    def profile(self) -> Profile:
        """The profile in force. Raises UsageError."""
        if self._profile is None:
            self._profile = read_profiles().named(self.profile_name)
        return self._profile

    @property
    def output(self) -> str:
        """`table`, `plain`, `json` or `yaml`. Raises UsageError."""
        default = "table" if sys.stdout.isatty() else "plain"
        return self._settings.output or (self.profile.output if self.profile.output in OUTPUTS else default)

    @property
    def is_utc(self) -> bool:
        """Whether times are shown in UTC."""
        return self._settings.utc or self.profile.utc

    @property
    def is_interactive(self) -> bool:
        """Whether there is a person who can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def clock(self) -> "Clock":
        """Writes times for a person."""
        from rampd._standing.clock import Clock  # noqa: PLC0415 - only for a person

        return Clock(datetime.now(UTC), is_utc=self.is_utc)

    def places(self) -> list[Place]:
        """Returns every server that was given with `--server`, or the one that is in force. Raises UsageError."""
        is_named = bool(self._settings.profile)
        given = self._settings.server or ("",)
        return [place_of(each, self.profile, is_profile_named=is_named, environment=os.environ) for each in given]

    def admin(self) -> "Admin":
        """Returns a client of the server. It connects at the first call. Raises UsageError and InvalidArgumentError."""
        if len(self._settings.server) > 1:
            raise click.UsageError("This command talks to one server. Give --server once.")
        return self.admin_of(self.places()[0])

    def admin_of(self, place: Place) -> "Admin":
        """Returns a client of one of several servers."""
        if place.server not in self._admins:
            from rampd import Admin  # noqa: PLC0415 - it is slow to import

            self._admins[place.server] = Admin(
                place.server, actor=self._actor(place), credentials=place.credentials(), ca_file=place.ca_file
            )
        return self._admins[place.server]

    def resolver_of(self, place: Place) -> "Resolver":
        """Returns a resolver that asks one of several servers each time."""
        if place.server not in self._resolvers:
            from rampd import Resolver  # noqa: PLC0415 - it is slow to import

            self._resolvers[place.server] = Resolver(
                place.server, mode="rpc", timeout=_RESOLVE_S, credentials=place.credentials(), ca_file=place.ca_file
            )
        return self._resolvers[place.server]

    def show(self, shown: Shown) -> None:
        """Writes an answer to stdout."""
        show(shown, self.output)

    def tell(self, text: str, *, is_row: bool = False) -> None:
        """Writes a text for a person to stderr. A program that reads stderr gets only an error there. `is_row`: the text is a row of
        columns, which is not broken at words.
        """
        if sys.stderr.isatty() or self.output not in {"json", "yaml"}:
            with may_be_lost(sys.stderr):
                if is_row or not sys.stderr.isatty():
                    click.echo(text, err=True)
                    return
                from rampd_cli.drawing.paragraph import say  # noqa: PLC0415 - only for a person

                say(terminal(is_error=True), text)

    def confirm(self, question: str, *, answer: str = "") -> None:
        """Asks a person. Raises DeclinedError if the answer is no, and WrongUseError if there is nobody to ask.

        `answer`: what the person has to type instead of `y`, so that nobody types it by habit.
        """
        if not self.is_interactive:
            raise WrongUseError(
                "Nothing was changed: this needs a yes, and there is no terminal to ask at. To say yes, type the command again "
                f"with --yes. The question was: {question}"
            )
        from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that asks
        from rampd_cli.drawing.paragraph import wrapped  # noqa: PLC0415 - as above

        wanted = f"Type {one_line(answer)} to go on" if answer else "[y/N]"
        try:
            with hang_up_is_an_error():
                width = terminal(is_error=True).width
                *lines, last = wrapped(one_line(question), width)
                gap = " " if len(f"{last} {wanted}: ") <= width else "\n"
                click.echo("\n".join([*lines, f"{last}{gap}{wanted}: "]), nl=False, err=True)
                # Not `input`, which would write to stdout.
                line = sys.stdin.readline()
        except (KeyboardInterrupt, SystemExit) as error:
            error.add_note("Nothing was changed.")
            raise
        except UnicodeDecodeError:  # keys of another encoding: no answer that could be a yes
            line = "\n"
        except OSError:  # the terminal is gone
            line = ""
        if not line:
            self.tell("")
            raise DeclinedError("There was no answer. Nothing was changed.")
        if (line.strip() != answer) if answer else (line.strip().lower() not in {"y", "yes"}):
            raise DeclinedError("Nothing was changed.")

    def _actor(self, place: Place) -> str:
        """The name to claim in the history, which nothing proves. Empty if a credential proves who calls."""
        if self._settings.actor or self.profile.actor:
            return self._settings.actor or self.profile.actor
        if place.profile.token_file or place.profile.cert_file or has_proof(os.environ):
            return ""
        try:
            name = getpass.getuser()
        except (OSError, KeyError, ImportError):
            return ""
        from rampd._contract.grammar import ACTOR  # noqa: PLC0415 - only for a command that makes a call

        return name if ACTOR.matches(name) else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for admin in self._admins.values():
            admin.close()
        for resolver in self._resolvers.values():
            resolver.close()
