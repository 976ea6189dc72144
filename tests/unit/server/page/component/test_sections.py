"""The sections of the page as HTML. What people write is text in it, and nothing else."""

from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from rampd import v1
from rampd._contract.wording import MISLEADING
from rampd._evidence.release_counters import JobCount
from rampd._standing.clock import Clock
from rampd._standing.explanation import Explanation
from rampd_server.domain.evidence.samples import Sample
from rampd_server.page.charts.axis import axis_of
from rampd_server.page.component.asked import Asked
from rampd_server.page.component.blast import Reach
from rampd_server.page.component.figure import figure
from rampd_server.page.component.known import Events, Explained, Known, Lasting, Overrides, Quarantine
from rampd_server.page.component.sections import SECTIONS, section
from rampd_server.page.component.view import view
from rampd_server.rpc.binding import NAMES
from tests.cli import rollouts
from tests.cli.rollouts import NOW, ago
from tests.unit.server.page.events import event, ramped

CLOCK = Clock.of_page(NOW)
NOTHING = Asked()
EVIL = "\"'></title></svg><script>alert(1)</script><b onclick=x style=y>\x1b[2J\u202egnp\u2028 {{ 7 * 7 }}"
STATES = {
    "steady": rollouts.steady(),
    "ramping": rollouts.ramping(),
    "held": rollouts.held(),
    "paused": rollouts.paused(),
    "unconfirmed": rollouts.unconfirmed(),
    "frozen": rollouts.frozen(rollouts.ramping(), is_all=True),
    "quarantined": rollouts.quarantined(rollouts.steady(), v1.CHANNEL_CURRENT),
    "damaged": rollouts.damaged(),
}


class Elements(HTMLParser):
    """All elements with their attributes, and all texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def drawn(known: Known, asked: Asked = NOTHING) -> Iterator[tuple[str, str]]:
    charts = figure(known, asked, CLOCK) if known.rollout.HasField("current") else None
    found = view(known, charts, asked, CLOCK, dict.fromkeys(NAMES, True))
    for name in SECTIONS:
        yield name, section(name, view=found, asked=asked)


def plain(rollout: v1.Rollout) -> Known:
    return Known(rollout, axis_of(rollout, "", NOW))


def hostile() -> Known:
    """Everything that people write is hostile, and everything is there."""
    rollout = rollouts.frozen(rollouts.paused(), note=EVIL)
    for release in (rollout.current, rollout.next, *rollout.queue, *rollout.previous):
        release.tag, release.actor, release.attributes[EVIL] = EVIL, EVIL, EVIL
    rollout.component, rollout.pause.reason, rollout.pause.actor, rollout.held_reason = EVIL, EVIL, EVIL, EVIL
    events = [event(EVIL, ago(minutes=1), {EVIL: (EVIL, EVIL), "paused": (EVIL, EVIL)}, actor=EVIL, note=EVIL)]
    events[0].id = events[0].request_id = EVIL
    override = v1.Override(repo=EVIL, tag=EVIL, actor=EVIL, note=EVIL)
    override.create_time.FromDatetime(ago(days=1))
    start_ms = int(ago(minutes=30).timestamp() * 1000)
    return Known(
        rollout,
        axis_of(rollout, "", NOW),
        says=EVIL,
        release=v1.Release(number=4, tag=EVIL, jobs=10, failures=2),
        samples=[
            Sample(start_ms, 15_000, 4, 1, 3, JobCount(), JobCount()),
            Sample(start_ms + 15_000, 15_000, 4, 1, 3, JobCount(10, 1), JobCount(5, 1)),
        ],
        lasting=Lasting(
            newest=events,
            of_axis=events,
            history=Events(EVIL, events=events),
            overrides=Overrides(EVIL, overrides=[override]),
            quarantine=Quarantine([v1.QuarantinedTag(tag=EVIL, actor=EVIL, note=EVIL)], others=1),
            policy=v1.Policy(checks=[v1.Check(name=EVIL, query=EVIL, max=1)], auto_start=True),
            reach=Reach(10, 5, False, (EVIL,)),
            highest=25,
            explained=Explained(
                explanation=Explanation(rollout, override, EVIL, EVIL), answer=v1.ResolveResponse(tag="x")
            ),
        ),
        troubles=[EVIL],
    )


@pytest.mark.parametrize("state", STATES)
def test_every_section_of_every_state_has_an_element(state: str) -> None:
    # A section without one would be taken out of the page by JavaScript, and never come back.
    for name, html in drawn(plain(STATES[state])):
        assert html.strip().startswith("<"), name
        assert Elements(html).found, name


def test_what_people_write_is_text() -> None:
    html = "".join(html for _, html in drawn(hostile(), Asked(repo=EVIL, prefix=EVIL, event=EVIL, before=EVIL)))
    elements = Elements(html)

    assert "script" not in {tag for tag, _ in elements.found}
    assert not {
        name for _, attributes in elements.found for name in attributes if name == "style" or name.startswith("on")
    }
    assert [character for character in html if character in MISLEADING and character != "\n"] == []
    # It is there, and reads as it was written.
    assert "<script>alert(1)</script>" in "".join(elements.texts)
    assert "{{ 7 * 7 }}" in "".join(elements.texts)


def test_links_lead_nowhere_else() -> None:
    html = "".join(html for _, html in drawn(hostile(), Asked(repo=EVIL)))

    links = [attributes["href"] or "" for tag, attributes in Elements(html).found if tag == "a"]
    assert links
    assert {link[0] for link in links} <= {"?", "#", "/"}
    assert [link for link in links if link.startswith("//")] == []


def test_for_those_who_do_not_see_it_a_button_of_a_list_says_which_entry_it_is_about() -> None:
    lasting = Lasting(
        overrides=Overrides(overrides=[v1.Override(repo="acme/app", tag="1.0")]),
        quarantine=Quarantine([v1.QuarantinedTag(tag="0.1")]),
    )
    known = Known(rollouts.ramping(), axis_of(rollouts.ramping(), "", NOW), lasting=lasting)
    html = dict(drawn(known))

    found = [
        attributes.get("aria-label")
        for name in ("queue", "overrides", "quarantine")
        for tag, attributes in Elements(html[name]).found
        if tag == "a" and "act" in (attributes.get("class") or "")
    ]
    assert found == [
        "Take out of the queue 20200410",
        "Take out of the queue 20200411",
        "Delete acme/app",
        "Unquarantine 0.1",
    ]


def test_a_page_has_no_style_of_its_own_in_an_element() -> None:
    for state in STATES.values():
        for name, html in drawn(plain(state)):
            assert "style=" not in html, name


def test_a_chart_has_words_and_a_table_for_those_who_do_not_see_it() -> None:
    known = Known(rollouts.ramping(), axis_of(rollouts.ramping(), "", NOW), lasting=Lasting(of_axis=ramped()))
    html = dict(drawn(known))["charts"]
    elements = Elements(html)

    images = [attributes for tag, attributes in elements.found if tag == "svg" and attributes.get("role") == "img"]
    named = {attributes.get("id") for _, attributes in elements.found}
    assert images
    for image in images:
        assert image.get("aria-label") or set((image["aria-labelledby"] or "").split()) <= named
    text = "".join(elements.texts)
    assert "From 10 to 25." in text
    assert [tag for tag, _ in elements.found].count("tr") == 1 + 4


def test_a_mark_leads_to_its_event() -> None:
    known = Known(rollouts.ramping(), axis_of(rollouts.ramping(), "", NOW), lasting=Lasting(of_axis=ramped()))
    html = dict(drawn(known, Asked(span="hour", before="1-1")))["charts"]

    event_id = ramped()[0].id
    assert f'href="?span=hour&amp;event={event_id}#event-{event_id}"' in html


def test_no_two_elements_of_a_page_have_the_same_id() -> None:
    html = "".join(html for _, html in drawn(hostile()))
    ids = [attributes["id"] for _, attributes in Elements(html).found if "id" in attributes]

    assert len(set(ids)) == len(ids)
