"""Three Redis, of which Sentinels choose the primary, and two servers of rampd. The primary dies, stops, or is cut off."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.following import Run, require_said, running
from tests.nights import by_day
from tests.servers import rampd_server, short_directory
from tests.stores import REDIS, VALKEY
from tests.topologies import SENTINEL_SECRET, SERVICE, Process, Sentinels, sentinels
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=by_day([REDIS, VALKEY], 1))
def stores(request: pytest.FixtureRequest) -> Iterator[Sentinels]:
    """Redis and Sentinels of the test's own, because the primary is stopped."""
    with short_directory() as folder, sentinels(request.param, folder) as found:
        yield found


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
    assert (told.topology, told.primary) == ("sentinel", f"127.0.0.1:{stores.primary().port}")
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
    with rampd_server(directory, RAMPD_REDIS_URL=change(topology.url)) as server:
        assert server.process.wait(60) == 2
        server.stop()
    text = " ".join(server.raw)
    assert words in text
    assert SENTINEL_SECRET not in text


@pytest.fixture(scope="module")
def topology() -> Iterator[Sentinels]:
    with short_directory() as folder, sentinels(REDIS, folder) as found:
        yield found


async def test_over_tls_the_names_that_sentinels_announce_are_followed() -> None:
    """Given certificates for a name, expect that the primary and the one after it are reached by that name."""
    with short_directory() as folder, sentinels(REDIS, folder, is_tls=True) as topology:
        link = Link.connect(topology.url, deadline_s=10.0)
        store = RedisStore(link)
        store.set_epoch(await store.begin_epoch(adopted=False))
        topology.primary().signal(signal.SIGKILL)

        async def is_writable() -> bool:
            with contextlib.suppress(StoreUnavailableError):
                return bool(await store.begin_epoch(adopted=True))
            return False

        await eventually_async(is_writable)
        assert link.primary_changes.value == 1
        await store.close()
