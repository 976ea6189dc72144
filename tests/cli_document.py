"""Writes docs/cli.md, the man page docs/rampd.1 and docs/policy.schema.json from the code of `rampd`: `make docs`.

Tests compare the files with the code. The page and the man page have the same content; only the last step, the markup, differs.
"""

import ast
import contextlib
import inspect
import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import click

from rampd.errors import NotFoundError
from rampd_cli import arguments, changing, failures, profiles
from rampd_cli.app import SECTIONS, root
from rampd_cli.command import SHARED, Command
from rampd_cli.command import Group as CommandGroup
from rampd_cli.policies.schema import schema_text

DOCS = Path(__file__).parents[1] / "docs"
FOR_CHANGES = tuple(each.name for each in fields(changing.How))

ENVIRONMENT = {
    "RAMPD_SERVER": "The server, as `--server`.",
    "RAMPD_PROFILE": "The profile of the configuration file, as `--profile`.",
    "RAMPD_TOKEN": "The token that proves who you are. No option takes a token, because other users can read a command line.",
    "RAMPD_TOKEN_FILE": "A file with the token.",
    "RAMPD_CERT_FILE": "The certificate that proves who you are, instead of a token. It needs `RAMPD_KEY_FILE`.",
    "RAMPD_KEY_FILE": "The key of the certificate.",
    "RAMPD_CA_FILE": "The certificates of the authorities that may have signed the server's certificate.",
    "NO_COLOR": "If it is set, nothing is coloured.",
    "COLUMNS": "The width of tables, if it is not that of the terminal.",
    "TERM": "With `dumb`, nothing is drawn again and again: `status --watch` and `wait` write a line for each change.",
    "VISUAL, EDITOR": "The editor of `rampd policy edit`.",
    "XDG_CONFIG_HOME": "The folder of `rampd/config.toml`. Default: `~/.config`.",
    "XDG_STATE_HOME": "The folder where a server of yours has its socket. Default: `~/.local/state`.",
}

WORDS = {
    "component": "A program whose version rampd chooses, such as `restyler`.",
    "current": "The version that jobs get unless they get next.",
    "next": "The version that is being rolled out. It gets a share of the jobs: its percent.",
    "steady": "There is no next.",
    "HELD": "Next is kept at 0 %, and nothing raises it until a person does.",
    "unit": "Who draws a version: each repo once, or each job.",
    "trial": "The time over which next is compared with current. `ramp` after a HELD begins a new trial, so that old failures do not count.",
    "E": "The evidence of a trial against next. 1 means that the failures say nothing. At the limit, 100 unless the policy says "
    "otherwise, next counts as worse than current, and the policy says what happens then. docs/automation.md has the formula.",
    "guard": "What compares the failures, and acts when next counts as worse.",
    "driver": "Who moves the percent now: the plan of the policy, a person, or nobody yet.",
    "quarantine": "The tags that must not be rolled out.",
    "revision": "The number of the last change of a component.",
    "namespace": "All components of one server, or of several servers with the same store. Another namespace has other components.",
    "claimed": "A name that somebody gave, and that no credential proves.",
}


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph. `code` is in backticks, as everywhere."""

    text: str


@dataclass(frozen=True)
class Typed:
    """What somebody types, or reads, line by line."""

    lines: str
    language: str = ""


@dataclass(frozen=True)
class Terms:
    """Terms, each with what it means."""

    terms: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Contents:
    """A list of the commands. The man page has none."""

    titles: Mapping[str, Mapping[str, str]]


Block = Heading | Text | Typed | Terms | Contents


def document() -> Iterator[Block]:
    """The content of both files."""
    yield Text(
        "`rampd` shows and changes which version of a component each job runs. It comes with `pip install 'rampd[cli]'`. "
        "`rampd --help` lists the commands, and `rampd COMMAND --help` shows what this page says about a command."
    )
    yield Text(
        "`man rampd` has the same text. `man` finds the page if the environment with `rampd` is active. Otherwise: "
        "`MANPATH=/path/to/the/environment/share/man man rampd`."
    )
    yield Contents(SECTIONS)
    ctx = click.Context(root, info_name="rampd")
    for title, commands in SECTIONS.items():
        yield Heading(2, f"Commands: {title.lower()}")
        for name in commands:
            yield from of_command(name, root, ctx)
    yield from of_all_commands()


def of_command(name: str, group: click.Group, parent: click.Context) -> Iterator[Block]:
    command = group.get_command(parent, name)
    assert command is not None, name
    ctx = click.Context(command, info_name=name, parent=parent)
    yield Heading(3, ctx.command_path)
    yield Typed(" ".join([ctx.command_path, *command.collect_usage_pieces(ctx)]))
    yield from texts(command.help)
    if command.epilog:
        yield from texts(command.epilog)
    if isinstance(command, CommandGroup):
        for each in command.list_commands(ctx):
            yield from of_command(each, command, ctx)
        return
    assert isinstance(command, Command)
    options = [each for each in command.params if isinstance(each, click.Option) and each.name not in SHARED]
    own = [each for each in options if each.name not in FOR_CHANGES]
    if own:
        yield Terms([described(each, ctx) for each in own])
    if len(own) < len(options):
        yield Text(f"It also takes the options of every change{_but_not(lacking(command))}.")
    if command.columns:
        yield Text(f"Columns of `-o plain`: {', '.join(f'`{each}`' for each in command.columns)}.")


def commands(group: click.Group = root, parent: click.Context | None = None) -> list[tuple[str, Command]]:
    """All commands that do something, by their whole names."""
    ctx = click.Context(group, info_name=group.name, parent=parent)
    found = []
    for name in group.list_commands(ctx):
        each = group.get_command(ctx, name)
        if isinstance(each, CommandGroup):
            found += commands(each, ctx)
        else:
            assert isinstance(each, Command)
            found.append((f"{ctx.command_path} {name}", each))
    return found


def lacking(command: Command) -> set[str]:
    """The options of every change that a command does not have."""
    return {*FOR_CHANGES} - {str(each.name) for each in command.params}


def _but_not(names: set[str]) -> str:
    if not names:
        return ""
    assert names == {"request_id"}, names
    return ", but not `--request-id`: it sends many requests, and a repeat sends only those that still change something"


def of_all_commands() -> Iterator[Block]:
    change = root.get_command(click.Context(root), "rollback")
    assert change is not None
    ctx = click.Context(change)
    by_name = {str(each.name): each for each in change.params if isinstance(each, click.Option)}
    yield Heading(2, "Options of every change")
    yield Terms([described(by_name[name], ctx) for name in FOR_CHANGES])
    asking = [each.asks for _, each in commands() if each.asks]
    yield Text(
        f"A change that can't be taken back asks before it is made: {'; '.join(asking)}. No other command asks. Without a terminal, "
        "a change that asks fails, and names `--yes`. If the component has changed since the question, the change is refused."
    )
    yield Text(
        "The answer to `--dry-run` is that of the change, so `changed` says whether the change would change anything. In a pipe it is "
        "`would` instead of `yes`. With `-o json` and `-o yaml`, the answer has `dryRun: true`, which no other answer has."
    )
    yield Heading(2, "Options of every command")
    yield Text("You can also write them before the command: `rampd -o json status`.")
    yield Terms([described(by_name[name], ctx) for name in SHARED])
    yield Heading(2, "Arguments")
    yield Terms([(kind, _of_argument(each)) for kind, each in KINDS.items()])
    yield Heading(2, "Words")
    yield Terms([(f"`{word}`", about) for word, about in sorted(WORDS.items(), key=lambda each: each[0].lower())])
    yield Heading(2, "Output")
    yield Text(
        "On a terminal, an answer is a table. In a pipe it is `plain`: a line for each row, columns separated by tabs, no header "
        "and no colour. Columns keep their names and their order; new ones come at the end. `-o json` is the JSON of the API, "
        "the same as the server answers over HTTP, and `-o yaml` the same as YAML. Errors are on stderr, always."
    )
    yield Text(
        "JSON and YAML leave out each field that is false, 0 or empty, as the JSON of the API does. So `jq .changed` gives `null` if nothing "
        "was changed. Write `jq '.changed // false'`."
    )
    yield Text(
        "With `-o json` and `-o yaml`, an error is an object, too. `reason` is a reason of the API, or one of `rampd`:"
    )
    yield Typed(_an_error(), "json")
    yield Text(
        "After Ctrl-C or `kill` during a change, the reason is `INTERRUPTED`, and `metadata.request_id` names the request. An "
        "error with the exit code 74 names it, too, if a change was made. `rampd history -o json` shows whether the change was made: its events have `requestId`."
    )
    yield Text("JSON and YAML are UTF-8. If the locale has another encoding, they are ASCII with escapes.")
    yield Heading(2, "Exit codes")
    yield Terms([(str(int(failures.Exit[name])), about) for name, about in said_about(failures.Exit).items()])
    yield Heading(2, "Which server")
    yield Text("The first of these that is given:")
    yield Terms(
        [
            ("`--server ADDRESS`", "`HOST:PORT`, `https://HOST:PORT` with TLS, or `unix:PATH`."),
            ("`RAMPD_SERVER`", "The same. A `--profile` on the command line wins over it."),
            (
                "a profile",
                "`--profile`, otherwise `RAMPD_PROFILE`, otherwise the default one of the configuration file.",
            ),
            (
                "this machine",
                "A socket of a server that you or root started: `.rampd/rampd.sock` here, `~/.local/state/rampd/rampd.sock`, "
                "`/var/lib/rampd/rampd.sock`. Otherwise `127.0.0.1:50051`.",
            ),
        ]
    )
    yield Text(
        "Credentials come from the environment, otherwise from the profile. Those of a profile go to the server of the profile only, "
        "unless you name the profile with `--profile`."
    )
    yield Heading(2, "Environment")
    yield Terms([(", ".join(f"`{each}`" for each in name.split(", ")), about) for name, about in ENVIRONMENT.items()])
    yield Heading(2, "Configuration file")
    yield Text("`~/.config/rampd/config.toml` has profiles. `rampd config set` writes it, and keeps your comments:")
    yield Typed(CONFIGURATION, "toml")
    about = said_about(profiles.Profile)
    yield Terms([(f"`{name}`", about[name]) for name in profiles.SETTINGS])


KINDS = {
    "PERCENT": arguments.Percent,
    "DURATION": arguments.Duration,
    "TIME": arguments.Time,
    "DURATION|TIME": arguments.End,
    "DURATION|TIME of --since": arguments.Past,
}
CONFIGURATION = """
default = "production"

[profiles.production]
server = "https://rampd.example.com:50051"
token_file = "~/.config/rampd/token"

[profiles.here]
server = "127.0.0.1:50051"
utc = true
""".strip()


def described(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """An option: how it is typed, and what it is for, with its default."""
    record = option.get_help_record(ctx)
    assert record is not None
    typed, about = record[0], re.sub(r" *\[[^\]]*\]$", "", record[1])
    default = option.default
    if "Default" not in about and type(default) in {int, float, str} and default != "":
        about += f" Default: {default}."
    if option.required:
        about += " Required."
    return f"`{typed}`", about


def texts(text: str | None) -> Iterator[Block]:
    """The help of a command. A paragraph that begins with `\\b` keeps its lines: it is an example."""
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield Typed(textwrap.dedent(paragraph.removeprefix("\b\n")).strip("\n"))
        else:
            yield Text(" ".join(paragraph.split("\n")))


def said_about(cls: type) -> dict[str, str]:
    """The text below each attribute of a class."""
    [body] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for before, node in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            target = before.targets[0] if isinstance(before, ast.Assign) else getattr(before, "target", None)
            if isinstance(target, ast.Name):
                found[target.id] = " ".join(str(node.value.value).split())
    return found


def _of_argument(cls: type) -> str:
    return re.sub(r" Becomes .*", "", " ".join(str(inspect.getdoc(cls)).split()))


def _an_error() -> str:
    message = "restyler does not exist. Release creates it."
    error = NotFoundError(message, reason="COMPONENT_NOT_FOUND", metadata={"component": "restyler"})
    with contextlib.redirect_stderr(io.StringIO()) as written:
        failures.tell(error, "json")
    return written.getvalue().strip()


def markdown(blocks: Iterable[Block]) -> str:
    """The content as a page of docs/."""
    lines = ["# rampd, the command line", "", "<!-- Written by tests/cli_document.py from the code. -->", ""]
    for block in blocks:
        match block:
            case Heading(level, text):
                lines += [f"{'#' * level} {text}", ""]
            case Text(text):
                lines += [_wrapped(_linked(text)), ""]
            case Typed(typed, language):
                lines += [f"```{language}", typed, "```", ""]
            case Terms(terms):
                lines += [*(_wrapped(f"- {term}: {_linked(about)}", indent="  ") for term, about in terms), ""]
            case Contents(titles):
                for title, commands in titles.items():
                    each = [f"[{name}](#rampd-{name})" for name in commands]
                    lines += [_wrapped(f"- {title}: {' · '.join(each)}", indent="  ")]
                general = [f"[{each.lower()}](#{each.lower().replace(' ', '-')})" for each in GENERAL]
                lines += [_wrapped(f"- For all: {' · '.join(general)}", indent="  "), ""]
    return "\n".join(lines).rstrip() + "\n"


GENERAL = (
    "Options of every change",
    "Options of every command",
    "Arguments",
    "Words",
    "Output",
    "Exit codes",
    "Which server",
    "Environment",
    "Configuration file",
)


def _linked(text: str) -> str:
    return text.replace("the options of every change", "the [options of every change](#options-of-every-change)")


def _wrapped(text: str, *, indent: str = "", width: int = 128) -> str:
    """Breaks lines at spaces, but not inside of `code` or of a link."""
    words = re.findall(r"(?:`[^`]*`|\[[^\]]*\]\([^)]*\)|[^\s`\[]|\[)+", text)
    lines, line = [], ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = indent + word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def roff(blocks: Iterable[Block]) -> str:
    """The content as a man page."""
    lines = [
        '.\\" Written by tests/cli_document.py from the code.',
        ".TH RAMPD 1",
        ".SH NAME",
        r"rampd \- shows and changes which version of a component each job runs",
        ".SH SYNOPSIS",
        r"\fBrampd\fR [\fIoptions\fR] \fIcommand\fR [\fIarguments\fR]",
        ".SH DESCRIPTION",
    ]
    for block in blocks:
        match block:
            case Heading(2, text):
                lines.append(f".SH {_plain_roff(text.upper())}")
            case Heading(_, text):
                lines.append(f'.SS "{_plain_roff(text)}"')
            case Text(text):
                if not lines[-1].startswith((".SH", ".SS")):
                    lines.append(".PP")
                lines += _roff(text)
            case Typed(typed):
                if not lines[-1].startswith((".SH", ".SS")):
                    lines.append(".PP")
                lines += [".RS 4", ".nf", *map(_plain_roff, typed.splitlines()), ".fi", ".RE"]
            case Terms(terms):
                for term, about in terms:
                    lines += [".TP", *_roff(term), *_roff(about)]
    lines += [".SH SEE ALSO", *_roff("docs/cli.md has the same text, and docs/admin.md tells the story of a rollout.")]
    return "\n".join(lines) + "\n"


def _plain_roff(text: str) -> str:
    text = (
        text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga").replace("^", r"\(ha")
    )
    text = text.replace("~", r"\(ti").replace("…", "...").replace("·", r"\(pc")
    return rf"\&{text}" if text.startswith(".") else text


def _roff(text: str) -> list[str]:
    """A paragraph as short lines. `code` becomes bold."""
    parts = text.split("`")
    shown = "".join(rf"\fB{_plain_roff(part)}\fR" if at % 2 else _plain_roff(part) for at, part in enumerate(parts))
    lines = textwrap.wrap(shown, 78, break_long_words=False, break_on_hyphens=False)
    return [rf"\&{line}" if line.startswith(".") else line for line in lines]


FILES = {DOCS / "cli.md": markdown, DOCS / "rampd.1": roff}

if __name__ == "__main__":
    for path, written_as in FILES.items():
        path.write_text(written_as(document()))
    (DOCS / "policy.schema.json").write_text(schema_text())
