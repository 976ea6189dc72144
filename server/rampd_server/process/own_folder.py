"""Checks that a folder is this server's own. Another user who can write to it could pose as the server, or as its
store.
"""

import os
import stat
from pathlib import Path

from rampd._runtime.private_file import name_of_user
from rampd_server.process.startup import StartupError


def require_own(folder: Path, option: str) -> None:
    """Raises StartupError if a path is not a folder, if everybody may write to the folder, or if the folder or a link
    to it belongs to a user other than this one and root. A folder with the sticky bit, such as /tmp, is allowed: there
    everybody can change only their own files.

    `option` is the option with which the operator gives another folder.
    """
    try:
        link, found = folder.lstat(), folder.stat()
    except OSError as error:
        raise StartupError(f"{folder} can't be used: {error.strerror}. Give another {option}.") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StartupError(f"{folder} is not a directory. Give another {option}.")
    ours = os.geteuid()
    for status, what in ((link, "The link " if stat.S_ISLNK(link.st_mode) else ""), (found, "")):
        if status.st_uid not in {ours, 0}:
            owner = name_of_user(status.st_uid)
            instead = (
                f"Type runuser -u {owner} -- before the command" if ours == 0 else f"Type the command as user {owner}"
            )
            raise StartupError(
                f"{what}{folder} belongs to user {owner}, but user {name_of_user(ours)} has typed this command. User {owner} could replace "
                f"the files there, and could not use those of another user. {instead}, or give another {option}."
            )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise StartupError(
            f"Every user of this machine may write to {folder}, and could replace the server's files there. Type "
            f"chmod o-w {folder}, or give another {option}."
        )


def make_own(folder: Path, option: str) -> None:
    """Makes a folder that only its owner may use, if it does not exist, and requires that it is this server's own.
    Raises StartupError, OSError.
    """
    if not os.path.lexists(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_own(folder, option)
