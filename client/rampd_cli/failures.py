"""What a person or a program gets when a command fails: a text on stderr, and an exit code."""

import json
import sys
from enum import IntEnum
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rampd.errors import RampdError


class Exit(IntEnum):
    """The exit codes of `rampd`."""

    DONE = 0
    """The command did what it was asked to do, or it was so already."""
    REFUSED = 1
    """The server refused the call."""
    USAGE = 2
    """The command line, the configuration or a file is wrong. Nothing was sent that could change anything."""
    NOT_REACHED = 3
    """No server answered, or not in time, or the server could not reach its store."""
    ENDED_BADLY = 4
    """`rampd wait`: what was waited for can't happen any more, or not without a person."""
    DECLINED = 5
    """A person answered a question with no."""
    TIMED_OUT = 124
    """`rampd wait`: the time of `--timeout` is over."""
    INTERRUPTED = 130
    """Ctrl-C."""
    PIPE_CLOSED = 141
    """The program that reads the output has ended."""


class DeclinedError(click.ClickException):
    """Raised when a person answers a question with no."""

    exit_code = Exit.DECLINED


class TimedOutError(click.ClickException):
    """Raised when the time of `--timeout` is over."""

    exit_code = Exit.TIMED_OUT


_REASONS = {Exit.DECLINED: "DECLINED", Exit.TIMED_OUT: "TIMED_OUT"}


def tell(error: "click.ClickException | RampdError", output: str) -> int:
    """Writes an error to stderr, as JSON or YAML if that is the output, and returns the exit code."""
    if isinstance(error, click.ClickException):
        code, reason = error.exit_code, _REASONS.get(Exit(error.exit_code), "USAGE")
        message, metadata = error.format_message(), dict[str, str]()
    else:
        from rampd._contract.wording import one_line  # noqa: PLC0415 - no error of rampd without a call

        # A server may not write control characters to the terminal.
        code, reason, message = exit_of(error), one_line(error.reason), one_line(error.message)
        metadata = {one_line(key): one_line(value) for key, value in error.metadata.items()}
    if output in {"json", "yaml"}:
        _write(json.dumps({"reason": reason, "message": message, "metadata": metadata}, ensure_ascii=False))
    elif isinstance(error, click.UsageError):
        error.show(sys.stderr)
    else:
        _write(f"rampd: {message}" if isinstance(error, click.ClickException) else f"rampd: {message} ({reason})")
    return code


def exit_of(error: "RampdError") -> int:
    """Returns the exit code for an error of a call."""
    from rampd import errors  # noqa: PLC0415 - no error without a call

    if isinstance(error, errors.UnavailableError | errors.DeadlineExceededError):
        return Exit.NOT_REACHED
    if isinstance(error, errors.ReleaseFailedError):
        return Exit.ENDED_BADLY
    if isinstance(error, errors.InvalidArgumentError) and error.violations:
        return Exit.USAGE
    return Exit.REFUSED


def _write(line: str) -> None:
    click.echo(line, err=True)
