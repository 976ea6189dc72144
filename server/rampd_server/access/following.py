"""Reads the access file again after each change, so that the access list says the same as the file."""

import asyncio
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from rampd._runtime.file_stamp import Stamp, stamp_of
from rampd._runtime.private_file import name_of_user
from rampd_server.access import access_file, client_secret
from rampd_server.access.access_file import AccessFileError, AccessList
from rampd_server.access.credentials import Credentials
from rampd_server.metrics.counting import Reloads

_LOOK_S: Final = 2.0

_log = structlog.get_logger(__name__)


def load(path: Path, *, names: Collection[str]) -> AccessList:
    """Returns the grants of a file that nobody but its owner can change. Raises AccessFileError."""
    others = list(_what_others_may(path))
    try:
        access_list = access_file.read(path, names=names)
    except AccessFileError as error:
        raise AccessFileError(*dict.fromkeys((*others, *error.mistakes))) from error
    if others:
        raise AccessFileError(*others)
    sign_in = access_list.sign_in
    if sign_in is None or sign_in.client_secret_file is None:
        return access_list
    wrong = client_secret.what_is_wrong(sign_in.client_secret_file)
    more = (f"sign_in: client_secret_file: {each}" for each in wrong)
    return replace(access_list, warnings=(*access_list.warnings, *more))


async def follow(
    path: Path, credentials: Credentials, *, names: Collection[str], known: Stamp | None, reloads: Reloads
) -> None:
    """Reads the file again after each change, for ever. A file that can't be used changes nothing. `known` is the stamp that the
    file had before the list in force was read.
    """
    refused: tuple[str, ...] = ()
    while True:
        await asyncio.sleep(_LOOK_S)
        stamp = stamp_of(path)
        # A refused file may become good without a change of the file, for example if the mode of its folder changes.
        if stamp == known and not refused:
            continue
        has_changed, known = stamp != known, stamp
        try:
            access_list = await asyncio.to_thread(load, path, names=names)
        except AccessFileError as error:
            is_told, refused = not has_changed and error.mistakes == refused, error.mistakes
            if is_told:
                continue
            reloads.refused()
            _log.error(
                "access_file_refused",
                file=str(path),
                mistakes=error.mistakes,
                what_it_means="the earlier grants stay in force",
                what_to_do="rampd-server access check FILE names every mistake",
            )
            continue
        refused = ()
        credentials.replace(access_list)
        reloads.used()
        tell(path, access_list)


def tell(path: Path, access_list: AccessList) -> None:
    """Logs how many grants are in force, and which of them give more than is wise."""
    _log.info("access_file_read", file=str(path), grants=len(access_list.grants))
    for warning in access_list.warnings:
        _log.warning("access_file_warning", file=str(path), warning=warning)


def _what_others_may(path: Path) -> Iterator[str]:
    """Yields each way in which somebody other than root and this server's user can change the file."""
    ours = os.geteuid()
    try:
        found = path.stat()
        folders = [(folder, folder.stat()) for folder in _folders(path)]
    except OSError as error:
        yield f"{path} can't be read: {error.strerror}."
        return
    if found.st_uid not in {ours, 0}:
        yield f"{path} belongs to user {name_of_user(found.st_uid)}, who could give anybody access. Type chown root {path}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield f"Users other than its owner may write to {path}. Type chmod go-w {path}"
    for folder, status in folders:
        if status.st_uid not in {ours, 0}:
            yield (
                f"{folder} belongs to user {name_of_user(status.st_uid)}, who could replace {path}. "
                "Put the file into a folder of root."
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
            yield f"Users other than its owner may replace files in {folder}. Type chmod go-w {folder}"


def _folders(path: Path) -> Iterator[Path]:
    """Yields the folder of a file. If the file is a link, also the folder of the file that the link names, and so on."""
    yield path.parent
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path.parent
