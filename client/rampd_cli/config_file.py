"""Changes the configuration file of a person, and keeps its comments. Only its owner can read it."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rampd._runtime import private_file
from rampd_cli.failures import WrongUseError
from rampd_cli.profiles import Profiles, checked_profiles, config_path, text_of


def change_config(edit: Callable[[Any], None]) -> Profiles:
    """Lets `edit` change the file, as a document of tomlkit, and returns the profiles that it has then. Raises WrongUseError and
    UsageError; then the file is not changed.
    """
    import tomlkit  # noqa: PLC0415 - only `rampd config` changes the file
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - as above

    # A person who keeps the file in a repository has a link to it. The link stays.
    path = config_path().resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(path):
            # A file that is refused stays refused: written again, it would look like this person's own.
            text = text_of(path) if path.exists() else ""
            # Without a line end at the end of the file, tomlkit would add to the last line.
            document = tomlkit.parse(text if not text or text.endswith("\n") else f"{text}\n")
            checked_profiles(config_path(), document.unwrap())
            edit(document)
            profiles = checked_profiles(config_path(), document.unwrap())
            private_file.put(path, [tomlkit.dumps(document).encode()])
    except (TOMLKitError, RecursionError) as error:
        raise WrongUseError(f"{path} is not TOML: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise WrongUseError(f"{path} can't be changed: {reason}.") from error
    except ValueError as error:  # tomlkit can't add a table to an inline one
        raise WrongUseError(
            f"{path} can't be changed in its form: {error}. Write each profile as [profiles.NAME]."
        ) from None
    return profiles


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Waits until no other command changes the file. Otherwise the second of two commands could undo the first one."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
