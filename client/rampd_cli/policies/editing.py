"""The file in which a person edits a policy. It is kept, unless it has nothing that was not there before."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Final

import click

from rampd._contract.wording import inside
from rampd_cli.failures import DeclinedError, WrongUseError
from rampd_cli.policies.reading import Problem

_WRONG: Final = "# WRONG: "


class EditedFile:
    """A text in a file that only this person can read."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.is_open = False
        """Whether the editor has it, so that nothing was sent."""
        self.stays = False
        """Whether it stays although nothing went wrong."""
        self._first = self._text = text

    def edit(self, problems: Sequence[Problem]) -> str:
        """Opens the editor, with each problem above its line, and returns the new text. Raises DeclinedError if it is as
        before, or empty, and WrongUseError if the editor fails.
        """
        self._write(_with_problems(self._text, problems))
        try:
            self.is_open = True
            click.edit(filename=str(self.path))
            self.is_open = False
            text = _without_problems(self._read())
        except click.ClickException as error:
            raise WrongUseError(f"{inside(error.message)}. Nothing was changed.") from error
        except UnicodeDecodeError as error:
            raise WrongUseError("The text is not UTF-8. Nothing was changed.") from error
        except OSError as error:
            raise WrongUseError(f"The text can't be read: {error.strerror}. Nothing was changed.") from error
        except ValueError as error:
            raise WrongUseError(f"$VISUAL or $EDITOR is no command: {error}. Nothing was changed.") from error
        if text == self._text or not text.strip():
            still = f"{inside(str(min(problems)))}. " if problems else ""
            raise DeclinedError(f"{still}You saved no change. Nothing was changed.")
        self._text = text
        return text

    def kept(self) -> bool:
        """Leaves the text of the person alone in the file. Returns False if there is none: then the file is gone."""
        try:
            text = _without_problems(self._read())
        except UnicodeDecodeError:
            return True
        except OSError:
            text = ""
        text = text if text.strip() else self._text
        if text == self._first:
            self.path.unlink(missing_ok=True)
            return False
        self._write(text)
        return True

    def _read(self) -> str:
        return self.path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")

    def _write(self, text: str) -> None:
        self.path.write_bytes(text.encode())


@contextmanager
def edited_file(text: str, *, at: str = "") -> Iterator[EditedFile]:
    """Gives a file with a text, and removes it at the end. If the block ends with an error, the file stays if a person has written
    anything into it, and the error says where it is. `at`: see `Session.at`.
    """
    handle, name = mkstemp(prefix="rampd-policy-", suffix=".yaml")
    os.close(handle)
    file = EditedFile(Path(name), text)
    try:
        yield file
    except BaseException as error:
        if file.kept():
            _tell(error, file, at)
        raise
    if not file.stays:
        file.path.unlink(missing_ok=True)


def _tell(error: BaseException, file: EditedFile, at: str) -> None:
    said = f"Your text is in {file.path}."
    then = f"{said} Then: rampd policy diff FILE{at}, and rampd policy apply FILE{at}"
    if isinstance(error, click.ClickException):
        error.message = f"{error.message} {said}"  # type: ignore[misc]  # click calls it final
    elif isinstance(error, KeyboardInterrupt | SystemExit):
        done = "Nothing was changed." if file.is_open else "The policy may have been set."
        error.add_note(f"{done} {then}")
    else:
        error.add_note(then)


def _with_problems(text: str, problems: Sequence[Problem]) -> str:
    """Returns the text with each problem above its line."""
    lines = text.splitlines()
    for problem in sorted(problems, reverse=True):
        lines.insert(max(problem.line - 1, 0), f"{_WRONG}{' '.join(problem.text.split())}")
    return "\n".join(lines) + "\n"


def _without_problems(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(_WRONG))
