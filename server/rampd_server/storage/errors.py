"""Redis' errors become ours here, and nowhere else."""

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from redis import exceptions

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.domain.wording import ended
from rampd_server.storage.other_protocol import is_certificate_wanted
from rampd_server.storage.refusals import wrong_type

URL = "RAMPD_REDIS_URL (--redis-url)"

_PASSES = {
    "READONLY": f"it is a replica: point {URL} at the primary",
    "UNBLOCKED": f"it has become a primary or a replica just now: {URL} has to name the primary",
    "OOM": "it is out of memory: raise maxmemory, or free some",
    "MISCONF": "it can't save to disk: look at its log, and free disk space",
    "NOREPLICAS": "too few of its replicas are connected (min-replicas-to-write): look at them",
    "LOADING": "it is loading its data: wait until it is done",
    "BUSY": "a script of another client keeps it busy: wait, or end it with SCRIPT KILL",
    "MASTERDOWN": f"it is a replica that has lost its primary: point {URL} at the primary",
    "CLUSTERDOWN": "its cluster is down: look at CLUSTER INFO",
}
# What stays until somebody changes one of the two ends.
_LASTS = {
    "NOAUTH": f"Redis wants a password, and {URL} has none: put it in, as in redis://:PASSWORD@host:6379/0",
    "WRONGPASS": f"Redis refuses the user or the password of {URL}: correct the URL, or set them in Redis with ACL SETUSER",
    "NOPASS": f"{URL} has a password, and this Redis has none: take it out of the URL, or set requirepass in Redis",
    "NOPERM": f"the user that {URL} names lacks a permission in Redis: give it with ACL SETUSER (ACL LOG shows what was "
    "refused), or name another user in the URL",
    "DENIED": f"Redis lets in nobody from another machine (protected mode): set a password in Redis, and put it into {URL}",
    "NODB": f"Redis does not have the database that {URL} names: correct the number at the end of the URL, or raise "
    "`databases` in redis.conf (16 by default)",
    "CLUSTERDB": f"Redis is a cluster, which has database 0 only: take the number off the end of {URL}",
}
_CODE = re.compile(rf"\b({'|'.join({*_PASSES, *_LASTS})})\b")
_PLACE = re.compile(r"\s*script: [0-9a-f]+(?:, on @\w+:\d+)?\.?\s*$")

# redis-py takes the code off the message of the errors that it has a class for.
_CLASSES: dict[type[Exception], str] = {
    exceptions.ReadOnlyError: "READONLY",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.NoPermissionError: "NOPERM",
}
# It has one class for some that are not the same, and while it connects it drops the class too.
_PHRASES = {
    "Authentication required": "NOAUTH",
    # Of a command that is too long for somebody whom Redis does not know.
    "unauthenticated": "NOAUTH",
    "without any password configured": "NOPASS",
    "invalid username-password": "WRONGPASS",
    "DB index is out of range": "NODB",
    "invalid DB index": "NODB",
    "SELECT is not allowed in cluster mode": "CLUSTERDB",
    "protected mode": "DENIED",
}
_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED"""
_OTHER_NAME = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH"""


BROKEN_LINK = (RuntimeError, AttributeError, EOFError)
"""What is raised where a link is cut at the wrong moment, beside the errors of Redis and of the system: the event loop has a
RuntimeError for a transport that is closed, and redis-py an AttributeError or an EOFError of a stream that is gone.
"""


class _Sending:
    """Whether a call had a connection, so that what it asks for may have reached Redis."""

    has_connection = False


_sending: ContextVar[_Sending] = ContextVar("sending")


def note_connection() -> None:
    """From here on Redis may have got what the call of `redis_errors` sends."""
    if (sending := _sending.get(None)) is not None:
        sending.has_connection = True


@contextmanager
def redis_errors(key: str = "", *, is_write: bool = False) -> Iterator[None]:
    """Raises ours for Redis' errors: StoreUnavailableError, or StoreCorruptError where `key` has the wrong type.

    Of a write that may have reached Redis, the message says that whether it was made is not known.
    """
    sending = _Sending()
    token = _sending.set(sending)
    try:
        yield
    except (exceptions.TimeoutError, TimeoutError) as exc:
        raise _late(sending, is_write=is_write) from exc
    except exceptions.ResponseError as exc:
        raise translated(exc, key) from exc
    except (exceptions.RedisError, OSError, *BROKEN_LINK) as exc:
        error = explained(exc) or unreachable(exc)
        raise _unknown(error) if is_write and sending.has_connection else error from exc
    except StoreUnavailableError as error:
        # The connection was lost, and there was no other one to try again with.
        if is_write and sending.has_connection:
            raise _unknown(error) from error
        raise
    finally:
        _sending.reset(token)
        # Whatever came of the call instead: a store that has gone answers a call whose cancellation was swallowed with an error.
        _heed_cancellation()


def _heed_cancellation() -> None:
    """redis-py 8.1 swallows a cancellation that comes while it connects: the call goes on, and its task never ends."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # nothing runs that could be cancelled
        return
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _late(sending: _Sending, *, is_write: bool) -> StoreUnavailableError:
    if not sending.has_connection:
        return StoreUnavailableError(
            "Redis can't be reached: it did not answer in time while rampd connected to it. Nothing was sent. Look whether "
            "it runs."
        )
    if not is_write:
        return StoreUnavailableError("Redis did not answer in time. Look at Redis, and try again.")
    return StoreUnavailableError(
        "Redis did not answer in time. Whether the change was made is not known: send it again with the same "
        "request_id, and look at Redis."
    )


def _unknown(error: StoreUnavailableError) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{error.message} Whether the change was made is not known: send it again with the same request_id.",
        **error.metadata,
    )


def translated(error: Exception, key: str) -> Exception:
    """Ours for an answer that is an error."""
    if "WRONGTYPE" in str(error):
        return wrong_type(key)
    return _refused(error) or StoreUnavailableError(
        f"Redis refused a command: {_said(error)} Look at its version and its log."
    )


def unreachable(error: Exception) -> StoreUnavailableError:
    """Ours where Redis is away, and may come back."""
    if isinstance(error, BROKEN_LINK):
        return StoreUnavailableError(f"The connection to Redis broke: {_said(error)} Try again.")
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
        return StoreUnavailableError(f"Redis can't be reached: {_said(error)} Look whether it runs.")
    return StoreUnavailableError(f"Redis can't be used: {_said(error)} Look at its log.")


def explained(error: Exception, *, is_tcp: bool = False) -> StoreUnavailableError | None:
    """Ours where Redis, the system, or what is there in Redis' place has said what is wrong; None where Redis may just be
    away.
    """
    if refused := _refused(error):
        return refused
    if isinstance(error, exceptions.InvalidResponse):
        return no_redis(error)
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause)
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
            return StoreMisconfiguredError(
                f"{URL} begins with rediss://, and what answers speaks no TLS: write redis:// where it is a plain Redis, or "
                "correct the host and the port. Nothing was sent."
            )
        if isinstance(cause, ssl.SSLError) and is_certificate_wanted(cause):
            return no_certificate()
        if is_tcp and isinstance(cause, FileNotFoundError):
            return StoreMisconfiguredError(
                f"A file that {URL} names for TLS (ssl_ca_certs, ssl_certfile, ssl_keyfile) is not there: correct its path."
            )
        if isinstance(cause, PermissionError):
            return StoreMisconfiguredError(
                f"This user may not open what {URL} names: {_said(error)} Change the permissions (of Redis' socket: "
                "unixsocketperm in redis.conf), or run rampd-server as another user."
            )
    return None


def no_redis(error: Exception) -> StoreMisconfiguredError:
    """Ours where something else answers."""
    return StoreMisconfiguredError(f"What answers is no Redis: {_said(error)} Correct the host and the port in {URL}.")


def plain_port() -> StoreMisconfiguredError:
    """Ours where TLS is spoken to a port without."""
    return StoreMisconfiguredError(
        f"{URL} begins with rediss://, which is TLS, and the port speaks plain Redis: write redis://, or give the port that "
        "Redis has for TLS (tls-port in redis.conf). Nothing was sent."
    )


def tls_port() -> StoreMisconfiguredError:
    """Ours where plain Redis is spoken to a port of TLS."""
    return StoreMisconfiguredError(
        f"{URL} begins with redis://, which is plain, and the port speaks TLS: write rediss://, or give the plain port of "
        "Redis. Nothing was sent."
    )


def no_certificate() -> StoreMisconfiguredError:
    """Ours where Redis wants a certificate of its clients."""
    return StoreMisconfiguredError(
        f"Redis wants a certificate of its clients: name one by ssl_certfile and ssl_keyfile in {URL}, or set "
        "tls-auth-clients no in Redis."
    )


def _untrusted(error: ssl.SSLCertVerificationError) -> StoreMisconfiguredError:
    says = error.verify_message.rstrip(".")
    if error.verify_code in _OTHER_NAME:
        what_to_do = f"write the host in {URL} as the certificate has it, or give Redis another certificate"
    elif error.verify_code == _EXPIRED:
        what_to_do = "renew it in Redis (tls-cert-file in redis.conf)"
    else:
        what_to_do = f"name who signed it by ssl_ca_certs=/path/to/ca.pem in {URL}, or give Redis another certificate"
    return StoreMisconfiguredError(f"The certificate of Redis is not to be trusted ({says}): {what_to_do}.")


def _said(error: Exception) -> str:
    """Redis' words, without where in which script it was: that says nothing to who reads it."""
    return ended(_PLACE.sub("", str(error)))


def _refused(error: Exception) -> StoreUnavailableError | None:
    code = _code(error)
    if code in _LASTS:
        sentence = _LASTS[code]
        return StoreMisconfiguredError(f"{sentence[0].upper()}{sentence[1:]}. It says: {_said(error)}", code=code)
    if code in _PASSES:
        return StoreUnavailableError(f"Redis answers {code}; {_PASSES[code]}. It says: {_said(error)}", code=code)
    return None


def _code(error: Exception) -> str | None:
    for kind, code in _CLASSES.items():
        if isinstance(error, kind):
            return code
    text = str(error)
    for phrase, code in _PHRASES.items():
        if phrase in text:
            return code
    match = _CODE.search(text)
    return match[1] if match else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
