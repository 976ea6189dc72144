"""Which servers are connected to a store. Each server gives its connections a name of its own."""

import secrets
from typing import Final, NamedTuple

from rampd_server.domain.errors import RampdError
from rampd_server.storage.keys import Keys
from rampd_server.storage.link import Link
from rampd_server.storage.schema import SCHEMA

_SCHEMA_OF_BEFORE: Final = 3
"""The schema up to which a server knows the data if its name has no schema: an earlier rampd."""


class Follower(NamedTuple):
    """A server that is connected to a store."""

    address: str
    """Of one of its connections, as CLIENT LIST shows it."""
    schema: int
    """The newest schema that it knows."""


def name_of_server(namespace: str) -> str:
    """Returns a name for the connections of one server, for `connect`. Its end is the newest schema that the server knows."""
    return f"{_prefix(Keys(namespace))}{secrets.token_hex(8)}:{SCHEMA}"


async def followers(link: Link) -> list[Follower]:
    """Returns the servers of the store's namespace and database that are connected. Raises StoreUnavailableError, also if Redis
    denies CLIENT LIST.

    A server is missing if its user may not use CLIENT SETNAME.
    """
    database = str(link.client.connection_pool.connection_kwargs.get("db", 0))
    clients = await link.call(link.client.client_list)
    prefix = _prefix(link.keys)
    addresses = {
        each["name"].removeprefix(prefix): each["addr"]
        for each in clients
        if each["name"].startswith(prefix) and each["db"] == database
    }
    return [Follower(address, _schema_of(name)) for name, address in addresses.items()]


async def count_servers(link: Link) -> int | None:
    """Returns how many servers are connected, or None if Redis denies CLIENT LIST or does not answer. It never raises: `adopt` asks
    after the new epoch is written.
    """
    try:
        return len(await followers(link))
    except RampdError:
        return None


def _prefix(keys: Keys) -> str:
    return f"{keys.prefix}server:"


def _schema_of(name: str) -> int:
    schema = name.partition(":")[2]
    return int(schema) if schema.isdecimal() else _SCHEMA_OF_BEFORE
