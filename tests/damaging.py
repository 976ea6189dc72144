"""Damage that a person with redis-cli can do to a component."""

from rampd_server.storage.store import RedisStore

DAMAGE_OF_A_COMPONENT = [
    *((section, "type") for section in ("rollout", "queue", "releases", "attributes", "quarantine", "timeline")),
    *((section, "type") for section in ("overrides", "overrides_index", "overrides_expiry")),
    *((section, "gone") for section in ("rollout", "queue", "releases", "overrides", "overrides_index")),
    *(("rollout", field) for field in ("revision", "current", "current_tag", "next_percent", "state", "policy")),
    *(("rollout", field) for field in ("trial", "unit", "previous", "freeze", "create_ms", "last_number")),
    *(("releases", field) for field in ("2", "3", "4", "x")),
    *(("attributes", "3"), ("attributes", "77"), ("quarantine", "x"), ("timeline", "99"), ("timeline", "x")),
    *(("overrides", "acme/app"), ("overrides", "acme/more"), ("everything", "gone"), ("all_overrides", "gone")),
]
DAMAGE_OF_THE_HISTORY = [("history", "type"), ("history", "gone")]
"""If only its history is damaged, a component is still resolved."""


async def damage(store: RedisStore, component: str, section: str, how: str) -> None:
    """Damages the component as a person with redis-cli would."""
    keys = store.keys.component(component)
    if section == "everything":
        for each in ("rollout", "queue", "releases", "attributes", "quarantine", "timeline"):
            await store.client.delete(getattr(keys, each))
        return
    if section == "all_overrides":
        await store.client.delete(keys.overrides, keys.overrides_index, keys.overrides_expiry)
        return
    key = getattr(keys, section)
    if how in {"type", "gone"}:
        await store.client.delete(key)
        if how == "type":
            await store.client.set(key, "x")
    else:
        await store.client.hset(key, how, "{")


async def make_servers_read_again(store: RedisStore, component: str) -> None:
    """Makes every server on the namespace read everything again, and keep nothing: it can't apply the next entry of the feed."""
    head = await store.client.hget(store.keys.meta, "head")
    fields = {"component": component, "revision": 10**9, "patch": "{", "prev": head or "0-0"}
    entry_id = await store.client.xadd(store.keys.feed, fields)
    await store.client.hset(store.keys.meta, "head", entry_id)
