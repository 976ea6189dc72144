"""Imports content into an empty namespace: everything, or nothing."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import replace

from rampd._runtime.private_file import name_of_user
from rampd_server.backup.lines import Content
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Author, Namespace, entry_order
from rampd_server.storage.codec import history, texts
from rampd_server.storage.codec.patch import diff
from rampd_server.storage.exporting import RawEvent
from rampd_server.storage.importing import Import

ACTION = "Import"


def actor() -> str:
    """Who imports, for the history: the user of this process."""
    return name_of_user(os.geteuid())


async def write(target: Import, content: Content) -> str:
    """Writes all of the content after `target.begin()`, and returns the epoch of the namespace.

    Each component gets the next revision, and an event in its history, so that servers that have seen the revision find that
    this one follows it. Raises StoreUnavailableError, StoreResetError, StoreCorruptError.
    """
    author = Author(actor(), ACTION, content.note)
    now_ms = await target.now_ms()
    # The ids of the store go on after the newest one that is imported, also if the clock of its store was ahead.
    latest_ms = max((entry_order(entry_id)[0] for entry_id in _ids(content)), default=0)
    time_ms = max(now_ms, latest_ms + 1)
    newest = f"{time_ms}-0"
    for rollout, overrides in content.components:
        entry = f"{time_ms}-{secrets.randbelow(1 << 32) + 1}"
        newest = max(newest, entry, key=entry_order)
        after = replace(rollout, revision=rollout.revision + 1, entry=entry, state_entry=entry)
        events = content.events.get(rollout.component, ())
        await target.component(after, overrides, content.origins.get(rollout.component, {}))
        await target.events(rollout.component, [*events, _event(after, author, now_ms, has_history=bool(events))])
    for absent in content.gone:
        await target.component(absent, {}, {})
        await target.events(absent.component, content.events.get(absent.component, ()))
    await target.events("", content.events.get("", ()))
    return await target.end(newest=newest, shared=content.about.shared, event=_shared_event(content, author))


def _ids(content: Content) -> Iterator[str]:
    for events in content.events.values():
        yield from (entry_id for entry_id, _ in events)
    for repos in content.origins.values():
        yield from repos.values()
    rollouts: list[Rollout | Absent] = [*(rollout for rollout, _ in content.components), *content.gone]
    yield from (rollout.entry for rollout in rollouts if rollout.entry)


def _event(rollout: Rollout, author: Author, now_ms: int, *, has_history: bool) -> RawEvent:
    """Returns the event of the import. Without an earlier history, it has the whole state as its changes."""
    changes = () if has_history else history.field_changes(diff(Absent(rollout.component), rollout))
    fields = ("revision", str(rollout.revision), "time", str(now_ms), *history.event_fields(author, changes))
    return rollout.entry, dict(zip(fields[::2], fields[1::2], strict=True))


def _shared_event(content: Content, author: Author) -> tuple[str, ...]:
    freeze = _freeze_text(content.about.shared)
    changes = () if freeze is None or content.events.get("") else history.namespace_changes(None, freeze)
    return history.event_fields(author, changes)


def _freeze_text(shared: Namespace) -> str | None:
    return None if shared.freeze is None else texts.write_freeze(shared.freeze)
