"""Who sees what on the page, over HTTP: signing in and out, roles, cookies, and what protects each answer."""

import contextlib
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from rampd_server import testing
from rampd_server.access import following
from rampd_server.page import live
from rampd_server.rpc import door, refused_calls
from tests.authority import Authority
from tests.browsing import Browser, Page
from tests.damaging import damage
from tests.rpc.access_table import Tokens, tokens_of_every_kind
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C, OTHER = "restyler", "other-linter"
WHO = "/rampd.v1.RolloutService/WhoAmI"
BAD_TAG = "<script>alert(1)</script>"


@dataclass
class World:
    """A server with an access file, and browsers."""

    directory: Path
    site: str
    tokens: Tokens
    admin: Stubs
    """Over the unix socket."""
    verify: ssl.SSLContext | bool
    stack: contextlib.ExitStack

    def browser(self, role: str = "", **options: Any) -> Browser:
        """A new browser; signed in with the token of a role."""
        client = httpx.Client(base_url=self.site, timeout=30, trust_env=False, verify=self.verify, **options)
        made = Browser(self.stack.enter_context(client), self.site)
        return made.signed_in(self.tokens.of[role]) if role else made


@contextlib.contextmanager
def serving(store: StoreServer, namespace: str, *, has_tls: bool = False, **settings: Any) -> Iterator[World]:
    with short_directory() as directory, contextlib.ExitStack() as stack:
        tokens = tokens_of_every_kind(directory / "access.toml")
        verify: ssl.SSLContext | bool = False
        if has_tls:
            authority = Authority()
            certificate, key = authority.issue("localhost").write(directory, "server")
            settings |= {"tls_cert": certificate, "tls_key": key}
            verify = ssl.create_default_context(cadata=authority.certificate.decode())
        given = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False, "http": "127.0.0.1:0"}
        found = stack.enter_context(testing.listening(directory, store.url, **{**given, **settings}))
        assert found.http is not None
        site = f"{'https' if has_tls else 'http'}://localhost:{found.http.port}"
        admin = stack.enter_context(stubs(f"unix:{directory}/rampd.sock"))
        yield World(directory, site, tokens, admin, verify, stack)


both = pytest.mark.parametrize("world", ["plain text", "TLS"], indirect=True)


@pytest.fixture
def world(
    request: pytest.FixtureRequest, store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setattr(following, "_LOOK_S", 0.02)
    monkeypatch.setattr(door, "_CHECK_AGAIN_S", 0.05)
    monkeypatch.setattr(live, "LOOK_S", 0.1)
    with serving(store_process, namespace, has_tls=getattr(request, "param", "") == "TLS") as found:
        for component in (C, OTHER):
            found.admin("Release", component=component, tag="v1")
        found.admin("Release", component=C, tag="v2")
        yield found


def revoke(world: World, name: str) -> None:
    """Takes a grant away, and waits until the server has seen that."""
    headers = {"authorization": f"Bearer {world.tokens.of[name]}"}
    world.tokens.revoke(name)
    http = world.browser().client
    eventually(lambda: http.post(WHO, json={}, headers=headers).status_code == 401)


def cookies(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    """By its name, the attributes of each cookie that an answer sets."""
    found: SimpleCookie = SimpleCookie()
    for header in answer.headers.get_list("set-cookie"):
        found.load(header)
    return {name: {"value": each.value, **each} for name, each in found.items()}


def credential(answer: httpx.Response) -> dict[str, Any] | None:
    return next((each for name, each in cookies(answer).items() if name.endswith("rampd-credential")), None)


# Who sees what


@both
def test_each_caller_sees_what_their_role_may_see(world: World) -> None:
    revoke(world, "revoked")
    for role in ("viewer", "ci", "operator", "admin"):
        page = world.browser(role).page("/")
        assert role in page.text
        assert {f"/components/{C}", f"/components/{OTHER}"} <= set(page.links)
        has_verbs = any("/rollback?" in link for link in page.links)
        assert has_verbs == (role in {"operator", "admin"})
    page = world.browser("other component").page("/")
    assert f"/components/{OTHER}" in page.links
    assert C not in page.text
    page = world.browser("launcher").page("/", 403)
    assert "launcher has the role launcher and may not call ListRollouts" in page.text
    assert page.form("/sign-out")


@pytest.mark.parametrize("who", ["expired", "revoked", "nobody"])
def test_a_token_that_is_not_taken_is_refused_in_words_and_the_way_is_kept(world: World, who: str) -> None:
    if who == "revoked":
        revoke(world, who)
    token = world.tokens.of.get(who, "rampd_" + "x" * 49)
    browser = world.browser()
    answer = browser.sign_in(token, to="/components/a%3Fx%3D1")
    page = Page(answer)
    assert answer.status_code == 401
    assert "The server does not take this token." in page.text
    assert page.form("/sign-in").fields["to"] == "/components/a?x=1"
    assert page.form("/sign-in").fields["token"] == ""
    assert credential(answer) is None
    assert token not in answer.text


@pytest.mark.parametrize("token", ["", " ", "hello you", "ä" * 20, "x" * 5_000, "a;b", "x" * 20_000])
def test_what_is_no_token_is_not_kept(world: World, token: str) -> None:
    answer = world.browser().sign_in(token)
    assert answer.status_code in {400, 401}
    assert credential(answer) is None
    assert Page(answer).form("/sign-in")


def test_who_is_not_signed_in_signs_in_first_and_comes_back(world: World) -> None:
    browser = world.browser()
    answer = browser.get("/?filter=a%20b&x=%2F%2Fevil")
    assert answer.status_code == 303
    where = answer.headers["location"]
    assert where == "/sign-in?to=%2F%3Ffilter%3Da%2520b%26x%3D%252F%252Fevil"
    back = browser.send(browser.page(where).form("/sign-in"), token=world.tokens.of["viewer"])
    assert (back.status_code, back.headers["location"]) == (303, "/?filter=a%20b&x=%2F%2Fevil")
    assert browser.page(back.headers["location"])


def test_a_token_may_be_pasted_as_a_terminal_has_broken_it(world: World) -> None:
    token = world.tokens.of["viewer"]
    assert world.browser().sign_in(f" {token[:20]}\r\n{token[20:]}\t").status_code == 303


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "//[", "%09//evil.example"]
)
def test_signing_in_leads_nowhere_else(world: World, to: str) -> None:
    answer = world.browser().sign_in(world.tokens.of["viewer"], to=to)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_in_a_flood_who_signs_in_is_held_back_and_who_is_signed_in_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, held = world.browser("viewer"), list[float]()

    async def wait(pause_s: float, _context: object) -> None:
        held.append(pause_s)

    monkeypatch.setattr(refused_calls, "_wait_in_flood", wait)
    browser.page("/")
    assert held == []
    for path in ("/sign-in", "/sign-in/oidc", "/sign-in/oidc/return"):
        browser.get(path)
    assert held == [1.0] * 3
    for path in ("/sign-in", "/sign-out"):
        browser.client.post(path)
    assert held == [1.0] * 5


def test_the_page_of_somebody_who_is_signed_in_says_so(world: World) -> None:
    browser = world.browser("viewer")
    page = browser.page("/sign-in?to=/components/x")
    assert "You are signed in as viewer." in page.text
    assert "/components/x" in page.links
    revoke(world, "viewer")
    page = browser.page("/sign-in")
    assert "does not take any more what this browser has kept" in page.text
    assert "It was revoked" in page.text


# Cookies


@both
def test_the_credential_is_in_a_cookie_of_this_host_that_no_script_and_no_other_site_gets(world: World) -> None:
    has_tls = world.site.startswith("https")
    answer = world.browser().sign_in(world.tokens.of["viewer"])
    found = cookies(answer)
    name = "__Host-rampd-credential" if has_tls else "rampd-credential"
    assert set(found) == {name, name.replace("credential", "form")}
    cookie = found[name]
    assert cookie["value"] == world.tokens.of["viewer"]
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", "43200")
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, has_tls or "", "strict")
    form = world.browser().get("/sign-in")
    [(name, key)] = cookies(form).items()
    assert name == ("__Host-rampd-form" if has_tls else "rampd-form")
    assert (key["httponly"], key["secure"], key["samesite"]) == (True, has_tls or "", "strict")


def test_a_session_ends_with_its_credential(world: World) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    world.tokens.grant("soon", "viewer", f"expires = {end.isoformat()}")
    browser = world.browser()
    eventually(lambda: browser.sign_in(world.tokens.of["soon"]).status_code == 303)
    found = credential(browser.sign_in(world.tokens.of["soon"]))
    assert found is not None
    assert 3_000 < int(found["max-age"]) <= 3_600


@both
def test_the_api_does_not_take_the_cookie(world: World) -> None:
    """A page of another site can make a browser send it."""
    browser = world.browser("admin")
    assert browser.client.cookies
    answer = browser.client.post(WHO, json={})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert browser.client.get("/metrics").status_code == 401
    flags = browser.client.post("/ofrep/v1/evaluate/flags", json={"context": {"targetingKey": "a/b"}})
    assert flags.status_code == 401


def test_a_credential_ends_when_its_grant_does(world: World) -> None:
    browser = world.browser("viewer")
    assert browser.page("/")
    revoke(world, "viewer")
    answer = browser.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?to=%2F")


@both
def test_a_cookie_of_any_form_is_no_defect(world: World) -> None:
    name = "__Host-rampd-credential" if world.site.startswith("https") else "rampd-credential"
    for value in ('"\\015\\012x"', "x" * 8_000, "a b", "é", "rampd_\x7f", '"' + "\\" * 8_000 + '"', "a.b.c", ""):
        client = world.browser().client
        answer = client.get("/", headers={"cookie": f"{name}={value}".encode("latin-1"), "accept": "text/html"})
        assert answer.status_code in {303, 400}, value


# Forms


@both
def test_a_form_of_another_site_signs_nobody_in_or_out(world: World) -> None:
    """Given a form with the attacker's own token, which a browser is made to send, expect that its person stays who they are."""
    token, browser = world.tokens.of["admin"], world.browser()
    stranger = world.browser().page("/sign-in").form("/sign-in").fields["form_key"]
    own = browser.page("/sign-in").form("/sign-in").fields["form_key"]
    origin = {"origin": world.site}
    for fields, headers, status in (
        ({}, origin, 403),
        ({"form_key": stranger}, origin, 403),
        ({"form_key": ""}, origin, 403),
        ({"form_key": own}, {"origin": "https://evil.example"}, 403),
        ({"form_key": own}, {"origin": "null"}, 403),
        ({"form_key": own}, {}, 303),
    ):
        answer = browser.client.post("/sign-in", data={"token": token, **fields}, headers=headers)
        assert answer.status_code == status, (fields, headers)
        assert (credential(answer) is not None) == (status == 303)
    for fields in ({"x": ""}, {"form_key": stranger}):
        answer = browser.client.post("/sign-out", data=fields, headers=origin)
        assert answer.status_code == 403
        assert "You are still signed in" in Page(answer).text
        assert credential(answer) is None
    assert browser.page("/")


def test_a_browser_without_cookies_hears_why_it_can_t_sign_in(world: World) -> None:
    form = world.browser().page("/sign-in").form("/sign-in")
    answer = world.browser().send(form, token=world.tokens.of["viewer"])
    assert answer.status_code == 403
    assert "Browsers keep the cookies of this page only over https://" in Page(answer).text


@both
def test_a_form_of_the_person_before_does_nothing_in_the_name_of_the_next(world: World) -> None:
    """Given a tab with a form, and somebody else who signs in in another tab, expect that the form is out of date."""
    world.admin("Ramp", component=C, percent=10)
    browser = world.browser("operator")
    form = browser.page(f"/components/{C}/rollback").form(f"/components/{C}/rollback")
    key = re.search('name="form_key" value="([^"]+)"', browser.get(f"/components/{C}/rollback").text)
    assert key is not None
    browser.signed_in(world.tokens.of["admin"])

    answer = browser.send(form, form_key=key[1])

    assert answer.status_code == 403
    assert "Nothing was done: this form is out of date" in Page(answer).text
    assert world.admin("GetRollout", component=C).rollout.next_percent == 10


def test_a_page_tells_other_tabs_whom_it_is_made_for(world: World) -> None:
    def told(browser: Browser, path: str) -> list[str]:
        return re.findall('<body data-person="([^"]*)">', browser.get(path).text)

    browser = world.browser("operator")
    assert [told(browser, path) for path in ("/", "/sign-in", "/none")] == [["operator"], ["operator"], []]
    assert told(world.browser(), "/sign-in") == [""]
    # It says why something went wrong, and that is about nobody else.
    wrong = browser.send(browser.page("/sign-in").form("/sign-in"), token="x")
    assert "The server does not take this token" in wrong.text
    assert "data-person" not in wrong.text
    revoke(world, "operator")
    assert told(browser, "/sign-in") == [""]
    world.tokens.grant("public", "viewer", proof="everybody = true")
    eventually(lambda: told(world.browser(), "/sign-in") == ["public"])


def test_signing_out_makes_the_browser_forget(world: World) -> None:
    browser = world.browser("viewer")
    answer = browser.send(browser.page("/").form("/sign-out"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    found = credential(answer)
    assert found is not None
    assert (found["value"], found["max-age"]) == ("", "0")
    assert browser.get("/").status_code == 303


@both
def test_a_page_in_the_clear_is_no_page_of_a_server_with_tls(world: World) -> None:
    """Given a form that somebody in between has written, expect that it is refused."""
    browser = world.browser("viewer")
    form = browser.page("/").form("/sign-out")
    browser.site = world.site.replace("https://", "http://")
    assert browser.send(form).status_code == (403 if world.site.startswith("https") else 303)


# From another site


def test_over_a_link_of_another_site_a_person_is_signed_in_after_a_moment(world: World) -> None:
    """Given a link in a chat, expect that the browser, which holds back its cookie, is asked once more by the page itself."""
    world.tokens.grant("everybody", "viewer", 'components = ["nothing"]', proof="everybody = true")
    eventually(lambda: world.browser().get("/").status_code == 200)
    without = world.browser()
    page = without.page("/", sec_fetch_site="cross-site")
    assert page.refreshes
    assert C not in page.text
    # Then the browser says that the page itself asks, and sends its cookie.
    page = world.browser("viewer").page("/", sec_fetch_site="same-origin")
    assert not page.refreshes
    assert C in page.text
    # One without a cookie is not asked again and again.
    assert not without.page("/", sec_fetch_site="same-origin").refreshes


def test_somebody_without_a_credential_is_everybody_and_may_sign_in(world: World) -> None:
    world.tokens.grant("everybody", "viewer", f'components = ["{OTHER}"]', proof="everybody = true")
    browser = world.browser()
    eventually(lambda: browser.get("/").status_code == 200)
    page = browser.page("/?filter=x")
    assert "everybody" in page.text
    assert C not in page.text
    assert "/sign-in?to=/%3Ffilter%3Dx" in page.links
    browser.signed_in(world.tokens.of["admin"])
    page = browser.page("/")
    assert C in page.text
    assert not any(link.startswith("/sign-in") for link in page.links)


def test_a_site_that_leads_its_own_name_here_reads_nothing_in_the_name_of_everybody(world: World) -> None:
    """To the browser, the pages of that site are of the same host then."""
    world.tokens.grant("everybody", "viewer", proof="everybody = true")
    eventually(lambda: world.browser().get("/").status_code == 200)
    led = {"host": f"evil.example:{httpx.URL(world.site).port}", "accept-language": "en"}
    client = world.browser().client
    listed = "/rampd.v1.RolloutService/ListRollouts?encoding=json&message=%7B%7D"
    for path in ("/", "/live", f"/components/{C}", "/metrics", listed):
        assert client.get(path, headers=led).status_code == 421, path
    origin = {"origin": f"http://{led['host']}"}
    assert client.post("/rampd.v1.RolloutService/ListRollouts", json={}, headers=led | origin).status_code == 421
    # A program, and a browser behind a proxy that has ended the TLS.
    assert client.get("/metrics", headers={"host": led["host"]}).status_code == 200
    assert C in client.get("/", headers=led | {"sec-fetch-site": "none"}).text


# What protects each answer

PATHS = ("/", "/live", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/return", "/nothing", "/components/x/y", "/sign-out")


@both
def test_every_answer_has_what_protects_it(world: World) -> None:
    page = world.browser().page("/sign-in")
    for browser in (world.browser(), world.browser("viewer"), world.browser("launcher")):
        for path in (*PATHS, *page.asked_for, page.asked_for[0].replace("/static/", "/static/x")):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
                if (method, path) == ("GET", "/live"):
                    continue
                answer = browser.client.request(method, path, headers={"accept": "text/html"})
                headers = answer.headers
                assert headers["x-content-type-options"] == "nosniff", (method, path)
                assert "default-src 'none'" in headers["content-security-policy"], (method, path)
                assert "frame-ancestors 'none'" in headers["content-security-policy"]
                assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
                assert headers["referrer-policy"] == "same-origin"
                is_kept = path.startswith("/static/") and answer.status_code == 200
                assert is_kept or "no-store" in headers["cache-control"], (method, path)
                assert "access-control-allow-origin" not in headers
                assert answer.status_code < 500, (method, path)
    with world.browser("viewer").stream("/live") as stream:
        stream.until("seen")
        assert "default-src 'none'" in stream.answer.headers["content-security-policy"]
        assert stream.answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_on_any_page_comes_from_elsewhere(world: World) -> None:
    viewer = world.browser("viewer")
    pages = [
        viewer.page("/"),
        viewer.page("/sign-in"),
        viewer.page("/nothing", 404),
        world.browser("launcher").page("/", 403),
        world.browser().page("/", sec_fetch_site="cross-site"),
    ]
    for page in pages:
        assert len(page.asked_for) >= 3
        assert all(re.fullmatch(r"/static/[0-9a-f]{16}/[a-z-]+\.(css|js|svg)", each) for each in page.asked_for)
        assert all(each.startswith(("/", "#")) or not each for each in page.links)
        assert all(each.action.startswith("/") for each in page.forms)
        for each in page.asked_for:
            assert viewer.client.get(each).status_code == 200


def test_what_there_is_not_is_a_page_for_browsers_and_json_for_programs(world: World) -> None:
    browser = world.browser()
    page = browser.page("/components/x/<y>", 404)
    assert "There is nothing at /components/x/<y>." in page.text
    assert "/" in page.links
    answer = browser.client.get("/components/x/y")
    assert (answer.status_code, answer.json()["code"]) == (404, "unimplemented")
    assert "/openapi.json" in answer.json()["message"]
    refused = browser.client.put("/sign-in", headers={"accept": "text/html"})
    assert refused.status_code == 405
    assert "GET" in refused.headers["allow"]
    assert "does not take PUT" in Page(refused).text


@pytest.mark.parametrize("host", ["[", "a/b", "a b", "rampd.example.com:x", "@evil", "", "x?y#z"])
def test_a_name_of_the_host_of_any_form_is_no_defect(world: World, host: str) -> None:
    client = world.browser().client
    for path in ("/", "/sign-in", "/nothing"):
        answer = client.get(path, headers={"host": host, "accept": "text/html"})
        assert answer.status_code in {200, 303, 400, 404}, (path, answer.text)
        assert "evil" not in answer.headers.get("location", "")


def test_texts_of_others_are_data(world: World) -> None:
    world.admin("Pause", component=C, note=f"{BAD_TAG} \u202e{{{{ 7 * 7 }}}}")
    answer = world.browser("viewer").get("/")
    assert BAD_TAG not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "\u202e" not in answer.text
    answer = world.browser("viewer").get(f"/?filter={BAD_TAG}%22%3E%3Cimg%20src=x%3E")
    assert BAD_TAG not in answer.text
    assert "<img" not in answer.text


def test_a_filter_that_fills_the_address_is_cut(world: World) -> None:
    page = world.browser("viewer").page("/?filter=" + "v+" * 6_000)
    assert set(page.form("/").fields["filter"].split()) == {"v"}
    assert len(page.form("/").fields["filter"]) <= 300
    assert C in page.text


# The stream


def test_a_stream_brings_changes_and_nothing_of_hidden_components(world: World) -> None:
    with world.browser("other component").stream("/live") as stream:
        stream.until("seen")
        world.admin("Release", component=C, tag="v3")
        world.admin("Release", component=OTHER, tag="v9")
        found = []
        while not any(name == "patch" and "v9" in data["html"] for name, data in found):
            found += stream.until("seen")
    assert C not in str(found)
    assert {data["key"] for name, data in found if name == "patch"} <= {f"component-{OTHER}", "top"}


def test_who_may_less_than_when_the_page_was_made_sees_no_button_any_more(world: World) -> None:
    """Given a page with a button, and a grant that changes, expect that the stream draws the row without it."""
    world.admin("Release", component=OTHER, tag="v2")
    world.admin("Finalize", component=OTHER, force=True)
    world.tokens.grant("eve", "operator", f'components = ["{OTHER}"]')
    browser = world.browser()
    eventually(lambda: browser.sign_in(world.tokens.of["eve"]).status_code == 303)
    html = browser.get("/").text
    path, cursor = re.findall('data-stream="([^"]+)" data-cursor="([^"]+)"', html)[0]
    address = f"{path}&cursor={quote(cursor)}"
    with browser.stream(address) as stream:
        assert [data["key"] for name, data in stream.until("seen") if name == "patch"] == ["top"]

    world.tokens.grant("eve", "operator", f'components = ["{OTHER}"]', 'deny = ["Revert"]')

    def revert_is_gone() -> bool:
        with browser.stream(address) as stream:
            rows = [data["html"] for name, data in stream.until("seen") if name == "patch" and data["key"] != "top"]
        return len(rows) == 1 and "Revert" not in rows[0]

    assert f"Revert {OTHER}" in html
    eventually(revert_is_gone)


def test_a_stream_ends_when_its_credential_is_revoked_and_says_so(world: World) -> None:
    with world.browser("viewer").stream("/live") as stream:
        stream.until("seen")
        revoke(world, "viewer")
        name, said = stream.until("ended")[-1]
    assert (name, "It was revoked" in said) == ("ended", True)


def test_a_stream_of_somebody_who_is_not_known_ends_at_once(world: World) -> None:
    with world.browser().stream("/live") as stream:
        assert stream.answer.status_code == 200
        assert list(stream) == [("ended", "You are signed out.")]


def test_a_page_goes_on_from_its_cursor_and_a_wrong_one_brings_everything(world: World) -> None:
    browser = world.browser("viewer")
    [cursor] = re.findall(r'data-cursor="([^"]*)"', browser.get("/").text)
    for asked, has_all in ((cursor, False), ("made up", True), ("", True)):
        with browser.stream("/live", **{"last-event-id": asked}) as stream:
            found = stream.until("seen")
            if has_all and not any(name == "only" for name, _ in found):
                found += stream.until("only")
        assert any(name == "only" for name, _ in found) == has_all, asked
    # The page is of a store that nobody has adopted.
    with browser.stream("/live?cursor=x/1-1") as stream:
        assert "from another store" in stream.until("refused")[-1][1]
    with browser.stream("/live?cursor=a%0A%0Aevent:%20patch%0Adata:%20%7B%7D") as stream:
        assert all(data for name, data in stream.until("seen") if name == "patch")


def test_a_freeze_of_everything_comes_to_every_tab(world: World) -> None:
    with world.browser("viewer").stream("/live") as stream:
        stream.until("seen")
        world.admin("Freeze", all=True, note="a launch")
        found = []
        while not any(name == "patch" and "Everything is frozen" in data["html"] for name, data in found):
            found += stream.until("seen")


def test_who_asks_for_the_head_of_a_stream_is_not_kept_waiting(world: World) -> None:
    answer = world.browser("viewer").client.head("/live")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert live.TABS.open == 0


def test_a_tab_that_closes_frees_its_place(world: World) -> None:
    with world.browser("viewer").stream("/live") as stream:
        stream.until("seen")
        assert live.TABS.open == 1
    eventually(lambda: live.TABS.open == 0)


def test_an_identity_has_only_so_many_tabs(world: World) -> None:
    world.tokens.grant("one", "viewer", "limits = { streams = 1 }")
    eventually(lambda: world.browser().sign_in(world.tokens.of["one"]).status_code == 303)
    with world.browser("one").stream("/live") as first, world.browser("one").stream("/live") as second:
        first.until("seen")
        assert "open streams" in second.until("refused")[-1][1]


async def test_damage_hides_no_other_component_and_comes_to_every_tab(
    world: World, store_process: StoreServer, namespace: str
) -> None:
    store, browser = store_process.store(namespace), world.browser("viewer")
    with browser.stream("/live") as stream:
        stream.until("seen")
        await damage(store, C, "rollout", "type")
        found = []
        while not any(name == "patch" and "damaged" in data["html"] for name, data in found):
            found += stream.until("seen")
    await store.close()
    page = browser.page("/")
    assert f"/components/{OTHER}" in page.links
    assert "1 waits for a person" in page.text


# Without an access file


def test_without_an_access_file_the_page_is_open_to_the_machine_and_says_so(url: str, call: Stubs) -> None:
    call("Release", component=C, tag="v1")
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        browser = Browser(client, url)
        page = browser.page("/")
        assert "open to everybody on this machine" in page.text
        assert C in page.text
        assert not any(each.action.startswith("/sign") for each in page.forms)
        answer = browser.get("/sign-in?to=/components/x")
        assert (answer.status_code, answer.headers["location"]) == (303, "/components/x")
        # A name of an attacker that leads here is none of this machine.
        assert browser.get("/", host="evil.example").status_code == 421
        with browser.stream("/live") as stream:
            stream.until("seen")
            call("Release", component="linter", tag="v7")
            found = []
            while not any(name == "patch" and "v7" in data["html"] for name, data in found):
                found += stream.until("seen")


def test_the_front_page_has_one_heading_of_its_own_with_rows_and_without(url: str, call: Stubs) -> None:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        for shown in ("There is no component yet", f"/components/{C}"):
            html = Browser(client, url).get("/").text
            assert shown in html
            assert re.findall("<h1.*?>(.*?)</h1>", html) == ["All components"]
            call("Release", component=C, tag="v1")


def test_who_may_only_read_has_no_buttons(store_process: StoreServer, namespace: str) -> None:
    settings = {"namespace": namespace, "insecure_admin": False, "http": "127.0.0.1:0"}
    with short_directory() as directory, testing.listening(directory, store_process.url, **settings) as found:
        with stubs(f"unix:{directory}/rampd.sock") as admin:
            for tag in ("v1", "v2"):
                admin("Release", component=C, tag=tag)
        site = f"http://{found.http}"
        with httpx.Client(base_url=site, timeout=30, trust_env=False) as client:
            page = Browser(client, site).page("/")
    assert C in page.text
    assert not any("rollback" in link for link in page.links)


# Certificates


def test_a_client_certificate_proves_who_looks(store_process: StoreServer, namespace: str) -> None:
    """As for the API: nothing to sign in with, and a token goes first."""
    authority = Authority("clients")
    with (
        short_directory() as folder,
        serving(store_process, namespace, has_tls=True, tls_client_ca=authority.write(folder)) as world,
    ):
        world.tokens.grant("ada", "viewer", proof='certificates = ["spiffe://team/ada"]')
        world.admin("Release", component=C, tag="v1")
        context = world.verify
        assert isinstance(context, ssl.SSLContext)
        context.load_cert_chain(*authority.issue("spiffe://team/ada").write(folder, "ada"))
        browser = world.browser()
        eventually(lambda: browser.get("/").status_code == 200)
        page = browser.page("/")
        assert "ada" in page.text
        assert C in page.text
        assert not any(each.action == "/sign-out" for each in page.forms)
        with browser.stream("/live") as stream:
            stream.until("seen")
        assert "admin" in browser.signed_in(world.tokens.of["admin"]).page("/").text
