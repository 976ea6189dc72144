"""Redis' errors become ours here, and nowhere else."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.domain.wording import ended
from rampd_server.storage.refusals import wrong_type

_WHAT_TO_DO = {
    "READONLY": "it is a replica: point RAMPD_REDIS_URL at the primary",
    "OOM": "it is out of memory: raise maxmemory, or free some",
    "MISCONF": "it can't save to disk: look at its log, and free disk space",
    "NOREPLICAS": "too few of its replicas are connected (min-replicas-to-write): look at them",
    "LOADING": "it is loading its data: wait until it is done",
    "BUSY": "a script of another client keeps it busy: wait, or end it with SCRIPT KILL",
    "MASTERDOWN": "it is a replica that has lost its primary: point RAMPD_REDIS_URL at the primary",
    "CLUSTERDOWN": "its cluster is down: look at CLUSTER INFO",
    "NOAUTH": "it wants a password: put it into RAMPD_REDIS_URL",
    "WRONGPASS": "it refuses the password: correct RAMPD_REDIS_URL",
    "NOPERM": "the user of RAMPD_REDIS_URL lacks a permission: look at ACL LOG",
}
_CODE = re.compile(rf"\b({'|'.join(_WHAT_TO_DO)})\b")

# redis-py takes the code off the message of the errors that it has a class for.
_CLASSES: dict[type[Exception], str] = {
    exceptions.ReadOnlyError: "READONLY",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.AuthenticationError: "WRONGPASS",
}
# While it connects it drops the class too.
_PHRASES = {"Authentication required": "NOAUTH", "invalid username-password": "WRONGPASS"}


@contextmanager
def redis_errors(key: str = "") -> Iterator[None]:
    """Raises ours for Redis' errors: StoreUnavailableError, or StoreCorruptError where `key` has the wrong type."""
    try:
        yield
        _heed_cancellation()
    except (exceptions.TimeoutError, TimeoutError) as exc:
        raise StoreUnavailableError(
            "Redis did not answer in time. Whether the change was made is not known: send it again with the same "
            "request_id, and look at Redis."
        ) from exc
    except exceptions.ResponseError as exc:
        raise translated(exc, key) from exc
    except exceptions.ConnectionError as exc:
        if code := _code(exc):
            raise _refused(code, exc) from exc
        raise StoreUnavailableError(f"Redis can't be reached: {ended(str(exc))} Look whether it runs.") from exc
    except (exceptions.RedisError, OSError) as exc:
        raise StoreUnavailableError(f"Redis can't be used: {ended(str(exc))} Look at its log.") from exc


def _heed_cancellation() -> None:
    """redis-py 8.1 swallows a cancellation that comes while it connects: the call goes on, and its task never ends."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def translated(error: Exception, key: str) -> Exception:
    """Ours for an answer that is an error."""
    if "WRONGTYPE" in str(error):
        return wrong_type(key)
    if code := _code(error):
        return _refused(code, error)
    return StoreUnavailableError(f"Redis refused a command: {ended(str(error))} Look at its version and its log.")


def _refused(code: str, error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(f"Redis answers {code}; {_WHAT_TO_DO[code]}. It says: {error}", code=code)


def _code(error: Exception) -> str | None:
    for kind, code in _CLASSES.items():
        if isinstance(error, kind):
            return code
    text = str(error)
    match = _CODE.search(text)
    return match[1] if match else next((code for phrase, code in _PHRASES.items() if phrase in text), None)
