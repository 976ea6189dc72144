"""Counts the servers that are connected to a store. Each server gives its connections a name of its own."""

import secrets

from rampd_server.domain.errors import RampdError
from rampd_server.storage.keys import Keys
from rampd_server.storage.link import Link


def name_of_server(namespace: str) -> str:
    """Returns a name for the connections of one server, for `connect`."""
    return f"{Keys(namespace).prefix}server:{secrets.token_hex(8)}"


async def count_servers(link: Link) -> int | None:
    """Returns how many servers of the store's namespace and database are connected, or None if Redis denies CLIENT LIST or
    does not answer. It never raises: `adopt` asks after the new epoch is written.

    A server is not counted if its user may not use CLIENT SETNAME.
    """
    database = str(link.client.connection_pool.connection_kwargs.get("db", 0))
    try:
        clients = await link.call(link.client.client_list)
    except RampdError:
        return None
    prefix = f"{link.keys.prefix}server:"
    return len({each["name"] for each in clients if each["name"].startswith(prefix) and each["db"] == database})
