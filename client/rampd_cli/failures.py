"""What a person or a program gets when a command fails: a text on stderr, and an exit code."""

import json
import sys
import traceback
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeGuard

import click

from rampd_cli.streams import is_utf8, may_be_lost

if TYPE_CHECKING:
    from rampd.errors import RampdError


class Exit(IntEnum):
    """The exit codes of `rampd`."""

    DONE = 0
    """The command did what it was asked to do, or nothing had to change."""
    REFUSED = 1
    """The server refused the call."""
    USAGE = 2
    """The command line, the configuration or a file is wrong. Nothing was sent that could change anything."""
    NOT_REACHED = 3
    """No server answered, or not in time, or the server could not reach its store."""
    ENDED_BADLY = 4
    """`rampd wait`: what was waited for can't happen any more, or not without a person."""
    DECLINED = 5
    """A person answered a question with no, or gave no answer, because the terminal is gone, for example. Nothing was changed."""
    DIFFERENT = 6
    """`rampd policy diff --exit-code`: there is a difference."""
    NOT_WRITTEN = 74
    """The answer could not be written, for example because the disk is full. If the command makes a change, the change is made. Also
    a change that is made, but whose answer makes no sense."""
    TIMED_OUT = 124
    """`rampd wait`: the time of `--timeout` is over."""
    INTERRUPTED = 130
    """Ctrl-C."""
    PIPE_CLOSED = 141
    """The program that reads the output has ended."""


class WrongUseError(click.ClickException):
    """Raised when a command can't be done as it was typed, or its files are wrong. Unlike UsageError, its text is without the
    command's syntax.
    """

    exit_code = Exit.USAGE


class DeclinedError(click.ClickException):
    """Raised when a person answers a question with no, or not at all."""

    exit_code = Exit.DECLINED


class NotWrittenError(click.ClickException):
    """Raised when an answer can't be written or shown."""

    exit_code = Exit.NOT_WRITTEN

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.metadata = metadata or {}


class TimedOutError(click.ClickException):
    """Raised when the time of `--timeout` is over."""

    exit_code = Exit.TIMED_OUT


_PARTLY_DONE: Final = "rampd_cli_partly_done"
_METADATA: Final = "rampd_cli_metadata"
_REASONS: Mapping[int, str] = {
    Exit.DECLINED: "DECLINED",
    Exit.NOT_WRITTEN: "NOT_WRITTEN",
    Exit.TIMED_OUT: "TIMED_OUT",
}


def is_failure(error: Exception) -> "TypeGuard[click.ClickException | RampdError]":
    """Whether `tell` can print the error. Any other error is a defect of `rampd`."""
    if isinstance(error, click.ClickException):
        return True
    from rampd.errors import RampdError  # noqa: PLC0415 - no error of rampd without a call

    return isinstance(error, RampdError)


def tell(error: "click.ClickException | RampdError", output: str, following: str = "") -> int:
    """Writes an error to stderr, as JSON if the output is JSON or YAML, and returns the exit code.

    A person also reads the notes of the error (`add_note`), and `following`, the line that says what to type next.
    """
    if isinstance(error, click.ClickException):
        code, reason = error.exit_code, _REASONS.get(error.exit_code, "USAGE")
        message, metadata = error.format_message(), getattr(error, "metadata", {})
    else:
        code, reason, message, metadata = exit_of(error), error.reason, error.message, error.metadata
    if output in {"json", "yaml"}:
        _write_object(reason, message, metadata)
    elif isinstance(error, click.exceptions.NoArgsIsHelpError):
        with may_be_lost(sys.stderr):
            click.echo(message, err=True)  # the help, which begins with the usage
    elif isinstance(error, click.UsageError):
        from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that fails

        with may_be_lost(sys.stderr):
            click.UsageError(one_line(error.format_message(), keep="\n"), error.ctx).show(sys.stderr)
    else:
        _write(f"rampd: {message}" if isinstance(error, click.ClickException) else f"rampd: {message} ({reason})")
        for note in getattr(error, "__notes__", ()):
            _write(note)
        if following:
            _write(following)
    if code == Exit.NOT_WRITTEN:
        # Otherwise Python would try again to write what stdout does not take, and end with a code of its own.
        with may_be_lost(sys.stdout):
            sys.stdout.flush()
    return code


def tell_interrupted(error: KeyboardInterrupt | SystemExit, output: str) -> int:
    """Writes the notes of an interruption to stderr, as JSON if the output is JSON or YAML, and returns the exit code."""
    notes = getattr(error, "__notes__", ())
    if output in {"json", "yaml"}:
        if notes:
            _write_object("INTERRUPTED", " ".join(notes), getattr(error, _METADATA, {}))
    else:
        # The first line is that of `^C` on a terminal.
        for line in [""] * sys.stderr.isatty() + [*notes]:
            _write(line)
    return Exit.INTERRUPTED if isinstance(error, KeyboardInterrupt) else int(error.code or 0)


def note_interrupted(error: KeyboardInterrupt | SystemExit, **metadata: str) -> None:
    """Adds metadata to an interruption, for a program. The text for all is a note of it (`add_note`)."""
    setattr(error, _METADATA, metadata)


def not_written(
    error: Exception, subject: str = "The answer", metadata: Mapping[str, str] | None = None
) -> NotWrittenError:
    """Wraps what keeps an answer from being written, or from being shown at all."""
    if is_of_stream(error):
        return NotWrittenError(f"{subject} can't be written: {error.strerror}.", metadata)
    return NotWrittenError(
        f"{subject} can't be shown. It makes no sense, or rampd has a defect: {_where(error)}", metadata
    )


def is_of_stream(error: Exception) -> "TypeGuard[OSError]":
    """Whether a stream takes nothing more. The error of a file names the file."""
    return isinstance(error, OSError) and error.filename is None


def defect(error: Exception) -> "RampdError":
    """Wraps a defect in an InternalError, so that `tell` can print it."""
    from rampd.errors import InternalError  # noqa: PLC0415 - no error without a defect

    return InternalError(
        f"rampd can't go on. It has a defect, or the server answered what makes no sense: {_where(error)}"
    )


def _where(error: Exception) -> str:
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"


def of_newer_server(what: str) -> "RampdError":
    """Returns the error for what only a newer server knows: `restyler has a state (9)`. A guess would be a wrong answer."""
    from rampd.errors import UnimplementedError  # noqa: PLC0415 - it is slow to import

    return UnimplementedError(
        f"{what} that this rampd does not know, because it is older than the server. Update rampd: pip install --upgrade 'rampd[cli]'"
    )


def mark_partly_done(error: "RampdError") -> None:
    """Says of an error that the command had changed something before. So its exit code is not that of wrong use."""
    setattr(error, _PARTLY_DONE, True)


def exit_of(error: "RampdError") -> int:
    """Returns the exit code for an error of a call."""
    from rampd import errors  # noqa: PLC0415 - no error without a call

    if isinstance(error, errors.UnavailableError | errors.DeadlineExceededError):
        return Exit.NOT_REACHED
    if isinstance(error, errors.ReleaseFailedError):
        return Exit.ENDED_BADLY
    if isinstance(error, errors.InvalidArgumentError) and error.violations and not getattr(error, _PARTLY_DONE, False):
        return Exit.USAGE
    return Exit.REFUSED


def _write_object(reason: str, message: str, metadata: Mapping[str, str]) -> None:
    error = {"reason": reason, "message": message, "metadata": metadata}
    _write(json.dumps(error, ensure_ascii=not is_utf8(sys.stderr)))


def _write(line: str) -> None:
    from rampd._contract.wording import one_line  # noqa: PLC0415 - only for a command that fails

    # A message may quote a note or a tag of another person. The escapes are escapes of JSON, too.
    with may_be_lost(sys.stderr):
        click.echo(one_line(line), err=True)
