"""The cookies of the page: what a browser keeps, and what of it counts."""

import time
from http.cookies import SimpleCookie

import pytest
from starlette.requests import Request
from starlette.responses import Response

from rampd_server.access.grants import Caller, Grant, Proof
from rampd_server.access.rpc_roles import Role
from rampd_server.page import session

# Always the same, because the names of some tests have it.
TOKEN = f"rampd_{'0' * 49}"
KEY = "k" * 43


def request(
    cookie: str = "", *, scheme: str = "http", host: str = "127.0.0.1:8080", method: str = "GET", **headers: str
) -> Request:
    sent = {"host": host, **({"cookie": cookie} if cookie else {}), **headers}
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in sent.items()]
    return Request({"type": "http", "method": method, "scheme": scheme, "path": "/", "headers": raw})


def caller(expires_s: float | None = None) -> Caller:
    return Caller(Grant("ada", Role.VIEWER), Proof.TOKEN, expires_s)


def kept(response: Response) -> dict[str, dict[str, str]]:
    """By its name, the attributes of each cookie that a response sets."""
    found = SimpleCookie()
    for header in response.headers.getlist("set-cookie"):
        found.load(header)
    return {
        name: {"value": each.value, **{key: str(what) for key, what in each.items()}} for name, each in found.items()
    }


@pytest.mark.parametrize(
    ("scheme", "host", "name", "is_secure"),
    [
        ("http", "127.0.0.1:8080", "rampd-credential", False),
        ("http", "localhost", "rampd-credential", False),
        ("http", "[::1]:8080", "rampd-credential", False),
        ("https", "localhost:8443", "__Host-rampd-credential", True),
        ("https", "rampd.example.com", "__Host-rampd-credential", True),
        # A proxy has ended the TLS.
        ("http", "rampd.example.com", "__Host-rampd-credential", True),
        ("http", "", "__Host-rampd-credential", True),
        ("http", "[", "__Host-rampd-credential", True),
    ],
)
def test_a_credential_is_kept_for_this_host_alone_and_where_there_can_be_tls_only_over_tls(
    scheme: str, host: str, name: str, is_secure: bool
) -> None:
    response = Response()
    session.sign_in(response, request(scheme=scheme, host=host), TOKEN, caller())
    assert list(kept(response)) == [name, name.replace("credential", "form")]
    cookie = kept(response)[name]
    assert cookie["value"] == TOKEN
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", "43200")
    assert (cookie["httponly"], cookie["samesite"].lower()) == ("True", "strict")
    assert (cookie["secure"] == "True") == is_secure


@pytest.mark.parametrize(("left_s", "most_s"), [(60, 60), (13 * 3600, 12 * 3600), (-5, 1)])
def test_a_credential_is_kept_until_it_ends_and_twelve_hours_at_most(left_s: float, most_s: int) -> None:
    response = Response()
    session.sign_in(response, request(), TOKEN, caller(time.time() + left_s))
    assert most_s - 2 <= int(kept(response)["rampd-credential"]["max-age"]) <= most_s


def test_a_browser_forgets_the_credential_after_signing_out() -> None:
    response = Response()
    session.sign_out(response, request())
    assert (kept(response)["rampd-credential"]["value"], kept(response)["rampd-credential"]["max-age"]) == ("", "0")
    assert not session.is_signed_in(request("rampd-credential="))


@pytest.mark.parametrize("is_out", [False, True], ids=["in", "out"])
def test_after_signing_in_or_out_a_form_that_was_made_before_is_out_of_date(is_out: bool) -> None:
    before, response = request(f"rampd-form={KEY}"), Response()
    if is_out:
        session.sign_out(response, before)
    else:
        session.sign_in(response, before, TOKEN, caller())
    now = request(f"rampd-form={kept(response)['rampd-form']['value']}")
    assert session.is_own_form(before, {"form_key": KEY})
    assert not session.is_own_form(now, {"form_key": KEY})
    assert session.is_own_form(now, {"form_key": session.form_key(now)})


def test_the_credential_of_the_cookie_is_the_header_that_the_api_looks_at() -> None:
    came = request(f"a=b; rampd-credential={TOKEN}; c=d")
    assert session.is_signed_in(came)
    assert session.as_signed_in(came).headers["authorization"] == f"Bearer {TOKEN}"
    assert session.as_signed_in(request()).headers.get("authorization") is None


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "rampd-credential=",
        f"xrampd-credential={TOKEN}",
        f"Rampd-Credential={TOKEN}",
        f"__Host-rampd-credential={TOKEN}",
    ],
)
def test_another_cookie_is_no_credential(cookie: str) -> None:
    assert not session.is_signed_in(request(cookie))


def test_over_tls_a_cookie_that_another_host_may_have_set_does_not_count() -> None:
    """Given a cookie without the prefix, which a page of a sister host can set, expect that nobody is signed in by it."""
    tossed = f"rampd-credential={TOKEN}; rampd-form={KEY}"
    assert not session.is_signed_in(request(tossed, scheme="https"))
    assert not session.is_own_form(request(tossed, scheme="https"), {"form_key": KEY})


def test_a_credential_of_a_proxy_goes_before_that_of_the_cookie() -> None:
    came = request(f"rampd-credential={TOKEN}", authorization="Bearer other")
    assert session.as_signed_in(came).headers.getlist("authorization") == ["Bearer other"]


def test_a_credential_that_is_tried_is_the_only_one() -> None:
    came = request(authorization="Bearer other")
    assert session.with_credential(came, TOKEN).headers.getlist("authorization") == [f"Bearer {TOKEN}"]


def test_a_cookie_takes_no_longer_the_more_backslashes_it_has() -> None:
    """Given 16 KiB of what a parser of quoted cookies takes a second for, expect that it is not taken apart."""
    quoted = "\\" * 16_000
    came = request(f'x="{quoted}"; rampd-credential={TOKEN}')
    began_s = time.thread_time()
    assert session.is_signed_in(came)
    assert time.thread_time() - began_s < 0.1


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (TOKEN, True),
        ("eyJh.eyJi.x-_", True),
        ("a" * session.MOST_CHARACTERS, True),
        ("a" * (session.MOST_CHARACTERS + 1), False),
        ("", False),
        ("a b", False),
        ("a;b", False),
        ('a"b', False),
        ("a\r\nset-cookie: x", False),
        ("a\n", False),
        ("ä", False),
        ("٣", False),
    ],
)
def test_a_token_has_only_what_a_cookie_holds_without_quotes(text: str, is_one: bool) -> None:
    assert session.is_token(text) == is_one


# Forms


def test_a_form_is_one_of_this_page_if_it_repeats_the_key_of_the_cookie() -> None:
    came = request(f"rampd-form={KEY}")
    assert session.is_own_form(came, {"form_key": KEY})
    for fields in ({}, {"form_key": ""}, {"form_key": "x" * 43}, {"form_key": KEY[:-1]}, {"form_key": "ä"}):
        assert not session.is_own_form(came, fields)


@pytest.mark.parametrize("key", ["", "short", "x" * 44, "ä" * 43, '"' + "x" * 41 + '"'])
def test_a_key_that_this_page_has_not_made_does_not_count(key: str) -> None:
    came = request(f"rampd-form={key}")
    assert not session.is_own_form(came, {"form_key": key})
    made = session.form_key(came)
    assert len(made) == 43
    assert made != key


def test_the_key_stays_while_the_browser_keeps_it_and_each_page_makes_it_last() -> None:
    assert session.form_key(request()) != session.form_key(request())
    assert session.form_key(request(f"rampd-form={KEY}")) == KEY
    response = Response()
    session.keep_form_key(response, request(f"rampd-form={KEY}", scheme="https"), KEY)
    cookie = kept(response)["__Host-rampd-form"]
    assert (cookie["value"], cookie["max-age"], cookie["samesite"].lower()) == (KEY, "43200", "strict")
    assert (cookie["httponly"], cookie["secure"]) == ("True", "True")


# From another site


@pytest.mark.parametrize(
    ("cookie", "method", "headers", "is_held_back"),
    [
        ("", "GET", {"sec_fetch_site": "cross-site"}, True),
        ("", "GET", {"sec_fetch_site": "same-origin"}, False),
        ("", "GET", {"sec_fetch_site": "none"}, False),
        ("", "GET", {}, False),
        ("", "POST", {"sec_fetch_site": "cross-site"}, False),
        (f"rampd-credential={TOKEN}", "GET", {"sec_fetch_site": "cross-site"}, False),
        ("", "GET", {"sec_fetch_site": "cross-site", "authorization": "Bearer x"}, False),
    ],
)
def test_a_browser_that_comes_over_a_link_of_another_site_may_hold_back_its_cookie(
    cookie: str, method: str, headers: dict[str, str], is_held_back: bool
) -> None:
    assert session.is_held_back(request(cookie, method=method, **headers)) == is_held_back


def test_what_a_sign_in_needs_comes_back_from_another_site_and_is_kept_for_ten_minutes() -> None:
    response = Response()
    session.keep_attempt(response, request(scheme="https", host="rampd.example.com"), "a.b.c.d")
    cookie = kept(response)["__Host-rampd-attempt"]
    assert (cookie["samesite"].lower(), cookie["max-age"]) == ("lax", "600")
    assert (cookie["httponly"], cookie["secure"]) == ("True", "True")
    assert session.attempt(request("__Host-rampd-attempt=a.b.c.d", scheme="https")) == "a.b.c.d"
    assert session.attempt(request()) == ""
    session.forget_attempt(response, request())
    assert kept(response)["rampd-attempt"]["max-age"] == "0"


@pytest.mark.parametrize(
    ("scheme", "host", "site"),
    [
        ("http", "localhost:8080", "http://localhost:8080"),
        ("https", "localhost:8443", "https://localhost:8443"),
        ("http", "rampd.example.com", "https://rampd.example.com"),
    ],
)
def test_a_server_knows_how_the_browser_calls_it(scheme: str, host: str, site: str) -> None:
    assert session.site(request(scheme=scheme, host=host)) == site
