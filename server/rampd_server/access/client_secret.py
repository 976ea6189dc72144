"""The secret that an issuer has given to rampd, in a file."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rampd_server.process.regular_file import content_of

_MAX_BYTES: Final = 16 * 1024


def secret_of(file: Path) -> str:
    """Returns the secret, without the space around it. An error says nothing of the content. Raises OSError; ValueError."""
    secret = content_of(file, max_bytes=_MAX_BYTES).decode("ascii", "replace").strip()
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("it has to have one word, the secret that the issuer has given to rampd")
    return secret


def what_is_wrong(file: Path) -> Iterator[str]:
    """Yields why nobody can sign in with the secret, or who else can read it."""
    try:
        secret_of(file)
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        yield f"{file} can't be used: {reason}. So nobody can sign in with this issuer."
        return
    if mode & stat.S_IROTH:
        yield f"every user of this machine may read {file}. Type chmod o-r {file}"
