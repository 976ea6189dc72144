"""The addresses of the page."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from google.rpc import code_pb2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rampd._standing.clock import Clock
from rampd_server.http.call import hold_stranger
from rampd_server.http.errors import STATUS_OF
from rampd_server.page import acting, front, live, reading, session, signing, signing_by_issuer, static
from rampd_server.page.addresses import here
from rampd_server.page.component import pages as component
from rampd_server.page.component.reading import Samples, Seen
from rampd_server.page.front_live import FrontLive
from rampd_server.page.headers import protected
from rampd_server.page.live import Live
from rampd_server.page.person import Person
from rampd_server.page.rendering import page, prepare
from rampd_server.page.sign_in_form import SIGN_IN
from rampd_server.page.turns import in_turns
from rampd_server.page.verbs import verbs_for_all
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import NAMES, Handlers
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door
from rampd_server.rpc.watch.selection import Selection

Endpoint = Callable[[Request], Awaitable[Response]]
Look = Callable[["Visit"], Awaitable[Response]]
"""Answers one request of a person who may read."""

_ROWS: Final = 25
"""How many rows are made before other tasks get a turn. They take about a millisecond."""
_SIGNED_OUT: Final = "You are signed out."


@dataclass(frozen=True)
class Served:
    """What the page needs of a server."""

    handlers: Handlers
    door: Door
    replica: Replica
    samples: Samples
    seen: Seen


@dataclass(frozen=True)
class Visit:
    """One request of one person."""

    served: Served
    request: Request
    """As signed in: it has the credential of the cookie."""
    person: Person
    now: datetime

    @property
    def clock(self) -> Clock:
        """The time at which the page is made. Its sentences show UTC; JavaScript shows how long ago."""
        return Clock.of_page(self.now)

    @property
    def cursor(self) -> str:
        """Where the stream of changes goes on after this page. Take it before the page is made."""
        mark = Selection(globs=self.person.mark).mark
        return f"{self.served.replica.epoch}{mark}/{self.served.replica.entry_id}"

    @property
    def asked_cursor(self) -> str:
        """Where a stream goes on: where the browser's last one ended, or where the page began."""
        headers, query = self.request.headers, self.request.query_params
        return headers.get("last-event-id") or query.get("cursor", "")

    async def page(self, template: str, status: int = HTTPStatus.OK, **shown: Any) -> Response:  # noqa: ANN401
        """Returns a whole page, with what each page has."""
        key = session.form_key(self.request)
        response = await page(
            template,
            status,
            **{
                "may": self.may,
                "person": self.shown_person,
                "taken_for": self.person.identity,
                "form_key": key,
                "now": self.now,
                **shown,
            },
        )
        session.keep_form_key(response, self.request, key)
        return response

    async def refused(self, error: CallError) -> Response:
        """Returns why something did not work, as a page or as the part of one that stands in a dialog."""
        status = STATUS_OF[error.status.code]
        component = self.request.path_params.get("component", "")
        shown = {"error": error, "again": here(self.request), "component": component}
        if acting.is_for_dialog(self.request):
            return acting.part("refusal.html", status, **shown)
        return await self.page("refused.html", status, **shown)

    @property
    def may(self) -> dict[str, bool]:
        """Which methods this person may call, and which flags of requests they may set."""
        return {name: self.person.may(name) for name in NAMES}

    @property
    def rights(self) -> str:
        """A digest of `may`. While a page is open, the grant of its person may change."""
        names = ",".join(sorted(name for name, may in self.may.items() if may))
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    @property
    def shown_person(self) -> dict[str, Any]:
        """Who looks, for the head of the page."""
        return {
            "identity": self.person.identity,
            "is_open": self.served.door.credentials is None,
            "signs_out": session.is_signed_in(self.request),
            "signs_in": "authorization" not in self.request.headers,
            "here": here(self.request),
        }


def routes(served: Served) -> list[BaseRoute]:
    """All addresses of the page."""
    prepare()
    found = [
        Route("/", looking(served, _front)),
        Route("/live", looking(served, _front_live)),
        Route(component.PATH, looking(served, component.show)),
        Route(f"{component.PATH}/live", looking(served, component.follow)),
        *(Route(path, looking(served, look), methods=["GET", "POST"]) for path, look in acting.looks()),
        *_held_back([*signing.routes(served.door), *signing_by_issuer.routes(served.door)]),
        *static.routes(),
    ]
    return [Route(each.path, _protecting(each.endpoint), methods=each.methods) for each in found]


def looking(served: Served, look: Look) -> Endpoint:
    """Returns the endpoint that finds out who asks, and shows a refusal as a page."""

    async def endpoint(request: Request) -> Response:
        if served.door.credentials is not None and session.is_held_back(request):
            return await page("again.html", refreshes=True)
        signed_in = session.as_signed_in(request)
        try:
            person = await Person.of(signed_in, served.handlers, served.door)
        except CallError as error:
            return await _not_known(request, error)
        visit = Visit(served, signed_in, person, datetime.now(UTC))
        try:
            return await look(visit)
        except CallError as error:
            return await visit.refused(error)

    return endpoint


async def not_there(text: str, status: int) -> Response:
    """Returns the answer to a browser that asks for what there is not."""
    return protected(await page("not_there.html", status, text=text))


def _held_back(signing_in: Iterable[Route]) -> Iterator[Route]:
    """Anybody may sign in, or try to. In a flood from one place, people of other places do not wait."""

    def holding(endpoint: Endpoint) -> Endpoint:
        async def held(request: Request) -> Response:
            await hold_stranger(request)
            return await endpoint(request)

        return held

    for each in signing_in:
        yield Route(each.path, holding(each.endpoint), methods=each.methods)


def _protecting(endpoint: Endpoint) -> Endpoint:
    """Every answer of the page has its headers, whatever has made the answer."""

    async def protecting(request: Request) -> Response:
        return protected(await endpoint(request))

    return protecting


async def _not_known(request: Request, error: CallError) -> Response:
    if live.wants_events(request.headers.get("accept", "")):
        has_credential = session.is_signed_in(request) or "authorization" in request.headers
        is_out = error.status.code == code_pb2.UNAUTHENTICATED and not has_credential
        return live.refusal(CallError.plain(code_pb2.UNAUTHENTICATED, _SIGNED_OUT) if is_out else error)
    if error.status.code != code_pb2.UNAUTHENTICATED:
        return await page("refused.html", STATUS_OF[error.status.code], error=error, again=here(request))
    return RedirectResponse(f"{SIGN_IN}?to={quote(here(request), safe='')}", HTTPStatus.SEE_OTHER)


async def _front(visit: Visit) -> Response:
    cursor, asked = visit.cursor, front.filter_of(visit.request.query_params.get("filter", ""))
    found, words = await reading.everything(visit.person), front.words_of(asked)
    courses = await reading.courses(visit.person, found.moving.values())
    rows = [
        front.row(each, visit.clock, courses.get(each.component, ())) async for each in in_turns(found.rollouts, _ROWS)
    ]
    shown = {row.name for row in rows if row.has(words)}
    everything = reading.freeze_of_everything(visit.served.replica)
    top = front.top((row.group for row in rows), everything, visit.clock)
    return await visit.page(
        "front.html",
        top=top,
        verbs=verbs_for_all(is_frozen=bool(top.frozen), may=visit.may),
        icon=top.icon,
        rows=rows,
        shown=shown,
        groups=front.grouped(rows, shown),
        filter=asked,
        stream=f"/live?rights={visit.rights}",
        cursor=cursor,
    )


async def _front_live(visit: Visit) -> Response:
    has_others = visit.request.query_params.get("rights", visit.rights) != visit.rights
    drawing = FrontLive(visit.person, visit.served.replica, visit.may, draws_all=has_others)
    return Live(visit.person, visit.asked_cursor, drawing.draw, front.key).response()
