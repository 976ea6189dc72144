"""A repeated request id: says what differs from the first request."""

from rampd_server.domain.errors import RefusedError
from rampd_server.domain.refusals import request_id_reused
from rampd_server.ports import Author, RequestRecord

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


def _differing(author: Author, record: RequestRecord) -> list[str]:
    if not record.parts:
        return []
    names = [name for name in dict.fromkeys((*record.parts, *author.parts)) if name != _IDENTITY]
    return [name for name in names if record.parts.get(name) != author.parts.get(name)]


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
