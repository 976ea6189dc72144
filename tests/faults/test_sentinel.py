"""Three Redis, of which Sentinels choose the primary, and two servers of rampd. The primary dies, stops, or is cut off."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.following import Run, require_said, running
from tests.lost_primaries import lasting, mortal, require_followed, require_refused
from tests.servers import short_directory
from tests.stores import REDIS
from tests.topologies import SENTINEL_SECRET, SERVICE, Process, Sentinels, sentinels
from tests.waiting import eventually

stores = mortal(sentinels)
topology = lasting(sentinels)


@pytest.fixture
def run(stores: Sentinels) -> Iterator[Run]:
    with running(stores.url) as found:
        yield found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_if_the_primary_is_gone_servers_and_launchers_follow_the_new_one_and_nothing_is_done_twice(
    stores: Sentinels, run: Run, number: signal.Signals
) -> None:
    old, began_s = stores.primary(), time.time()
    old.signal(number)

    first = run.show_writable(began_s, stores.decided_s(), number.name)
    run.show_followed(first)
    told = run.calls[0]("GetServer").server.store
    # The Sentinel that is asked may be the last one to know.
    eventually(lambda: (told.topology, told.primary) == ("sentinel", f"127.0.0.1:{stores.primary().port}"))
    if number is signal.SIGSTOP:
        # The old primary still believes that it is one, until a Sentinel tells it.
        old.signal(signal.SIGCONT)
        eventually(lambda: role_of(old) == "slave")
        after_s = time.time()
        eventually(lambda: run.writer.first_after(after_s))

    history = run.show_one_history()
    require_said(run, run.lost(history), history)
    assert [line["event"] for line in run.servers[0].log].count("store_primary_changed") == 1


def test_what_was_written_to_a_primary_that_was_cut_off_is_lost_and_said_and_histories_are_not_mixed(
    stores: Sentinels, run: Run
) -> None:
    """Given a primary that loses its replicas and the Sentinels, and that rampd still reaches, expect that its last changes are
    lost and named, and that all follow the new primary.
    """
    old, began_s = stores.primary(), time.time()
    stores.cut_off(old)

    first = run.show_writable(began_s, stores.decided_s(), "cut off")
    run.show_followed(first)
    stores.join(old)
    eventually(lambda: role_of(old) == "slave")

    history = run.show_one_history()
    lost = run.lost(history)
    assert lost
    require_said(run, lost, history)


def role_of(store: Process) -> str:
    with store.client() as client:
        return str(client.role()[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda url: url.replace(SENTINEL_SECRET, "wrong"),
            "refuses the options sentinel_username and sentinel_password",
        ),
        (lambda url: url.partition("?")[0], "wants a password: give it as the option sentinel_password"),
        (lambda url: url.replace(f"/{SERVICE}?", "/other?"), "watches no service of the name"),
        (lambda url: url.replace("rampd:", "nobody:"), "refuses the user or the password of RAMPD_REDIS_URL"),
    ],
    ids=["wrong password", "no password", "other service", "wrong user"],
)
def test_a_wrong_url_ends_the_start_with_a_sentence(
    topology: Sentinels, directory: Path, change: Callable[[str], str], words: str
) -> None:
    require_refused(directory, change(topology.url), words, SENTINEL_SECRET)


async def test_over_tls_the_names_that_sentinels_announce_are_followed() -> None:
    """Given certificates for a name, expect that the primary and the one after it are reached by that name."""
    with short_directory() as folder, sentinels(REDIS, folder, is_tls=True) as found:
        await require_followed(found.url, found.primary())
