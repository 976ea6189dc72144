"""A repeated request id: says what differs from the first request, and whether the store still has its change."""

from rampd_server.domain.errors import RefusedError
from rampd_server.domain.refusals import request_id_reused
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Author, RequestRecord, Store, entry_order

_IDENTITY = "identity"


def reused(author: Author, record: RequestRecord) -> RefusedError:
    """Returns the refusal of a request id that was used for another request. Only the identity that used the id hears what
    it was used for: it may have been about a component that others do not see.
    """
    request_id, first, what = author.request_id, record.parts.get("method"), ""
    user = record.parts.get(_IDENTITY)
    if user != author.parts.get(_IDENTITY):
        # An earlier rampd did not write the identity.
        return request_id_reused(
            f"The request id {request_id} was used by another caller." if user else "", request_id=request_id
        )
    differs = _differing(author, record)
    if first and first != author.action:
        what = f"The request id {request_id} was used for {first}, and this is {author.action}."
    elif differs:
        what = f"The request id {request_id} was used for a {author.action} that differs in {_listed(differs)}."
    fields = ", ".join(differs) if differs and first == author.action else None
    return request_id_reused(what, request_id=request_id, method=first or None, differs=fields)


def replayed_message(author: Author, record: RequestRecord) -> str:
    """Returns the message for the repeat of a request."""
    message = "This request_id was already applied; this is its first result."
    differs = _differing(author, record)
    return f"{message} This call differs in {_listed(differs)}; the difference is ignored." if differs else message


async def has_change(store: Store, rollout: Rollout | Absent, record: RequestRecord) -> bool:
    """Whether a component still has the change of a request. The store writes record and change together, so the change is missing
    only if somebody has put back a part of the component's data, or if the store has failed over since the record was read.

    A revision does not show this alone: after a loss, two histories may have used the same number. Raises StoreUnavailableError,
    StoreResetError.
    """
    result = record.result
    if not result.changed:
        return True
    if result.revision > rollout.revision:
        return False
    if await store.missing_entries([(rollout.component, record.entry)]):
        return False
    is_in_doubt = isinstance(rollout, Rollout) and rollout.has_lost(result.revision)
    return not is_in_doubt or await _comes_from(store, rollout, record.entry)


async def _comes_from(store: Store, rollout: Rollout | Absent, entry_id: str) -> bool:
    """Whether a feed entry is among those that led to a component's state. Each entry names the one before it; a part that was put
    back has skipped some. True if the feed does not reach back so far.
    """
    last, read_to = entry_order(rollout.entry), entry_id
    bases: dict[str, str] = {}
    while entry_order(read_to) < last:
        entries = await store.feed(read_to, block_ms=0)
        if not entries:
            break
        bases.update((each.id, each.base_entry) for each in entries if each.component == rollout.component)
        read_to = entries[-1].id
    at = rollout.entry
    while at in bases:
        at = bases[at]
    return bool(at) and entry_order(at) >= entry_order(entry_id)


def _differing(author: Author, record: RequestRecord) -> list[str]:
    if not record.parts:
        return []
    names = [name for name in dict.fromkeys((*record.parts, *author.parts)) if name != _IDENTITY]
    return [name for name in names if record.parts.get(name) != author.parts.get(name)]


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
