"""An older copy of the data is restored under running servers: they refuse it until somebody adopts it."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from redis import Redis

from rampd_server import app, testing
from rampd_server.process.config import Config
from tests.servers import Stubs, reason_of, short_directory, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually

C = "restyler"
MAX_LOSS_S = 1.0
LONG_S = 5.0
"""Far longer than MAX_LOSS_S and two looks at the store."""
DATA = ("dump.rdb", "appendonlydir")


class Store:
    """A Redis whose data a person copies and puts back."""

    def __init__(self, folder: Path, **options: str) -> None:
        self._folder = folder
        self._backup = folder / "backup"
        self._options = options
        self._running = contextlib.ExitStack()
        self.url = self._start().url

    def _start(self) -> StoreServer:
        return self._running.enter_context(store_server(REDIS, directory=self._folder, **self._options))

    def close(self) -> None:
        self._running.close()

    def copy(self) -> None:
        with Redis.from_url(self.url) as client:
            client.save()
        self._backup.mkdir()
        self._move(self._folder, self._backup)

    def restore(self) -> None:
        """Stops Redis, puts the copied files in the place of its own, and starts it again."""
        self._running.close()
        for name in DATA:
            shutil.rmtree(self._folder / name, ignore_errors=True)
            (self._folder / name).unlink(missing_ok=True)
        self._move(self._backup, self._folder)
        self._start()

    @staticmethod
    def _move(source: Path, target: Path) -> None:
        for name in DATA:
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name)
            elif (source / name).exists():
                shutil.copy(source / name, target)


@pytest.fixture(params=[{}, {"appendonly": "yes", "appendfsync": "always"}], ids=["rdb", "aof"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with short_directory() as folder:
        made = Store(folder, **request.param)
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def serving(directory: Path, store: Store, *, max_loss_s: float = MAX_LOSS_S) -> Iterator[Stubs]:
    with (
        testing.listening(directory, store.url, wait_for_store=True, max_loss_s=max_loss_s) as at,
        stubs(str(at.grpc)) as call,
    ):
        eventually(lambda: call("ListRollouts") is not None, suppressed=grpc.RpcError)
        yield call


def refusal(call: Stubs, method: str, **fields: object) -> tuple[str, str]:
    try:
        call(method, component=C, **fields)
    except grpc.RpcError as error:
        return reason_of(error), str(error.details())
    return "", ""


def resolve(call: Stubs) -> Any:
    return call("Resolve", component=C, repo="acme/app")


def let_confirm(*calls: Stubs) -> None:
    """Waits until the store has just confirmed to each server that it has everything."""
    for call in calls:
        eventually(lambda call=call: not resolve(call).stale)


def begin(call: Stubs, store: Store) -> None:
    """Copies the data while t1 is current, and makes t2 current after that."""
    for tag in ("t1", "t2"):
        call("Release", component=C, tag=tag)
    store.copy()
    call("Finalize", component=C, force=True)


def actions(call: Stubs) -> list[str]:
    return [event.action for event in call("ListEvents", component=C).events]


def test_an_older_copy_under_running_servers_is_refused_until_an_adopt(store: Store) -> None:
    """Given a Finalize that was there for long and is missing in the restored data, expect that both servers go on with it for
    jobs and write nothing, also after a restart, and that both follow the restored data after an adopt.
    """
    with short_directory() as one, short_directory() as two, serving(two, store) as other:
        with serving(one, store) as call:
            begin(call, store)
            eventually(lambda: resolve(other).tag == "t2")
            let_confirm(call, other)
            time.sleep(LONG_S)
            let_confirm(call, other)
            store.restore()

            for each in (call, other):
                eventually(lambda: "has an older copy of its data" in refusal(each, "Ramp", percent=50)[1])  # noqa: B023
                for method, fields in (
                    ("Ramp", {"percent": 50}),
                    ("Release", {"tag": "t3"}),
                    ("SetOverride", {"repo": "acme/app", "tag": "t1"}),
                    ("GetRollout", {}),
                ):
                    assert refusal(each, method, **fields)[0] == "STORE_RESET"
                with pytest.raises(grpc.RpcError) as caught:
                    each("ListRollouts")
                assert reason_of(caught.value) == "STORE_RESET"
                eventually(lambda: resolve(each).stale)  # noqa: B023
                assert resolve(each).tag == "t2"

        # A server that starts again remembers what the store must have. It is ready for jobs only.
        with (
            testing.listening(one, store.url, wait_for_store=False, max_loss_s=MAX_LOSS_S) as at,
            stubs(str(at.grpc)) as again,
        ):
            assert resolve(again).tag == "t2"
            eventually(lambda: "has an older copy of its data" in refusal(again, "Ramp", percent=50)[1])
            with Redis.from_url(store.url) as client:
                assert client.xlen(f"rampd:{{default}}:history:{C}") == 2

            asyncio.run(app.adopt(Config(data_dir=one), store.url))
            for each in (again, other):
                eventually(lambda: not refusal(each, "Ramp", percent=50)[0])  # noqa: B023
                eventually(lambda: not resolve(each).stale)  # noqa: B023
                assert each("GetRollout", component=C).rollout.current.tag == "t1"


@pytest.mark.parametrize("store", [{}], indirect=True, ids=["rdb"])
def test_a_loss_of_the_last_changes_is_followed_as_a_failover(store: Store) -> None:
    with short_directory() as one, serving(one, store, max_loss_s=60.0) as call:
        begin(call, store)
        store.restore()
        eventually(lambda: "RecordLoss" in actions(call), suppressed=grpc.RpcError)
        eventually(lambda: not refusal(call, "Ramp", percent=50)[0])
        assert call("GetRollout", component=C).rollout.current.tag == "t1"
