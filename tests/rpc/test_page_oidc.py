"""Signing in to the page with an account of an OIDC issuer, over HTTP, with an issuer on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from rampd_server.access import following
from rampd_server.access.oidc import LEEWAY_S
from tests.browsing import Browser, Page
from tests.people_issuer import ADA, CLIENT_ID, CLIENT_SECRET, PeopleIssuer, people_issuer
from tests.rpc.access_table import Tokens
from tests.rpc.test_page_access import WHO, World, cookies, credential, serving
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"


@pytest.fixture
def issuer() -> Iterator[PeopleIssuer]:
    with people_issuer() as found:
        yield found


@pytest.fixture
def world(
    store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch, issuer: PeopleIssuer
) -> Iterator[World]:
    monkeypatch.setattr(following, "_LOOK_S", 0.02)
    with serving(store_process, namespace) as found:
        found.admin("Release", component=C, tag="v1")
        configure(found, issuer)
        yield found


def configure(world: World, issuer: PeopleIssuer, *lines: str) -> None:
    """Names the issuer in the access file, and waits until that is in force."""
    secret = world.directory / "client-secret"
    secret.write_text(CLIENT_SECRET)
    secret.chmod(0o600)
    world.tokens.also = "\n".join(
        [
            "[sign_in]",
            f'issuer = "{issuer.name}"',
            f'client_id = "{CLIENT_ID}"',
            f'client_secret_file = "{secret}"',
            *lines,
        ]
    )
    grant(world.tokens, issuer, "ada", "operator", f'sub = "{ADA["sub"]}"')
    browser = world.browser()
    eventually(lambda: any(link.startswith("/sign-in/oidc") for link in browser.page("/sign-in").links))


def grant(tokens: Tokens, issuer: PeopleIssuer, name: str, role: str, claims: str) -> None:
    proof = f'[[grant.oidc]]\nissuer = "{issuer.name}"\naudience = "{CLIENT_ID}"\nclaims = {{ {claims} }}'
    tokens.grant(name, role, proof=proof)


def gone_there(browser: Browser, to: str = "/") -> tuple[httpx.Response, str]:
    """The answer that sends the browser to the issuer, and the address at which it comes back."""
    [link] = [link for link in browser.page(f"/sign-in?to={to}").links if link.startswith("/sign-in/oidc")]
    there = browser.get(link)
    assert there.status_code == 303, Page(there).text
    at_issuer = httpx.get(there.headers["location"], trust_env=False, timeout=30)
    assert at_issuer.status_code == 302
    back = at_issuer.headers["location"]
    assert back.startswith(f"{browser.site}/sign-in/oidc/return?")
    return there, back.removeprefix(browser.site)


def signed_in(browser: Browser, to: str = "/") -> httpx.Response:
    _, back = gone_there(browser, to)
    return browser.get(back, sec_fetch_site="cross-site")


def refusal(browser: Browser, status: int) -> str:
    answer = signed_in(browser)
    assert answer.status_code == status, answer.text
    assert credential(answer) is None
    return Page(answer).text


def test_a_person_signs_in_with_their_account_and_comes_back_to_where_they_were(
    world: World, issuer: PeopleIssuer
) -> None:
    browser = world.browser()
    page = browser.page("/sign-in?to=/%3Ffilter%3Drest")
    assert f"Sign in with {urlsplit(issuer.name).netloc}" in page.text
    answer = signed_in(browser, "/%3Ffilter%3Drest")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?filter=rest")
    page = browser.page("/")
    assert "ada" in page.text
    assert C in page.text
    assert issuer.begun[0]["redirect_uri"] == f"{world.site}/sign-in/oidc/return"
    # The history has the name of the grant.
    token = next(each.value for each in browser.client.cookies.jar if each.name == "rampd-credential")
    assert token is not None
    who = world.browser().client.post(WHO, json={}, headers={"authorization": f"Bearer {token}"}).json()
    assert (who["identity"], who["role"], who["proof"]) == ("ada", "operator", "oidc")


def test_the_session_ends_with_the_token_and_its_cookie_is_as_that_of_any_token(
    world: World, issuer: PeopleIssuer
) -> None:
    issuer.life_s = 600
    found = cookies(signed_in(world.browser()))
    cookie = found["rampd-credential"]
    assert 500 < int(cookie["max-age"]) <= 600 + LEEWAY_S
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert found["rampd-attempt"]["max-age"] == "0"


def test_what_the_end_needs_is_in_the_browser_alone_and_for_ten_minutes(world: World) -> None:
    there, _ = gone_there(world.browser())
    [(name, cookie)] = cookies(there).items()
    assert (name, cookie["max-age"], cookie["httponly"], cookie["samesite"]) == ("rampd-attempt", "600", True, "lax")
    state, nonce, verifier, _ = cookie["value"].split(".", 3)
    query = parse_qs(urlsplit(there.headers["location"]).query)
    assert (query["state"], query["nonce"]) == ([state], [nonce])
    assert verifier not in there.headers["location"]


def test_behind_a_proxy_that_ends_tls_the_browser_comes_back_over_tls(world: World) -> None:
    there = world.browser().get("/sign-in/oidc", host="rampd.example.com")
    query = parse_qs(urlsplit(there.headers["location"]).query)
    assert query["redirect_uri"] == ["https://rampd.example.com/sign-in/oidc/return"]
    [(name, cookie)] = cookies(there).items()
    assert (name, cookie["secure"]) == ("__Host-rampd-attempt", True)


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "/" + "x" * 5_000])
def test_signing_in_leads_nowhere_else(world: World, to: str) -> None:
    answer = signed_in(world.browser(), to)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


# Against others


def test_nobody_is_signed_in_by_an_attempt_of_somebody_else(world: World) -> None:
    """Given an attacker who makes a browser bring the attacker's own code, expect that nobody is signed in."""
    _, back = gone_there(world.browser())
    for browser in (world.browser(), world.browser()):
        answer = browser.get(back, sec_fetch_site="cross-site")
        assert answer.status_code == 400
        assert "This sign-in was not begun in this browser" in Page(answer).text
        assert credential(answer) is None
        gone_there(browser)


def test_an_attempt_ends_once(world: World) -> None:
    browser = world.browser()
    _, back = gone_there(browser)
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 400


@pytest.mark.parametrize("cookie", ["", "a", "a.b.c", "...", "a.b.c.d", ".b.c./", "%", "a.b.c.%2F%2Fevil", '"a.b.c.d"'])
def test_a_made_up_attempt_is_none(world: World, cookie: str) -> None:
    browser = world.browser()
    for query in ("", "?state=", "?state=&code=x", "?state=x&code=x", "?code=x"):
        answer = browser.get(f"/sign-in/oidc/return{query}", cookie=f"rampd-attempt={cookie}")
        assert answer.status_code == 400
        assert "evil" not in Page(answer).form("/sign-in").fields["to"]


def test_a_made_up_attempt_with_a_made_up_code_is_refused_by_the_issuer(world: World) -> None:
    answer = world.browser().get("/sign-in/oidc/return?state=a&code=x", cookie="rampd-attempt=a.b.c.%2F")
    assert answer.status_code == 403
    assert "it refuses the code: invalid_grant" in Page(answer).text


def test_a_token_for_somebody_else_than_rampd_is_refused(world: World, issuer: PeopleIssuer) -> None:
    for claims in ({"aud": "another"}, {"nonce": "another"}):
        issuer.claims = claims
        refusal(world.browser(), 403)


def test_a_token_that_the_issuer_has_not_signed_is_refused(world: World, issuer: PeopleIssuer) -> None:
    world.browser().signed_in(world.tokens.of["viewer"])
    other = PeopleIssuer(issuer.name)
    issuer.token = other.token  # type: ignore[method-assign]
    assert "Signature verification failed" in refusal(world.browser(), 401)


# What is wrong is said


def test_somebody_without_a_grant_hears_who_they_are_for_the_issuer(world: World, issuer: PeopleIssuer) -> None:
    issuer.person = {"sub": "77", "email": "<b>eve@example.com</b>"}
    said = refusal(world.browser(), 401)
    assert "It differs in sub" in said
    assert "For the issuer you are sub 77, email <b>eve@example.com</b>." in said


def test_a_refusal_of_the_issuer_is_shown_only_in_an_attempt_of_this_browser(
    world: World, issuer: PeopleIssuer
) -> None:
    issuer.refusal = {"error": "access_denied", "error_description": "Ada is <b>not</b> a member."}
    said = refusal(world.browser(), 403)
    assert f"{issuer.name} has not signed you in: access_denied: Ada is <b>not</b> a member." in said
    answer = world.browser().get("/sign-in/oidc/return?error=x&error_description=Call+555&state=x")
    assert "555" not in answer.text


@pytest.mark.parametrize(("life_s", "said"), [(-LEEWAY_S - 100, "The token has expired")])
def test_a_token_that_has_ended_is_refused(world: World, issuer: PeopleIssuer, life_s: int, said: str) -> None:
    issuer.life_s = life_s
    assert said in refusal(world.browser(), 401)


def test_a_token_that_no_browser_keeps_is_said(world: World, issuer: PeopleIssuer) -> None:
    issuer.claims = {"groups": ["a-long-name-of-a-group"] * 300}
    said = refusal(world.browser(), 403)
    assert "and a browser keeps 3,800" in said
    assert "`scopes` in the access file" in said


def test_an_issuer_that_is_away_is_said_and_a_token_still_signs_in(
    world: World, issuer: PeopleIssuer, tmp_path: Path
) -> None:
    world.tokens.also = world.tokens.also.replace(issuer.name, "http://127.0.0.1:1")
    world.tokens.write()
    browser = world.browser()
    eventually(lambda: "127.0.0.1:1" in browser.page("/sign-in").text)
    answer = browser.get("/sign-in/oidc?to=/components/x")
    page = Page(answer)
    assert answer.status_code == 503
    assert "http://127.0.0.1:1 can't be asked:" in page.text
    back = browser.send(page.form("/sign-in"), token=world.tokens.of["viewer"])
    assert (back.status_code, back.headers["location"]) == (303, "/components/x")


def test_a_grant_that_is_taken_away_ends_the_session(world: World, issuer: PeopleIssuer) -> None:
    browser = world.browser()
    signed_in(browser)
    assert browser.page("/")
    grant(world.tokens, issuer, "ada", "operator", 'sub = "nobody"')
    eventually(lambda: browser.get("/").status_code == 303)


def test_without_an_issuer_for_people_there_is_no_way_there(store_process: StoreServer, namespace: str) -> None:
    with serving(store_process, namespace) as world:
        browser = world.browser()
        assert not any("oidc" in link for link in browser.page("/sign-in").links)
        for path in ("/sign-in/oidc", "/sign-in/oidc/return?state=a&code=b"):
            answer = browser.get(path, cookie="rampd-attempt=a.b.c.%2F")
            assert answer.status_code == 404
            assert "the access file has no [sign_in]" in Page(answer).text


def test_the_second_of_two_servers_ends_what_the_first_has_begun(
    store_process: StoreServer, namespace: str, issuer: PeopleIssuer
) -> None:
    """Nothing is kept on a server, so a balancer may send each request to another one."""
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(serving(store_process, namespace)) for _ in range(2))
        for world in (first, second):
            configure(world, issuer)
        begun = first.browser()
        there, back = gone_there(begun)
        ended: dict[str, Any] = {"cookie": there.headers["set-cookie"].partition(";")[0]}
        answer = second.browser().client.get(back, headers={**ended, "host": urlsplit(first.site).netloc})
        assert answer.status_code == 303
        assert credential(answer) is not None
