"""What the address of a component's page asks for."""

from rampd_server.page.component.asked import Asked


def test_an_address_says_what_is_asked_for() -> None:
    asked = Asked.of({"span": "day", "repo": " acme/app ", "colour": "red"})

    assert asked == Asked(span="day", repo="acme/app")
    assert asked.is_history_newest


def test_a_link_asks_for_something_else_too() -> None:
    asked = Asked(span="day", prefix="acme/")

    assert asked.link(overrides="acme/a&b") == "?span=day&prefix=acme%2F&overrides=acme%2Fa%26b"
    assert asked.link(span="") == "?prefix=acme%2F"
    assert Asked().link() == "?"


def test_a_long_value_is_cut() -> None:
    assert len(Asked.of({"repo": "a" * 10_000}).repo) == 300


def test_a_history_begins_with_the_event_that_was_linked() -> None:
    assert Asked(event="1795475919747-31").history_token == "1795475919747-32"
    assert Asked(event="1795475919747-31", before="1795475919740-1").history_token == "1795475919740-1"
    # The server says what is wrong with these.
    assert [Asked(event=event).history_token for event in ("x", "1-x", "1-²")] == ["x", "1-x", "1-²"]
