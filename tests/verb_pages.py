"""A browser without JavaScript, for tests of the page: it reads forms and sends them as a browser does."""

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urlencode

import httpx


class Page(HTMLParser):
    """A page that was got: its text, its links, and the form of a verb."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.answer = answer
        self.status = answer.status_code
        self.html = answer.text
        self.action = ""
        """Where the form goes."""
        self.fields: dict[str, str] = {}
        """What the form has in its fields."""
        self.offers: dict[str, list[str]] = {}
        """What can be chosen, by the name of the field."""
        self.button: tuple[str, str] | None = None
        """The name and the value of the button that does it. None: there is none."""
        self.links: dict[str, str] = {}
        """The buttons of verbs that are links, by their text."""
        self._texts: list[str] = []
        self._select = ""
        self._link: str | None = None
        self.feed(self.html)
        self.text = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {key: value or "" for key, value in attrs}
        classes = has.get("class", "").split()
        name = has.get("name", "")
        if tag == "form" and "verb" in classes:
            self.action = has["action"]
        elif tag == "input" and self.action and (has.get("type") != "checkbox" or "checked" in has):
            self.fields[name] = has.get("value", "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            self.offers.setdefault(self._select, []).append(has["value"])
            if "selected" in has or self._select not in self.fields:
                self.fields[self._select] = has["value"]
        elif tag == "button" and has.get("formmethod") == "post":
            self.button = name, has["value"]
        elif tag == "a" and "act" in classes:
            self._link = has["href"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        elif tag == "a":
            self._link = None

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
        if self._link is not None:
            self.links[data.strip()] = self._link


class Browser:
    """Gets pages and sends forms, as one person."""

    def __init__(self, url: str, token: str = "") -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=60, headers=headers)
        self.origin = {"origin": url}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, **query: str) -> Page:
        return Page(self.http.get(f"{path}?{urlencode(query)}" if query else path))

    def look(self, page: Page, **filled: str) -> Page:
        """Presses the button that shows what would happen."""
        return self.get(page.action, **{**page.fields, **filled})

    def send(self, page: Page, **filled: str) -> Page:
        """Presses the button that does it."""
        assert page.button is not None, page.text
        name, key = page.button
        return self.post(page.action, {**page.fields, **filled, name: key})

    def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Page:
        return Page(self.http.post(path, data=dict(fields), headers=self.origin if headers is None else headers))
