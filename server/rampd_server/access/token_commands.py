"""`rampd-server token create|list|revoke` and `rampd-server access check`: the commands for the access file."""

import argparse
import contextlib
import fcntl
import os
import re
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from rampd._contract.token import digest_of, is_whole, new_token
from rampd._runtime import private_file
from rampd_server.access import access_file, following
from rampd_server.access.access_file import AccessFileError
from rampd_server.access.grants import Grant
from rampd_server.access.rpc_roles import Role

COMMANDS: Final = frozenset({"token", "access"})
_SPAN: Final = re.compile(r"(\d{1,6})([smhdw])")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHOWN: Final = len("sha256:") + 12


def run(arguments: Sequence[str], *, names: Collection[str]) -> int:
    """Runs one command and returns its exit code. `names` are the methods and flags that a grant may name."""
    parsed = _parser().parse_args(arguments)
    try:
        with _turn(parsed):
            code: int = parsed.run(parsed, names)
    except AccessFileError as error:
        for mistake in error.mistakes:
            print(f"rampd-server: {mistake}", file=sys.stderr)
        return 2
    return code


@contextlib.contextmanager
def _turn(parsed: argparse.Namespace) -> Iterator[None]:
    """Waits until no other command changes the file. Otherwise the second of two commands could bring back a token that the
    first has revoked.
    """
    if parsed.run not in {_create, _revoke}:
        yield
        return
    # The lock is on the folder of the file itself, because some commands may name a link to it and others the file.
    place = parsed.access_file.resolve().parent
    try:
        folder = os.open(place, os.O_RDONLY)
    except OSError as error:
        raise AccessFileError(f"{place} can't be read: {error.strerror}.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


class _Parser(argparse.ArgumentParser):
    """Refuses shortened flags, also in its commands."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the settings of ArgumentParser
        super().__init__(allow_abbrev=False, **settings)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rampd-server", description="Makes and revokes tokens, and checks the access file.")
    commands = parser.add_subparsers(required=True, metavar="token | access")
    token = commands.add_parser("token", help="make, list and revoke tokens").add_subparsers(
        required=True, metavar="create | list | revoke"
    )
    create = token.add_parser("create", help="make a token, print it once, and write its digest into the access file")
    create.add_argument(
        "name", help="the identity, such as ci-restyler; an identity that has a grant gets one more token"
    )
    create.add_argument(
        "--role", choices=list(Role), type=Role, help="what the identity may do; needed for a new grant"
    )
    create.add_argument(
        "--component",
        action="append",
        metavar="GLOB",
        help="a component that the identity may see, with * for any characters; give the flag again for more (default: all)",
    )
    create.add_argument(
        "--expires",
        type=_end,
        metavar="SPAN",
        help="when the grant ends: 90d, 12h, or a date such as 2027-01-31 (default: never)",
    )
    create.set_defaults(run=_create)
    listing = token.add_parser("list", help="show the grants that have tokens")
    listing.set_defaults(run=_list)
    revoke = token.add_parser("revoke", help="take tokens away; servers follow within seconds")
    revoke.add_argument(
        "what",
        help="an identity, to revoke all its tokens; or a token, or the first digits of its digest as `token list` shows "
        "them",
    )
    revoke.set_defaults(run=_revoke)
    for each in (create, listing, revoke):
        each.add_argument(
            "--access-file", type=Path, required=True, metavar="FILE", help="the access file of the servers"
        )
    access = commands.add_parser("access", help="look at an access file").add_subparsers(required=True, metavar="check")
    check = access.add_parser(
        "check", help="name every mistake in an access file, and what in it is probably not meant"
    )
    check.add_argument("file", type=Path)
    check.set_defaults(run=_check)
    return parser


def _end(text: str) -> datetime:
    end = _moment(text)
    if end <= datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"{text!r} is over already")
    return end


def _moment(text: str) -> datetime:
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            return datetime.now(UTC).replace(microsecond=0) + timedelta(**{_UNITS[span[2]]: int(span[1])})
        if _DATE.fullmatch(text) is not None:
            # A date means the end of that day, as in the file.
            return datetime.combine(date.fromisoformat(text), datetime.max.time().replace(microsecond=0), UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a span such as 90d or 12h, nor a date such as 2027-01-31"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _create(parsed: argparse.Namespace, names: Collection[str]) -> int:
    path: Path = parsed.access_file
    is_new = not path.exists() or not path.stat().st_size
    document = tomlkit.document() if is_new else _document(path, names)
    _without_empty_list(document)
    grants = document.setdefault("grant", tomlkit.aot())
    grant = next((each for each in grants if each.get("name") == parsed.name), None)
    token = new_token()
    if grant is None:
        if parsed.role is None:
            raise AccessFileError(f"{parsed.name} has no grant in {path}: say with --role what it may do.")
        grant = tomlkit.table()
        grant["name"] = parsed.name
        grant["role"] = str(parsed.role)
        if parsed.component:
            grant["components"] = parsed.component
        if parsed.expires:
            grant["expires"] = parsed.expires
        grant["tokens"] = [digest_of(token)]
        grants.append(grant)
    else:
        if parsed.role not in {None, grant["role"]} or parsed.component or parsed.expires:
            raise AccessFileError(
                f"{parsed.name} has a grant in {path} already, with the role {grant['role']}. Leave out --role, --component and --expires "
                "to give it one more token, or change the grant in the file."
            )
        if ended := _end_before_now(path, parsed.name, names):
            raise AccessFileError(
                f"The grant of {parsed.name} in {path} ended at {ended}, so another token would let nobody in. Change `expires` of "
                "the grant in the file, and type this again."
            )
        grant.setdefault("tokens", tomlkit.array()).append(digest_of(token))
    _write(path, document, names)
    print(token)
    print(f"This is the token of {parsed.name}. It is shown once: {path} has only its digest.", file=sys.stderr)
    return 0


def _end_before_now(path: Path, name: str, names: Collection[str]) -> str:
    """When a grant ended; empty if it is in force."""
    return next(
        (
            _time_of(each.expires_s)
            for each in following.load(path, names=names).grants
            if each.name == name and _is_over(each)
        ),
        "",
    )


def _is_over(grant: Grant) -> bool:
    return grant.expires_s is not None and grant.expires_s <= time.time()


def _time_of(expires_s: float | None) -> str:
    return "never" if expires_s is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(expires_s))


def _list(parsed: argparse.Namespace, names: Collection[str]) -> int:
    for each in following.load(parsed.access_file, names=names).grants:
        end = f"{_time_of(each.expires_s)}{' (ended)' if _is_over(each) else ''}"
        for digest in each.tokens:
            print(f"{each.name}\t{each.role}\t{','.join(each.components)}\t{end}\t{digest[:_SHOWN]}")
    return 0


def _revoke(parsed: argparse.Namespace, names: Collection[str]) -> int:
    document = _document(parsed.access_file, names)
    what: str = parsed.what
    wanted = digest_of(what) if is_whole(what) else what
    removed = 0
    for grant in list(document.get("grant", ())):
        tokens = grant.get("tokens", [])
        gone = [each for each in tokens if grant["name"] == what or _is_digest(wanted, each)]
        for each in gone:
            tokens.remove(each)
        removed += len(gone)
        if gone and not (tokens or grant.get("certificates") or grant.get("oidc") or grant.get("everybody")):
            document["grant"].remove(grant)
    if not removed:
        raise AccessFileError(
            f"{parsed.access_file} has no token for {_told(what)}. Give a name, or sha256: and the digits, as "
            f"`rampd-server token list --access-file {parsed.access_file}` shows them."
        )
    _without_empty_list(document)
    if not tomlkit.dumps(document).strip():
        document.add(tomlkit.comment(access_file.NO_GRANTS.removeprefix("# ")))
    _write(parsed.access_file, document, names)
    print(f"Revoked {_counted(removed, 'token')}. Servers follow within seconds, and end open streams within a minute.")
    return 0


def _without_empty_list(document: Any) -> None:  # noqa: ANN401
    """Takes `grant = []` out: no [[grant]] can come after it."""
    if not document.get("grant"):
        document.pop("grant", None)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _is_digest(wanted: str, digest: str) -> bool:
    return len(wanted) >= _SHOWN and wanted.startswith("sha256:") and digest.startswith(wanted)


def _told(what: str) -> str:
    """Returns how a message names `what`. A token is a secret, also a part of one."""
    return "that secret" if what.startswith("rampd_") else what


def _check(parsed: argparse.Namespace, names: Collection[str]) -> int:
    access_list = following.load(parsed.file, names=names)
    warnings = [
        *access_list.warnings,
        *(
            f"grant {each.name}: it ended at {_time_of(each.expires_s)}, so nobody gets in by it. Change `expires`, or take the grant out."
            for each in access_list.grants
            if _is_over(each)
        ),
    ]
    for warning in warnings:
        print(f"rampd-server: warning: {warning}", file=sys.stderr)
    number = len(access_list.grants)
    print(f"{parsed.file} can be used: {_counted(number, 'grant')}, {_counted(len(warnings), 'warning')}.")
    return 0


def _document(path: Path, names: Collection[str]) -> Any:  # noqa: ANN401 - tomlkit's documents are typed loosely
    """Reads the file with its comments. Raises AccessFileError if the file can't be used, so that it is not changed."""
    following.load(path, names=names)
    try:
        text = path.read_text(encoding="utf-8")
        # Without a line end at the end of the file, tomlkit would add to the last line.
        return tomlkit.parse(text if text.endswith("\n") else f"{text}\n")
    except (OSError, TOMLKitError) as error:
        raise AccessFileError(f"{path} can't be read: {error}.") from error


def _write(path: Path, document: Any, names: Collection[str]) -> None:  # noqa: ANN401
    """Replaces the file in one step, open to its owner only. Raises AccessFileError."""
    text = tomlkit.dumps(document)
    access_file.parse(text, names=names)
    try:
        # A link stays a link, and a file keeps its owner if root changes it for a server.
        path = path.resolve()
        private_file.put(path, [text.encode()], like=path.stat() if path.exists() else None)
    except OSError as error:
        raise AccessFileError(f"{path} can't be written: {error.strerror}.") from error
