"""Whether a folder is this server's own: whoever else can put something into it could pose as the server, or as its store."""

import os
import stat
from pathlib import Path

from rampd._runtime.private_file import name_of_user
from rampd_server.process.startup import StartupError


def require_own(folder: Path, option: str) -> None:
    """Raises StartupError where a folder, or a link to it, belongs to another user than ours and root, where everybody may
    write to it, or where it is none. In one with the sticky bit, as /tmp, everybody can change only what is theirs.

    `option` is what another folder is given by.
    """
    try:
        link, found = folder.lstat(), folder.stat()
    except OSError as error:
        raise StartupError(f"{folder} can't be used: {error.strerror}. Give another {option}.") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StartupError(f"{folder} is no directory. Give another {option}.")
    ours = os.geteuid()
    for status, what in ((link, "The link " if stat.S_ISLNK(link.st_mode) else ""), (found, "")):
        if status.st_uid not in {ours, 0}:
            owner = name_of_user(status.st_uid)
            raise StartupError(
                f"{what}{folder} belongs to user {owner}, and user {name_of_user(ours)} runs this server, so that user could "
                f"replace what the server keeps there. Start it as user {owner}, or give another {option}."
            )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise StartupError(
            f"Every user of this machine may write to {folder}, and so replace what the server keeps there. Type "
            f"chmod o-w {folder}, or give another {option}."
        )


def make_own(folder: Path, option: str) -> None:
    """Makes a folder that only its owner may use, where there is none, and requires that it is our own. Raises StartupError,
    OSError.
    """
    if not os.path.lexists(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_own(folder, option)
