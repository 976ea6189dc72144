"""Writes entries of the feed, reads them back, and applies them to a server's copy."""

from collections.abc import Mapping

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.domain.wording import ended
from rampd_server.ports import FeedEntry, Namespace, Override
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.patch import Patch
from rampd_server.storage.codec.rebuild import rebuild
from rampd_server.storage.codec.rollout_hash import GIVEN_BY_STORE, write_hash
from rampd_server.storage.codec.rollout_hash import SECTION as ROLLOUT


def write_namespace(namespace: Namespace) -> str:
    """Returns a JSON object that has the freeze as the same text as `meta`."""
    freeze = namespace.freeze
    return "{}" if freeze is None else texts.write_json({"freeze": texts.write_freeze(freeze)})


def read_namespace(freeze: str | None) -> Namespace:
    """Reads the namespace from the field `freeze` of `meta`. Raises ValueError."""
    return Namespace(_read_freeze(freeze))


def _read_freeze(text: str | None) -> Freeze | None:
    return None if text is None else texts.read_freeze(text)


def write_overrides(changes: Mapping[str, Override | None]) -> str:
    """Returns a JSON object: repo to text. The text is empty if the override is to be deleted."""
    return texts.write_json(
        {repo: "" if override is None else texts.write_override(override) for repo, override in changes.items()}
    )


def overrides_patch(update_ms: int) -> str:
    """Returns the patch that commit_overrides.lua writes into its entry."""
    return texts.write_json({ROLLOUT: {"set": ["update_ms", str(update_ms)]}})


def end(gone: Absent) -> str:
    """Returns the patch that delete_damaged.lua writes into its entry."""
    fields = {name: text for name, text in write_hash(gone).items() if name not in GIVEN_BY_STORE}
    return Patch({ROLLOUT: fields}, is_deletion=True).to_json()


def read_entry(entry_id: str, fields: Mapping[str, str]) -> FeedEntry:
    """Reads an entry of the feed. Raises MalformedError."""
    try:
        overrides = texts.read_object(fields.get("overrides", "{}"))
        namespace = texts.read_object(fields["namespace"]) if "namespace" in fields else None
        return FeedEntry(
            id=entry_id,
            previous_id=fields["prev"],
            component=fields.get("component", ""),
            revision=texts.read_integer(fields.get("revision", "0")),
            base_entry=fields.get("base", ""),
            patch=fields.get("patch", ""),
            is_deletion="deleted" in fields,
            overrides_set={repo: texts.read_override(text) for repo, text in overrides.items() if text},
            overrides_deleted=tuple(repo for repo, text in overrides.items() if not text)
            + tuple(fields.get("expired", "").split()),
            namespace=None if namespace is None else read_namespace(namespace.get("freeze")),
        )
    except KeyError as exc:
        raise MalformedError("feed", entry_id, f"has no {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise MalformedError("feed", entry_id, str(exc)) from exc


def apply(rollout: Rollout | Absent, entry: FeedEntry, *, feed_key: str) -> Rollout | Absent:
    """Returns the component after an entry. An entry that the component already includes changes nothing.

    Raises StoreCorruptError if the entry is not the component's next entry, or if rampd did not write the entry.
    """
    if not entry.patch or entry.revision <= rollout.revision:
        return rollout
    component = rollout.component
    if entry.base_entry != rollout.entry:
        raise StoreCorruptError(
            f"The entry {entry.id} of {feed_key} takes {component} to revision {entry.revision} and follows entry "
            f"{entry.base_entry or 'none'}, but this server's copy is at {rollout.entry or 'none'}: it has to be read again.",
            key=feed_key,
        )
    try:
        patch = Patch.from_json(entry.patch).with_assigned(
            entry.revision, entry.id, is_of_overrides_only=entry.is_of_overrides_only
        )
        return rebuild(component, rollout if isinstance(rollout, Rollout) else None, patch)
    except MalformedError as exc:
        raise StoreCorruptError(
            f"The entry {entry.id} of {feed_key} is not what rampd wrote: {ended(str(exc))} Restart the server to read everything "
            f"again; if that fails too, restore the store from a backup.",
            key=feed_key,
        ) from exc
