"""Turns errors of Redis into errors of rampd. No other module does this."""

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
from rampd_server.storage.store_errors import wrong_type

URL = "RAMPD_REDIS_URL (--redis-url)"

# Faults that may end without a change of configuration.
_TEMPORARY = {
    "READONLY": f"it is a replica: point {URL} at the primary",
    "UNBLOCKED": f"it has become a primary or a replica just now: {URL} has to name the primary",
    "OOM": "it is out of memory: raise maxmemory, or free some",
    "MISCONF": "it can't save to disk: look at its log, and free disk space",
    "NOREPLICAS": "too few of its replicas are connected (min-replicas-to-write): look at them",
    "LOADING": "it is loading its data: wait until it is done",
    "BUSY": "a script of another client keeps it busy: wait, or end it with SCRIPT KILL",
    "MASTERDOWN": f"it is a replica that has lost its primary: point {URL} at the primary",
    "CLUSTERDOWN": "its cluster is down: look at CLUSTER INFO",
    "ASK": "a slot is being moved to another node: wait until the move is done",
    "TRYAGAIN": "a slot is being moved to another node: wait until the move is done",
}
NOT_OF_CLUSTER = f"Redis is a cluster, whose data are on several nodes: begin {URL} with redis+cluster://, or rediss+cluster:// with TLS"
"""What to do if the URL is not that of a cluster, and the store is one."""
# Faults that stay until somebody changes the configuration of rampd or of Redis.
_PERMANENT = {
    "NOAUTH": f"Redis wants a password, and {URL} has none: put it in, as in redis://:PASSWORD@host:6379/0",
    "WRONGPASS": f"Redis refuses the user or the password of {URL}: correct the URL, or set them in Redis with ACL SETUSER",
    "NOPASS": f"{URL} has a password, and this Redis has none: take it out of the URL, or set requirepass in Redis",
    "NOPERM": f"the user that {URL} names lacks a permission in Redis: give it with ACL SETUSER (ACL LOG shows what was "
    "refused), or name another user in the URL",
    "DENIED": f"Redis accepts no connection from another machine (protected mode): set a password in Redis, and put it into "
    f"{URL}",
    "NODB": f"Redis does not have the database that {URL} names: correct the number at the end of the URL, or raise "
    "`databases` in redis.conf (16 by default)",
    "MOVED": NOT_OF_CLUSTER,
    "CLUSTERDB": f"Redis is a cluster, which has database 0 only: take the number off the end of {URL}",
}
_CODE = re.compile(rf"\b({'|'.join({*_TEMPORARY, *_PERMANENT})})\b")
_PLACE = re.compile(r"\s*script: [0-9a-f]+(?:, on @\w+:\d+)?\.?\s*$")

# If redis-py has a class for an error, it removes the code from the message.
_CLASSES: dict[type[Exception], str] = {
    exceptions.ReadOnlyError: "READONLY",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.MovedError: "MOVED",
    exceptions.AskError: "ASK",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.NoPermissionError: "NOPERM",
}
# redis-py has one class for several different errors, and while it connects it also loses the class.
_PHRASES = {
    "Authentication required": "NOAUTH",
    # The answer to a command that is too long for a connection without authentication.
    "unauthenticated": "NOAUTH",
    "without any password configured": "NOPASS",
    "invalid username-password": "WRONGPASS",
    "DB index is out of range": "NODB",
    "invalid DB index": "NODB",
    "SELECT is not allowed in cluster mode": "CLUSTERDB",
    "protected mode": "DENIED",
    # A script has come to a key whose slot is moved while it runs.
    "access a non local key": "TRYAGAIN",
}
_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED"""
_OTHER_NAME = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH"""


BROKEN_LINK = (RuntimeError, AttributeError, EOFError)
"""Further errors that may be raised if a connection breaks. The event loop raises RuntimeError for a closed transport. redis-py
raises AttributeError or EOFError for a stream that is gone.
"""


_MOVING = frozenset({"MOVED", "ASK", "TRYAGAIN"})
"""Answers of a node of a cluster whose slot has another node, or gets another one just now."""
_ELSEWHERE = frozenset({"READONLY", "UNBLOCKED", "LOADING", "MASTERDOWN", "CLUSTERDOWN", *_MOVING})
"""Answers of a node that is not, or not yet, the primary. Where a finder knows the nodes, another node may be it by now."""


class ElsewhereError(exceptions.ConnectionError):
    """Raised by a connection to a node that a finder has named, when the node says that it is not the primary. It counts as a
    connection that was lost: it is closed, and the call is made once more, on a connection to the primary of then.
    """


def elsewhere(error: Exception, node: str) -> ElsewhereError | None:
    """Returns the error for an answer that says that `node` is not the primary; None if the answer says something else."""
    code = code_of(error)
    return ElsewhereError(f"{node} answers {code}: {_said(error)}") if code in _ELSEWHERE else None


class _Sending:
    """Whether a call had a connection, so that its command may have reached Redis."""

    has_connection = False


_sending: ContextVar[_Sending] = ContextVar("sending")


def note_connection() -> None:
    """Records that the call within `redis_errors` has a connection, so that its command may reach Redis."""
    if (sending := _sending.get(None)) is not None:
        sending.has_connection = True


@contextmanager
def redis_errors(key: str = "", *, is_write: bool = False) -> Iterator[None]:
    """Turns errors of Redis into StoreUnavailableError, or into StoreCorruptError if `key` has the wrong type.

    If a write may have reached Redis, the message says that it is not known whether the change was made.
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
        # The connection was lost, and the second attempt got no connection.
        if is_write and sending.has_connection:
            raise _unknown(error) from error
        raise
    finally:
        _sending.reset(token)
        # Also after an error: if the store is gone, a call whose cancellation was swallowed ends with an error.
        _heed_cancellation()


def _heed_cancellation() -> None:
    """Raises a cancellation that redis-py 8.1 swallowed while it connected. Otherwise the task would never end."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs, so no task can be cancelled
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
    """Returns the error of rampd for an answer of Redis that is an error."""
    if "WRONGTYPE" in str(error):
        return wrong_type(key)
    return _refused(error) or StoreUnavailableError(
        f"Redis refused a command: {_said(error)} Look at its version and its log."
    )


def is_moving(answer: object) -> bool:
    """Whether the answer of a call is the error that a slot is being moved to another node, or was moved just now."""
    return isinstance(answer, StoreUnavailableError) and answer.metadata.get("code") in _MOVING


def unreachable(error: Exception) -> StoreUnavailableError:
    """Returns the error for a Redis that can't be reached now, and may come back."""
    if isinstance(error, BROKEN_LINK):
        return StoreUnavailableError(f"The connection to Redis broke: {_said(error)} Try again.")
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
        return StoreUnavailableError(f"Redis can't be reached: {_said(error)} Look whether it runs.")
    return StoreUnavailableError(f"Redis can't be used: {_said(error)} Look at its log.")


def explained(error: Exception, *, is_tcp: bool = False) -> StoreUnavailableError | None:
    """Returns the error of rampd if Redis, the operating system, or another program on that port has said what is wrong.

    Returns None if Redis may only be away.
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
                f"{URL} begins with rediss://, but the server there speaks no TLS: write redis:// if it is a plain Redis, or "
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
                f"This user may not open the socket or file that {URL} names: {_said(error)} Change its permissions "
                "(for Redis' socket: unixsocketperm in redis.conf), or run rampd-server as another user."
            )
    return None


def no_redis(error: Exception) -> StoreMisconfiguredError:
    """Returns the error for another program that answers in the place of Redis."""
    return StoreMisconfiguredError(
        f"The server that answers is not Redis: {_said(error)} Correct the host and the port in {URL}."
    )


def plain_port() -> StoreMisconfiguredError:
    """Returns the error for TLS on a plain port."""
    return StoreMisconfiguredError(
        f"{URL} begins with rediss://, which is TLS, and the port speaks plain Redis: write redis://, or give the port that "
        "Redis has for TLS (tls-port in redis.conf). Nothing was sent."
    )


def tls_port() -> StoreMisconfiguredError:
    """Returns the error for plain text on a TLS port."""
    return StoreMisconfiguredError(
        f"{URL} begins with redis://, which is plain, and the port speaks TLS: write rediss://, or give the plain port of "
        "Redis. Nothing was sent."
    )


def no_certificate() -> StoreMisconfiguredError:
    """Returns the error for a Redis that wants a certificate of its clients."""
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
        what_to_do = f"name the certificate of its signer by ssl_ca_certs=/path/to/ca.pem in {URL}, or give Redis another certificate"
    return StoreMisconfiguredError(f"The certificate of Redis is not to be trusted ({says}): {what_to_do}.")


def _said(error: Exception) -> str:
    """Redis' words, without the script and its line, which do not help a user of rampd."""
    return ended(_PLACE.sub("", str(error)))


def _refused(error: Exception) -> StoreUnavailableError | None:
    code = code_of(error)
    if isinstance(error, ElsewhereError) and code in _MOVING:
        return StoreUnavailableError(
            f"A slot of the Redis Cluster is being moved to another node: {_said(error)} Try again when it has been moved.",
            code=code,
        )
    if isinstance(error, ElsewhereError):
        return StoreUnavailableError(
            f"The node that was the primary of Redis is not, or not yet, its primary now, and no other one is known: {_said(error)} "
            "A failover may be under way: try again in a moment.",
            code=code,
        )
    if code in _PERMANENT:
        sentence = _PERMANENT[code]
        return StoreMisconfiguredError(f"{sentence[0].upper()}{sentence[1:]}. It says: {_said(error)}", code=code)
    if code in _TEMPORARY:
        return StoreUnavailableError(f"Redis answers {code}; {_TEMPORARY[code]}. It says: {_said(error)}", code=code)
    return None


def code_of(error: Exception) -> str | None:
    """Returns the code with which Redis refuses, such as NOAUTH; None if the error has no code that this module knows."""
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
