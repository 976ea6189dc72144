"""Keeps the access list at what its file says."""

import asyncio
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

import structlog

from rampd._runtime.private_file import name_of_user
from rampd_server.access import access_file
from rampd_server.access.access_file import AccessFileError, AccessList
from rampd_server.access.credentials import Credentials
from rampd_server.metrics.counting import Counts
from rampd_server.process.file_stamp import stamp_of

_LOOK_S: Final = 2.0

_log = structlog.get_logger(__name__)


def load(path: Path, *, names: Collection[str]) -> AccessList:
    """The grants of a file that nobody but its owner can change. Raises AccessFileError."""
    _require_owners(path)
    return access_file.read(path, names=names)


async def follow(path: Path, credentials: Credentials, *, names: Collection[str], reloads: Counts) -> None:
    """Reads the file again when it has changed, for ever. A file that can't be used changes nothing. `reloads` counts by
    `used` and `refused`.
    """
    known = stamp_of(path)
    while True:
        await asyncio.sleep(_LOOK_S)
        stamp = stamp_of(path)
        if stamp == known:
            continue
        known = stamp
        try:
            access_list = await asyncio.to_thread(load, path, names=names)
        except AccessFileError as error:
            reloads.add("refused")
            _log.error(
                "access_file_refused",
                file=str(path),
                mistakes=error.mistakes,
                what_it_means="the grants of before stay in force",
                what_to_do="rampd-server access check FILE names every mistake",
            )
            continue
        credentials.replace(access_list)
        reloads.add("used")
        tell(path, access_list)


def tell(path: Path, access_list: AccessList) -> None:
    """Says in the log which grants are in force."""
    _log.info("access_file_read", file=str(path), grants=len(access_list.grants))
    for warning in access_list.warnings:
        _log.warning("access_too_wide", file=str(path), warning=warning)


def _require_owners(path: Path) -> None:
    """Raises AccessFileError where somebody else than root or this server's user can change the file."""
    ours = os.geteuid()
    try:
        found, folder = path.stat(), path.parent.stat()
    except OSError as error:
        raise AccessFileError(f"{path} can't be read: {error.strerror}.") from error
    if found.st_uid not in {ours, 0}:
        raise AccessFileError(f"{path} belongs to user {name_of_user(found.st_uid)}, who could change who gets in.")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AccessFileError(f"Others than its owner may write to {path}. Type chmod go-w {path}")
    if folder.st_uid not in {ours, 0}:
        raise AccessFileError(
            f"{path.parent} belongs to user {name_of_user(folder.st_uid)}, who could put another file in the place of {path}."
        )
    if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not folder.st_mode & stat.S_ISVTX:
        raise AccessFileError(
            f"Others than its owner may replace files in {path.parent}. Type chmod go-w {path.parent}"
        )
