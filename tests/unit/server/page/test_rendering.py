"""From what the page shows to HTML: every text is data."""

import html
import re
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import pytest
from jinja2 import PackageLoader, Template, UndefinedError
from starlette.responses import Response

from rampd_server.page.headers import protected
from rampd_server.page.rendering import fragment, page, prepare

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7777 * 7777 }}",
    "</script>",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_markup_in_a_text_is_shown_as_text(text: str) -> None:
    answer = await page("not_there.html", 404, text=text)
    shown = bytes(answer.body).decode()
    assert answer.status_code == 404
    assert str(7777 * 7777) not in shown
    [paragraph] = re.findall(r"<p>(.*?)</p>", shown, re.DOTALL)[:1]
    assert "<" not in paragraph


@pytest.mark.parametrize(("text", "shown"), [("a\u202eb", "a\\u202eb"), ("a\nb", "a\\nb"), ("a\x1bb", "a\\u001bb")])
def test_characters_that_mislead_become_visible(text: str, shown: str) -> None:
    assert shown in fragment("not_there.html", text=text)


@pytest.mark.parametrize("text", [*HOSTILE, pytest.param("\u200fa\u202eb\t", id="marks"), 7])
def test_what_was_typed_is_in_its_field_as_it_was_typed(text: object) -> None:
    from rampd_server.page.rendering import _TEMPLATES

    shown = _TEMPLATES.from_string('<input value="{{ text | typed }}">').render(text=text)
    [value] = re.findall(r'<input value="([^"<>]*)">', shown)
    assert html.unescape(value) == str(text)


def test_a_template_that_shows_what_is_not_given_fails() -> None:
    with pytest.raises(UndefinedError):
        fragment("not_there.html")


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 11, 27, 12, 0, 0, 500, tzinfo=UTC), "2026-11-27T12:00:00Z"),
        (datetime(2026, 11, 27, 12, tzinfo=timezone(timedelta(hours=2))), "2026-11-27T10:00:00Z"),
        (None, ""),
    ],
)
def test_a_moment_is_shown_to_a_program_by_utc(at: datetime | None, shown: str) -> None:
    from rampd_server.page.rendering import _TEMPLATES

    assert _TEMPLATES.filters["moment"](at) == shown


def test_a_part_of_a_page_is_made_without_a_look_at_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a page with a thousand rows, expect that not each of them waits for a disk."""
    prepare()

    def look(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Template, "is_up_to_date", property(look))
    monkeypatch.setattr(PackageLoader, "get_source", look)
    assert "here" in fragment("not_there.html", text="here")


_FOLDER = resources.files("rampd_server.page").joinpath("templates")
TEMPLATES = [
    file
    for folder in (_FOLDER, _FOLDER.joinpath("component"))
    for file in sorted(folder.iterdir(), key=lambda file: file.name)
    if file.is_file()
]


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_no_template_has_a_style_a_script_or_an_address_that_the_policy_forbids(
    file: "resources.abc.Traversable",
) -> None:
    text = file.read_text()
    assert re.findall(r"\sstyle=|\son[a-z]+=|<style|javascript:", text) == []
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//", text) == []
    assert "| safe" not in text
    assert "autoescape" not in text


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_every_field_of_a_form_sends_what_was_typed(file: "resources.abc.Traversable") -> None:
    values = re.findall(r"""(?<![\w-])value="([^"]*\{\{[^"]*)\"""", file.read_text())
    assert [value for value in values if not value.endswith("| typed }}") and value != "{{ form_key }}"] == []


def test_every_answer_has_its_headers_and_keeps_its_own() -> None:
    answer = protected(Response(headers={"cache-control": "public"}))
    assert answer.headers["cache-control"] == "public"
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}
    assert protected(Response()).headers["cache-control"] == "no-store"
