"""Counts outcomes in Redis, reads the counters, and drops those of ended trials."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from rampd._evidence.counters import TrialCounters
from rampd._evidence.release_counters import INTERVAL_MS, INTERVALS, ReleaseCounters
from rampd_server.domain.errors import RampdError, StoreCorruptError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Trial
from rampd_server.domain.evidence.samples import Sample
from rampd_server.ports import OutcomeBatch, Receipt
from rampd_server.storage.codec.counters import read_counters, read_release_counters, write_counts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.samples import read_samples
from rampd_server.storage.keys import OutcomeKeys
from rampd_server.storage.limits import (
    COARSE_STEP_MS,
    FINE_STEP_MS,
    MAX_CLIENTS,
    MAX_COARSE_SAMPLES,
    MAX_FINE_SAMPLES,
    MAX_WAITING,
)
from rampd_server.storage.link import Link
from rampd_server.storage.scripts import Code
from rampd_server.storage.store_errors import corrupt

_FINE = FINE_STEP_MS, MAX_FINE_SAMPLES
_COARSE = COARSE_STEP_MS, MAX_COARSE_SAMPLES
_RECEIPTS = {
    Code.DONE: Receipt.COUNTED,
    Code.REPLAYED: Receipt.REPEATED,
    Code.REUSED: Receipt.REUSED,
    Code.UNCHANGED: Receipt.TOO_OLD,
}


class RedisOutcomes:
    """An `OutcomeStore` beside the store, over the same link.

    A component's outcomes may be on another shard than `meta`, so they have a copy of the epoch. If the copy is not the epoch that
    this server knows, `meta` decides. If `meta` has the known epoch, the counters of the other epoch are dropped. The schema is
    that of the last look at the head, which each server takes every second.
    """

    def __init__(
        self,
        link: Link,
        *,
        max_clients: int = MAX_CLIENTS,
        max_waiting: int = MAX_WAITING,
        fine: tuple[int, int] = _FINE,
        coarse: tuple[int, int] = _COARSE,
    ) -> None:
        """`fine` and `coarse` are the steps of the samples in milliseconds, and how many samples are kept."""
        self._link = link
        self._limits = {"max_clients": max_clients, "max_waiting": max_waiting}
        self._fine_ms, max_fine = fine
        self._coarse_ms, max_coarse = coarse
        self._sampling = {
            "fine_ms": self._fine_ms,
            "max_fine": max_fine,
            "coarse_ms": self._coarse_ms,
            "max_coarse": max_coarse,
        }

    async def count_outcomes(self, batch: OutcomeBatch) -> tuple[Receipt, str]:
        reply = await self._count(batch, self._link.epoch)
        if reply[0] == Code.RESET:
            await self._link.require_epoch()
            reply = await self._count(batch, reply[1])
        received = _received(batch, reply)
        if received is None:
            async with self._link.of_known_schema():
                raise self._refused(reply)
        return received

    async def count_many(self, batches: Sequence[OutcomeBatch]) -> list[tuple[Receipt, str] | None]:
        replies = await self._count_each([(batch, self._link.epoch) for batch in batches])
        resets = {place: reply[1] for place, reply in enumerate(replies) if _code(reply) == Code.RESET}
        if resets:
            await self._link.require_epoch()
            later = await self._count_each([(batches[place], replaced) for place, replaced in resets.items()])
            for place, reply in zip(resets, later, strict=True):
                replies[place] = reply
        return [_received(batch, reply) for batch, reply in zip(batches, replies, strict=True)]

    async def _count(self, batch: OutcomeBatch, replaced: str) -> list[Any]:
        self._link.require_schema()
        keys, named = self._call_of(batch, replaced)
        return await self._link.run("count_outcomes", keys, is_write=True, **named)

    async def _count_each(self, batches: Sequence[tuple[OutcomeBatch, str]]) -> list[Any]:
        self._link.require_schema()
        return await self._link.run_many("count_outcomes", [self._call_of(*each) for each in batches])

    def _call_of(self, batch: OutcomeBatch, replaced: str) -> tuple[OutcomeKeys, dict[str, object]]:
        """Returns the keys and the arguments of the script."""
        release, number, revision = batch.trial
        return self._link.keys.outcomes(batch.component), {
            "epoch": self._link.epoch,
            "replaced": replaced,
            "release": release,
            "trial": number,
            "revision": revision,
            "reporter": batch.reporter,
            "client": batch.client_id,
            "sequence": batch.sequence,
            "digest": batch.digest,
            "answer": batch.answer,
            **self._limits,
            "interval_ms": INTERVAL_MS,
            "intervals": INTERVALS,
            **self._sampling,
            "counts_json": write_counts(batch),
        }

    async def counters(self, component: str, release: int, trial: int) -> TrialCounters:
        keys = self._link.keys.outcomes(component)
        async with self._link.of_known_schema():
            reply = await self._link.run("read_outcomes", keys)
            if reply[0] != Code.DONE:
                raise self._refused(reply)
            flat, *matured, next_ms, next_repos = reply[1:]
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            counted = (fields.get("epoch"), fields.get("release"), fields.get("trial"))
            if counted != (self._link.epoch, str(release), str(trial)):
                return TrialCounters()
            try:
                found = read_counters(fields, *matured)
                repos = next_repos if fields.get("repos_of") == str(release) else 0
                return replace(found, next_repos=repos, matures_ms=int(next_ms) if next_ms else None)
            except MalformedError as exc:
                raise corrupt(getattr(keys, exc.section), exc.field, exc.problem) from exc

    async def release_counters(self, component: str) -> ReleaseCounters:
        key = self._link.keys.outcomes(component).release_outcomes
        async with self._link.of_known_schema():
            return self._release_counters(key, await self._link.read_hash(key))

    async def release_counters_of(self, components: Sequence[str]) -> list[ReleaseCounters | RampdError]:
        self._link.require_schema()
        keys = [self._link.keys.outcomes(component).release_outcomes for component in components]
        found = await self._link.read_hashes(keys)
        return [await self._release_counters_or_error(*each) for each in zip(keys, found, strict=True)]

    async def _release_counters_or_error(
        self, key: str, found: dict[str, str] | Exception
    ) -> ReleaseCounters | RampdError:
        try:
            async with self._link.of_known_schema():
                if isinstance(found, Exception):
                    raise found
                return self._release_counters(key, found)
        except (StoreCorruptError, StoreUnavailableError) as error:
            return error

    def _release_counters(self, key: str, fields: dict[str, str]) -> ReleaseCounters:
        if fields.get("epoch") != self._link.epoch:
            return ReleaseCounters()
        try:
            return read_release_counters(fields)
        except MalformedError as exc:
            raise corrupt(key, exc.field, exc.problem) from exc

    async def samples(self, component: str) -> Sequence[Sample]:
        keys = self._link.keys.outcomes(component)
        async with self._link.of_known_schema():
            reply = await self._link.run("read_samples", keys, epoch=self._link.epoch)
            if reply[0] != Code.DONE:
                raise self._refused(reply)
            if len(reply) == 1:
                return ()
            try:
                return read_samples(*reply[1:], fine_ms=self._fine_ms, coarse_ms=self._coarse_ms)
            except MalformedError as exc:
                raise corrupt(getattr(keys, exc.section), exc.field, exc.problem) from exc

    async def forget_outcomes(
        self, component: str, trial: Trial, *, last_number: int = 0, releases: Collection[int] = ()
    ) -> None:
        self._link.require_schema()
        release, number, revision = trial
        reply = await self._link.run(
            "forget_outcomes",
            self._link.keys.outcomes(component),
            is_write=True,
            epoch=self._link.epoch,
            release=release,
            trial=number,
            revision=revision,
            last_number=last_number,
            releases=releases,
        )
        if reply[0] not in {Code.DONE, Code.UNCHANGED}:
            async with self._link.of_known_schema():
                raise self._refused(reply)

    def _refused(self, reply: list[Any]) -> Exception:
        error = self._link.refusal(reply)
        if error is None:
            raise AssertionError(reply[0])
        return error


def _code(reply: Any) -> Any:  # noqa: ANN401
    """Returns the code of an answer, or None if the script failed."""
    return reply[0] if isinstance(reply, list) else None


def _received(batch: OutcomeBatch, reply: Any) -> tuple[Receipt, str] | None:  # noqa: ANN401 - as redis-py has it
    """Returns the receipt of a batch and its answer, or None if the batch was not accepted."""
    receipt = _RECEIPTS.get(_code(reply))
    if receipt is None:
        return None
    return receipt, str(reply[1]) if receipt is Receipt.REPEATED else batch.answer
