"""Exports a namespace while servers write: everything up to one entry of the feed, and nothing later."""

import time
from collections.abc import Callable
from typing import NamedTuple

from rampd_server.backup.lines import About, Writer
from rampd_server.domain.errors import StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout.model import Absent
from rampd_server.domain.wording import counted
from rampd_server.ports import Head
from rampd_server.process.startup import StartupError
from rampd_server.replica.projection import override_of
from rampd_server.replica.reading import Reading
from rampd_server.replica.state import State
from rampd_server.storage.exporting import read_origins, read_raw_events
from rampd_server.storage.store import RedisStore

_EMPTY = "0-0"


class Exported(NamedTuple):
    """What was exported."""

    components: int
    overrides: int
    events: int
    entry: str


async def export(
    store: RedisStore, namespace: str, write: Callable[[bytes], object], *, with_history: bool
) -> Exported:
    """Writes the lines of an export of the store's namespace.

    Raises StartupError if there is nothing to export, or something that can't be read; StoreUnavailableError, StoreResetError,
    StoreCorruptError.
    """
    head = await head_of(store)
    store.set_epoch(head.epoch)
    state = await _read_all(store, head)
    if not state.components and not state.gone:
        raise StartupError(
            f"The namespace {namespace} has no component, so there is nothing to export. Check --namespace and the store."
        )
    writer = Writer(write, About(namespace, state.epoch, state.entry_id, head.time_ms, state.namespace))
    number = 0
    for name in sorted(state.components):
        component = state.components[name]
        number += len(component.overrides)
        writer.component(
            component.rollout, ((repo, override_of(choice)) for repo, choice in component.overrides.items())
        )
    for name in sorted(state.gone):
        writer.component(state.gone[name])
    events = await _write_histories(store, state, writer) if with_history else 0
    await _require_still_there(store, state)
    writer.end()
    return Exported(len(state.components), number, events, state.entry_id)


async def _read_all(store: RedisStore, head: Head) -> State:
    """Returns everything at one entry of the feed. A reading into an empty state only reads."""
    before = await _tombstones(store)
    reading = Reading(
        store,
        State(),
        (),
        read_head=lambda: head_of(store),
        now_ms=lambda: head.time_ms,
        confirmed_s=time.monotonic,
    )
    state = await reading.whole(head)
    if state.damaged:
        raise StartupError(
            *(damage.error.message for damage in state.damaged.values()),
            f"Nothing was exported, because {counted(len(state.damaged), 'component')} can't be read.",
        )
    gone = before | await _deletions(store, head.entry_id, state.entry_id)
    state.gone = {name: absent for name, absent in gone.items() if name not in state.components}
    return state


async def _tombstones(store: RedisStore) -> dict[str, Absent]:
    """Returns the components that are deleted now."""
    names = [name for name, _ in await store.deleted_components()]
    found = [(await store.read(name)).rollout for name in names]
    return {absent.component: absent for absent in found if isinstance(absent, Absent)}


async def _deletions(store: RedisStore, after: str, last: str) -> dict[str, Absent]:
    """Returns the tombstones that the entries of the feed made, each the last one of its component."""
    found: dict[str, Absent] = {}
    place = here = after
    while here != last and (entries := await store.feed(place, block_ms=0)):
        for entry in entries:
            if here == last or entry.previous_id != here:  # no script wrote it
                continue
            here = entry.id
            if entry.is_deletion:
                gone = store.apply(Absent(entry.component, entry.revision - 1, entry=entry.base_entry), entry)
                if isinstance(gone, Absent):
                    found[entry.component] = gone
        place = entries[-1].id
    return found


async def _write_histories(store: RedisStore, state: State, writer: Writer) -> int:
    number = 0
    for name in ("", *sorted({*state.components, *state.gone})):
        async for events in read_raw_events(store.link, name, up_to=state.entry_id):
            writer.events(name, events)
            number += len(events)
    for name, component in sorted(state.components.items()):
        if len(component.overrides):
            repos = dict(component.overrides.items())
            async for origins in read_origins(store.link, name, up_to=state.entry_id):
                if kept := {repo: entry_id for repo, entry_id in origins.items() if repo in repos}:
                    writer.origins(name, kept)
    return number


async def head_of(store: RedisStore) -> Head:
    """Returns the head. Raises StoreResetError if the namespace has no epoch; StoreUnavailableError."""
    head = await store.head()
    if head is None:
        raise StoreResetError(
            "The namespace has no epoch: no server has used it, or it was emptied. Check --namespace."
        )
    return head


async def _require_still_there(store: RedisStore, state: State) -> None:
    """Raises StoreUnavailableError if the store has lost, since the reading, what was read."""
    head = await head_of(store)
    if head.epoch != state.epoch or (state.entry_id != _EMPTY and await store.has_lost(state.entry_id)):
        raise StoreUnavailableError(
            "The store was emptied, replaced or put back to an older state during the export. The output is not whole. Export again."
        )
