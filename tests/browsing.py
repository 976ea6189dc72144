"""A browser without JavaScript: it keeps cookies, and fills in the forms that a page has."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

NAVIGATES = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "sec-fetch-mode": "navigate"}


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """What a page shows and what it asks for."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.answer = answer
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.asked_for: list[str] = []
        """The addresses of what a browser fetches for the page."""
        self.refreshes = False
        self._said: list[str] = []
        assert answer.headers["content-type"] == "text/html; charset=utf-8", answer.text
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        match tag:
            case "a":
                self.links.append(found["href"])
            case "form":
                self.forms.append(Form(found.get("action", ""), found.get("method", "get")))
            case "input" if "name" in found:
                self.forms[-1].fields[found["name"]] = found.get("value", "")
            case "meta":
                self.refreshes |= found.get("http-equiv") == "refresh"
        if tag in {"script", "img", "link", "iframe", "object", "embed", "source", "video", "audio"}:
            self.asked_for += [found[name] for name in ("src", "href", "data") if name in found]

    def handle_data(self, data: str) -> None:
        self._said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._said).split())

    def form(self, action: str) -> Form:
        [found] = [each for each in self.forms if each.action == action]
        return found


class Browser:
    """`site` is how it calls the server: `http://127.0.0.1:8080`."""

    def __init__(self, client: httpx.Client, site: str) -> None:
        self.client = client
        self.site = site

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Goes to an address, and to no other one that the answer names."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers={**NAVIGATES, "sec-fetch-site": "none", **sent})

    def page(self, path: str, status: int = 200, **headers: str) -> Page:
        answer = self.get(path, **headers)
        assert answer.status_code == status, (answer.status_code, answer.text, answer.headers)
        return Page(answer)

    def send(self, form: Form, **fields: str) -> httpx.Response:
        """Sends a form, as a person who has filled in some of its fields."""
        headers = {**NAVIGATES, "sec-fetch-site": "same-origin", "origin": self.site}
        return self.client.post(form.action, data={**form.fields, **fields}, headers=headers)

    def sign_in(self, token: str, to: str = "/") -> httpx.Response:
        return self.send(self.page(f"/sign-in?to={to}").form("/sign-in"), token=token)

    def signed_in(self, token: str) -> "Browser":
        answer = self.sign_in(token)
        assert answer.status_code == 303, answer.text
        return self

    @contextlib.contextmanager
    def stream(self, path: str, **headers: str) -> Iterator["Stream"]:
        """What an EventSource gets."""
        with self.client.stream("GET", path, headers={"accept": "text/event-stream", **headers}) as answer:
            yield Stream(answer)


class Stream:
    """An open stream of events."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """The name and the data of each event."""
        name = data = ""
        for line in self._lines:
            key, _, value = line.partition(":")
            if key == "event":
                name = value.strip()
            elif key == "data":
                data = value.strip()
            elif not line and name:
                yield name, json.loads(data) if data else None
                name = data = ""

    def until(self, wanted: str) -> list[tuple[str, Any]]:
        """The events up to one of this name."""
        found = []
        for event in self:
            found.append(event)
            if event[0] == wanted:
                return found
        raise AssertionError((wanted, found))
