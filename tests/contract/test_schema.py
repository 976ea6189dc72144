"""The form of the data: written data have the form of their schema number, and data of earlier schemas are read.

If the first test fails, the form has changed: raise SCHEMA, and record the new form with `make record-schema`.
"""

import asyncio
import json
import re
import sys
from pathlib import Path

import fakeredis
import pytest

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.domain.evidence.admission import Counted, Trial
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Step
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.domain.rollout.progress import Driver, Progress
from rampd_server.ports import Author, CheckTurn, Namespace, OutcomeBatch, Override, Result
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage.checks import RedisChecks
from rampd_server.storage.clients import Clients
from rampd_server.storage.link import Link
from rampd_server.storage.marks import RedisMarks
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.seen import RedisSeen
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, do
from tests.rollouts import NOW

FOLDER = Path(__file__).parent / "recorded"
CI = Author("ci", "Release", 'a "note"', request_id="build-42", digest="d1g35t", parts={"method": "Release"})
Dump = dict[str, list[object]]
"""By the end of a key's name: its type, and what is in it."""


async def write_everything(store: RedisStore) -> None:
    """Writes some of everything that rampd stores."""
    steps = (Step(500, hold_ms=60_000), Step(9_000, approval=True))
    await do(
        store,
        commands.Release("a", {"image": "x"}),
        commands.SetPolicy(automation={"steps": steps}),
        commands.Release("b", expedite=True),
        commands.Revert(),
        commands.Release("c"),
        commands.Release("d"),
        commands.Decide(Progress(Driver.PLAN, NOW, NOW), commands.Ramp(500)),
        commands.Pause(),
        commands.Freeze(NOW + 1),
        commands.Rollback(),
    )
    await store.remember(CI, Result(10, changed=False))
    changes = {"acme/*": Override(channel="NEXT"), "acme/app": Override(tag="pb/x", expire_ms=4_000_000_000_000)}
    await store.commit_overrides(COMPONENT, changes, ADA)
    gone = await do(store, commands.Release("z"), component="gone")
    await commit(store, gone, Absent("gone", gone.revision + 1, gone.last_number))
    lost = await do(store, commands.Release("z"), commands.Quarantine("y"), component="lost")
    await commit(store, lost, Absent("lost", lost.revision + 1, lost.last_number, quarantine=lost.quarantine))
    await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "holidays", NOW)), ADA)
    outcomes = [Counted(500, True, True, "acme/app", 10), Counted(500, False, False, "acme/b", 10)]
    for maturation_ms in (0, 3_600_000_000):
        batch = OutcomeBatch(
            component=COMPONENT,
            trial=Trial(3, 1, 9),
            client_id=f"client-{maturation_ms}",
            sequence=7,
            digest="abc",
            reporter="ada",
            answer="2.",
            outcomes=outcomes if maturation_ms == 0 else [Counted(500, True, True, "acme/late", 10)],
            maturation_ms=maturation_ms,
            by_release={3: JobCount(2, 1)},
            current_revision=4,
            current=JobCount(1, 0),
        )
        await RedisOutcomes(store.link).count_outcomes(batch)
    checks = RedisChecks(store.link)
    turn = await checks.lease(COMPONENT, "errors", "3:1:0:abc", lease_ms=1000, interval_ms=1000)
    assert isinstance(turn, CheckTurn)
    await checks.record(turn, CheckCounts("3:1:0:abc", NOW, 1, 0, False, 0.5), checks=["errors"])
    await checks.lease(COMPONENT, "other", "3:1:0:abc", lease_ms=1000, interval_ms=1000)
    await RedisSeen(store.link).add(COMPONENT, ["acme/a", "acme/app"], 1)
    await RedisMarks(store.link).mark([COMPONENT])


async def dump(store: RedisStore) -> Dump:
    """Returns everything in the namespace as JSON values."""
    found: Dump = {}
    async for key in store.client.scan_iter(match=store.keys.pattern):
        kind = await store.client.type(key)
        match kind:
            case "hash":
                value: object = dict(sorted((await store.client.hgetall(key)).items()))
            case "list":
                value = await store.client.lrange(key, 0, -1)
            case "zset":
                value = [list(pair) for pair in await store.client.zrange(key, 0, -1, withscores=True)]
            case "stream":
                value = [[entry_id, fields] for entry_id, fields in await store.client.xrange(key)]
            case _:
                # The sketches of a trial are 256 KiB, nearly all of them zero.
                size = await store.client.strlen(key)
                value = size if size > 10_000 else await store.client.get(key)
        found[key.partition(":{")[2]] = [kind, value]
    return dict(sorted(found.items()))


async def put_in(store: RedisStore, recorded: Dump) -> None:
    for name, (kind, value) in recorded.items():
        key = "rampd:{" + name
        match kind:
            case "hash":
                await store.client.hset(key, mapping=value)
            case "list":
                await store.client.rpush(key, *value)
            case "zset":
                await store.client.zadd(key, dict(value))
            case "stream":
                for entry_id, fields in value:
                    await store.client.xadd(key, fields, entry_id)
            case _ if isinstance(value, str):
                await store.client.set(key, value)


def form_of(recorded: Dump) -> str:
    """Returns a dump without values that differ each time: ids, times and random numbers."""
    kept = {
        key: [kind, "BYTES" if key.endswith("}:feed-bytes") else value]
        for key, (kind, value) in recorded.items()
        if ":request:~" not in key
    }
    text = json.dumps(kept, ensure_ascii=False, indent=1, sort_keys=True)
    text = re.sub(r"(?<!\d)1[789]\d{11}-\d+", "ID", text)
    text = re.sub(r"(?<!\d)1(?!700000000)[789]\d{11}(\.0)?(?!\d)", "TIME", text)
    text = re.sub(r"(?<!\d)[35]\d{12}(\.0)?(?!\d)", "TIME", text)
    text = re.sub(r'"recent \d ', '"recent PLACE ', text)
    return re.sub(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])", "NONCE", text)


async def _recording() -> Dump:
    store = _store()
    store.set_epoch(await store.begin_epoch(adopted=False))
    await write_everything(store)
    return await dump(store)


def _store() -> RedisStore:
    client = fakeredis.FakeAsyncRedis(decode_responses=True, encoding_errors="surrogateescape", protocol=2)
    return RedisStore(Link(Clients(client, client), deadline_s=10.0))


def _file(schema: int) -> Path:
    return FOLDER / f"schema-{schema}.json"


def _read(schema: int) -> Dump:
    recorded: Dump = json.loads(_file(schema).read_text("utf-8"))
    return recorded


def record() -> str:
    """Records the form of the present schema, and returns the file. Ends the process if the form is already recorded."""
    recording, file = asyncio.run(_recording()), _file(SCHEMA)
    is_there = file.exists()
    if is_there and form_of(recording) == form_of(_read(SCHEMA)):
        sys.exit(f"{file} is there already, and the form of the data is the same: nothing is written.")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(recording, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if is_there:
        return (
            f"Written over: {file}. If a release has schema {SCHEMA}, restore that file (git) and raise SCHEMA first."
        )
    return f"Written: {file}"


async def test_the_stored_data_have_the_form_that_is_recorded_for_their_schema() -> None:
    assert form_of(await _recording()) == form_of(_read(SCHEMA))


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
async def test_data_of_each_schema_are_read_and_written(schema: int) -> None:
    store = _store()
    await put_in(store, _read(schema))
    await store.raise_schema()
    replica = Replica(store)
    await replica.read_again()

    known = replica.get(COMPONENT)
    assert known is not None
    rollout = known.rollout
    assert (rollout.current_release.tag, rollout.revision, rollout.held_reason) == ("a", 11, "rolled back by ada")
    assert (len(known.overrides), replica.damage(COMPONENT)) == (2, None)
    assert await store.client.hget(store.keys.meta, "schema") == str(SCHEMA)
    service = Service(store, replica)
    await service.unfreeze_all(ADA)
    answer = await service.execute(COMPONENT, commands.Abandon(), ADA)
    assert isinstance(answer.rollout, Rollout)
    assert (answer.result.revision, answer.rollout.next_release and answer.rollout.next_release.tag) == (13, "d")
    await store.commit_overrides(COMPONENT, {"acme/app": None}, ADA)
    assert [event.revision for event in await store.events(COMPONENT, limit=2)] == [14, 13]
    assert (await RedisOutcomes(store.link).counters(COMPONENT, 3, 1)).reporters


def test_a_form_is_recorded_once_and_the_recorder_prints_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "FOLDER", tmp_path / "recorded")
    file = _file(SCHEMA)
    assert record() == f"Written: {file}"
    written = file.read_text("utf-8")
    with pytest.raises(SystemExit, match=f"{file} is there already, and the form of the data is the same") as caught:
        record()
    assert (bool(caught.value.code), file.read_text("utf-8")) == (True, written)

    file.write_text("{}", "utf-8")
    assert record().startswith(f"Written over: {file}. If a release has schema {SCHEMA}")
    assert form_of(_read(SCHEMA)) == form_of(json.loads(written))


if __name__ == "__main__":
    print(record())
