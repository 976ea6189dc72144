"""What a person does on the page: shows what a verb would do, and does it.

A GET of a verb's address shows its form, with the answer of a dry run beside the button. A POST makes the change. The form carries
what the person has seen, the revision and the tag of next, so that what has changed meanwhile is refused. It also carries the id of
its request, so that a form that is sent twice makes one change.
"""

import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from google.rpc import code_pb2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rampd import v1
from rampd_server.http.call import counted
from rampd_server.http.errors import STATUS_OF
from rampd_server.page import front, reading, session
from rampd_server.page.forms import fields_of
from rampd_server.page.rendering import fragment
from rampd_server.page.verb_form import Done, Foreseen, Form, News, entry, foreseen, shown
from rampd_server.page.verbs import VERBS, Verb
from rampd_server.rpc.call_error import CallError

if TYPE_CHECKING:
    from rampd_server.page.routes import Look, Visit

PART: Final = "x-rampd-part"
"""The header with which JavaScript asks for a part of a page."""
DIALOG: Final = "dialog"
"""The part of a page that stands in a dialog."""

_NOT_OURS: Final = (
    "Nothing was done: this form is out of date, or another page has sent it. Look at it, and send it again."
)
_MEANWHILE: Final = frozenset({"REVISION_MISMATCH", "TAG_MISMATCH"})
_MOST_NEWS: Final = 20
_MOST_DIGITS: Final = 18
"""Of a number that a form carries."""


def looks() -> "Iterator[tuple[str, Look]]":
    """The addresses of all verbs, each with what answers a GET and a POST of it."""
    for verb in VERBS:
        yield verb.route, partial(_act, verb)


async def _act(verb: Verb, visit: "Visit") -> Response:
    # Also before there is anything to ask the server.
    await visit.person.require(verb.about(_component(visit)))
    if visit.request.method == "POST":
        return await _do(verb, visit)
    return await _ask(verb, visit, visit.request.query_params)


async def _do(verb: Verb, visit: "Visit") -> Response:
    """Makes the change. If that is refused, shows why, and the form again."""
    request = visit.request
    with counted(visit.served.handlers, request.scope["path"]):
        given = await fields_of(request, visit.served.door)
    if not _is_own(request, given):
        return await _ask(verb, visit, given, said=_NOT_OURS, status=HTTPStatus.FORBIDDEN)
    try:
        answer: Any = await visit.person.ask(_request(verb, visit, given), verb.answer)
    except CallError as error:
        said = error.status.message
        if error.reason in _MEANWHILE:
            said = f"Nothing was done: {_component(visit)} was changed after you had looked at it."
        try:
            return await _ask(verb, visit, given, said=said, status=STATUS_OF[error.status.code])
        except CallError:
            # There is nothing to show it with, for example because the store does not answer.
            raise error from None
    done = Done(
        label=verb.label,
        component=_component(visit),
        message=answer.message,
        is_repeat=answer.replayed,
        stands=front.row(answer.rollout, visit.clock) if answer.HasField("rollout") else None,
    )
    return await _answer(visit, "verb_done.html", label=verb.label, component=done.component, done=done)


async def _ask(
    verb: Verb, visit: "Visit", given: Mapping[str, str], *, said: str = "", status: int = HTTPStatus.OK
) -> Response:
    """Shows the form, with what would happen now. `said`: why what was sent was not done. Raises CallError."""
    rollout = v1.Rollout() if verb.is_of_all else await reading.rollout(visit.person, _component(visit))
    now = {**given, **_seen(verb, visit, rollout)}
    would, refusal = await _foresee(verb, visit, now, rollout)
    form = Form(
        label=verb.label,
        tone=verb.tone,
        path=verb.address(_component(visit)),
        component=_component(visit),
        stands=None if verb.is_of_all else front.row(rollout, visit.clock),
        fields=shown(verb.fields, given, rollout),
        note=given.get("note", ""),
        hidden=_seen(verb, visit, rollout) | {"request_id": f"page-{secrets.token_hex(16)}"},
        said="" if said == refusal else said,
        news=None if verb.is_of_all else await _news(verb, visit, given, rollout),
        foreseen=would,
        refusal=refusal,
    )
    return await _answer(visit, "verb_form.html", status, label=verb.label, component=form.component, form=form)


def _seen(verb: Verb, visit: "Visit", rollout: v1.Rollout) -> dict[str, str]:
    """What a form that is made now carries of what the person sees, and when it was made."""
    made = {"made": str(int(visit.now.timestamp()))}
    if verb.is_of_all:
        return made
    tag = {"tag": rollout.next.tag} if verb.guards_next else {}
    return {**tag, "revision": str(rollout.revision), **made}


async def _foresee(
    verb: Verb, visit: "Visit", given: Mapping[str, str], rollout: v1.Rollout
) -> tuple[Foreseen | None, str]:
    """Returns the answer of a dry run, or why the server would refuse. Neither if something has to be filled in first."""
    if not verb.is_complete(given):
        return None, ""
    try:
        request = _request(verb, visit, given)
        # The answer to an id that was applied is its first result.
        request.request_id = ""
        request.dry_run = True
        return foreseen(await visit.person.ask(request, verb.answer), rollout, visit.clock), ""
    except CallError as error:
        return None, error.status.message


async def _news(verb: Verb, visit: "Visit", given: Mapping[str, str], rollout: v1.Rollout) -> News | None:
    """Returns what has changed since the person looked; None if nothing has. Without a revision in `given`, the person has not
    looked yet.
    """
    revision = _number(given.get("revision", ""))
    if revision is None or revision == rollout.revision:
        return None
    try:
        events = await reading.events(visit.person, rollout.component, _MOST_NEWS)
    except CallError:
        events = []
    tag = given.get("tag", "") if verb.guards_next else ""
    return News(revision, tag, [entry(event) for event in events if event.revision > revision])


def _request(verb: Verb, visit: "Visit", given: Mapping[str, str]) -> Any:  # noqa: ANN401 - any request
    """Returns the request that a form asks for. Raises CallError."""
    revision, made_s = _number(given.get("revision", "")), _number(given.get("made", ""))
    if made_s is None or (revision is None and not verb.is_of_all):
        raise CallError.plain(
            code_pb2.INVALID_ARGUMENT, "The form does not say what it was made from. Look at what would happen first."
        )
    try:
        request = verb.request(_component(visit), given, datetime.fromtimestamp(made_s, UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise CallError.plain(code_pb2.INVALID_ARGUMENT, str(error)) from None
    request.request_id = given.get("request_id", "")
    if revision is not None and not verb.is_of_all:
        request.expected_revision = revision
    return request


def _is_own(request: Request, given: Mapping[str, str]) -> bool:
    """Whether a page of this server has sent a form. The guard has compared the origin with the host. A form without one is refused:
    a page at another port of this machine has the same cookies, and may have set the key itself.
    """
    return "origin" in request.headers and session.is_own_form(request, given)


def _component(visit: "Visit") -> str:
    return str(visit.request.path_params.get("component", ""))


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if is_number else None


async def _answer(visit: "Visit", inside: str, status: int = HTTPStatus.OK, **content: Any) -> Response:  # noqa: ANN401
    """Returns a page, or for JavaScript the part of it that stands in a dialog."""
    if not is_for_dialog(visit.request):
        return await visit.page("verb.html", status, inside=inside, **content)
    key = session.form_key(visit.request)
    response = part(inside, status, form_key=key, **content)
    session.keep_form_key(response, visit.request, key)
    return response


def is_for_dialog(request: Request) -> bool:
    """Whether JavaScript asks for the part of a page that stands in a dialog."""
    return request.headers.get(PART) == DIALOG


def part(template: str, status: int, **shown: Any) -> Response:  # noqa: ANN401 - what the template shows
    """Returns that part."""
    return HTMLResponse(fragment(template, **shown), status, {PART: DIALOG})
