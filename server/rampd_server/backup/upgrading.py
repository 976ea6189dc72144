"""`rampd-server upgrade`: raises the schema of a namespace once no server is connected that does not know the new one."""

from rampd_server.backup.exporting import head_of
from rampd_server.domain.errors import RampdError
from rampd_server.process.startup import StartupError
from rampd_server.storage.followers import followers
from rampd_server.storage.link import Link
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore

_NAMED = 10
"""How many servers a refusal names."""


async def upgrade(link: Link, namespace: str, *, is_forced: bool) -> str:
    """Raises the schema of a namespace to the newest one, and says what was done. With `is_forced`, it does not ask which servers are
    connected.

    Raises StartupError if a server that knows less is connected, or if nobody can tell; StoreResetError, StoreUnavailableError.
    """
    store = RedisStore(link)
    await head_of(store)
    found = store.schema
    if int(found) == SCHEMA:
        return (
            f"The namespace {namespace} has schema {SCHEMA}, the newest that this rampd knows, so nothing was changed."
        )
    if not is_forced:
        await _require_no_older(link)
    await store.raise_schema(SCHEMA)
    return (
        f"Raised the schema of the namespace {namespace} from {found} to {SCHEMA}. Servers write the new form within a second. An "
        f"earlier rampd does not start on it any more."
    )


async def _require_no_older(link: Link) -> None:
    try:
        older = [each for each in await followers(link) if each.schema < SCHEMA]
    except RampdError as error:
        raise StartupError(
            f"Nothing was changed, because nobody can tell which servers are connected: {error.message}",
            "If you know that all servers are of this version, add --force.",
        ) from error
    if older:
        named = [f"{each.address} knows schema {each.schema}" for each in older[:_NAMED]]
        rest = [f"{len(older) - _NAMED} more"] if len(older) > _NAMED else []
        are = "server is" if len(older) == 1 else "servers are"
        raise StartupError(
            f"Nothing was changed, because {len(older)} {are} connected that can't work with schema {SCHEMA}: "
            f"{', '.join([*named, *rest])}.",
            "Update them, and type the command again. With --force, they write nothing from then on, and answer Resolve with their "
            "last state.",
        )
