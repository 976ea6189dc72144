"""A release that a guard has paused as worse, as an admin meets it: what is said about it, and what there is to type."""

from collections.abc import Iterator

import pytest

from rampd import Admin, v1
from rampd.testing import RampdServer
from rampd.testing._server import running_server
from tests.cli.conftest import AtTerminal
from tests.waiting import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[RampdServer]:
    with running_server() as found:
        yield found


@pytest.fixture
def admin(server: RampdServer) -> Admin:
    return server.admin(actor="ada")


@pytest.fixture
def person(at_terminal: AtTerminal, server: RampdServer, monkeypatch: pytest.MonkeyPatch) -> AtTerminal:
    monkeypatch.setenv("RAMPD_SERVER", server.target)
    return at_terminal


@pytest.fixture
def pay(server: RampdServer, admin: Admin, component: str) -> str:
    """2 is at 30 % and fails, 1 does not, and the guard has paused it."""
    admin.release(component, "1")
    admin.set_policy(component, v1.Policy(on_regression=v1.ON_REGRESSION_PAUSE))
    admin.release(component, "2")
    revision = admin.ramp(component, 30).revision
    resolver = server.resolver()
    for number in range(120):
        with resolver.job(component, repo=f"acme/{number}", min_revision=revision) as job:
            if job.tag == "2":
                job.failed()
    resolver.close()
    eventually(lambda: admin.get_rollout(component).pause.cause == v1.PAUSE_CAUSE_RELATIVE_GUARD, within_s=100)
    return component


def words(text: str) -> str:
    """A text of a terminal without its line ends."""
    return " ".join(text.split())


def test_a_pause_of_an_earlier_trial_is_said_to_be_one(person: AtTerminal, pay: str) -> None:
    assert "Rollback takes it away. Resume goes on as trial 2: outcomes are counted from 0." in words(
        person("status", pay).text
    )

    person("rollback", pay)
    assert "It stays paused by rampd, also after a Ramp, until somebody resumes it." in words(
        person("status", pay).text
    )

    ramped = person("ramp", pay, "40")
    assert "That was in trial 1." in words(ramped.text)
    for text in (person("status", pay).text, person("status").text):
        assert "That was in trial 1." in words(text)
    assert person("resume", pay).code == 0
    assert "trial 1" not in person("status", pay).text.partition("History")[0]


def test_a_ramp_of_what_the_guard_has_paused_warns_and_says_how_to_take_it_back(person: AtTerminal, pay: str) -> None:
    screen = person("ramp", pay, "60")

    assert screen.code == 0
    assert "2 is paused by rampd: 2 fails more often than 1." in screen.text
    assert f"Next, to take next away from everybody: rampd rollback {pay}\n" in screen.text


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_finalize_of_what_the_guard_has_paused_warns_and_says_how_to_take_it_back(
    person: AtTerminal, pay: str, force: list[str]
) -> None:
    screen = person("finalize", pay, *force, typed="y\n")

    assert (screen.code, "[y/N]" in screen.text) == (0, bool(force))
    before, _, after = screen.text.rpartition("Everybody gets 2 ")
    assert ("2 was paused by rampd: 2 fails more often than 1." in words(before)) is bool(force)
    assert "2 was paused by rampd: 2 fails more often than 1." in words(after)
    assert after.endswith(f"Next, to give everybody the version before current: rampd revert {pay}\n")
    assert person("revert", pay).code == 0


def test_a_finalize_of_what_is_not_paused_warns_of_nothing(person: AtTerminal, admin: Admin, component: str) -> None:
    for tag in ("1", "2"):
        admin.release(component, tag)
    admin.ramp(component, 30)
    admin.pause(component, note="lunch")

    screen = person("finalize", component)

    assert (screen.code, "paused" in screen.text, "Next" in screen.text) == (0, False, False)


def test_a_wait_that_ends_paused_says_everything_once_and_what_to_type(person: AtTerminal, pay: str) -> None:
    screen = person("wait", pay)

    assert screen.code == 4
    last_view, _, told = screen.text.rpartition("until it is current")[2].rpartition("rampd: 2 is at 30 %.")
    assert "30 %  PAUSED" in last_view
    assert "more often" not in words(last_view)
    assert "Resume goes on as trial 2: outcomes are counted from 0. To wait until" in words(told)
    assert told.splitlines()[-2:] == [
        f"Next, to take next away from everybody: rampd rollback {pay}",
        f"Next, to go on all the same: rampd resume {pay}",
    ]
