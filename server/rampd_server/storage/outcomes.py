"""Outcomes in Redis: counted once, read, forgotten."""

from collections.abc import Collection, Sequence
from typing import Any

from rampd_server.domain.evidence.admission import Trial
from rampd_server.domain.evidence.counters import ReleaseCounters, TrialCounters
from rampd_server.ports import OutcomeBatch, Receipt
from rampd_server.storage.codec.counters import read_counters, read_release_counters, write_counts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.limits import MAX_CLIENTS, MAX_WAITING
from rampd_server.storage.reader import RedisReader
from rampd_server.storage.refusals import corrupt, refusal, store_reset
from rampd_server.storage.scripts import Code

_RECEIPTS = {
    Code.DONE: Receipt.COUNTED,
    Code.REPLAYED: Receipt.REPEATED,
    Code.REUSED: Receipt.REUSED,
    Code.UNCHANGED: Receipt.TOO_OLD,
}


class RedisOutcomes(RedisReader):
    """The part of `RedisStore` that counts outcomes.

    A component's outcomes may live on another shard than `meta`, so they have a copy of the epoch. Where the copy is not
    the epoch that is believed in, `meta` decides: if that has it, what was counted under another epoch is dropped. The
    schema is that of the last look at the head, which each server takes every second.
    """

    outcome_limits: tuple[int, int] = (MAX_CLIENTS, MAX_WAITING)

    async def count_outcomes(self, batch: OutcomeBatch) -> tuple[Receipt, str]:
        reply = await self._count(batch, self._epoch)
        if reply[0] == Code.RESET:
            await self._require_epoch()
            reply = await self._count(batch, reply[1])
        received = _received(batch, reply)
        if received is None:
            raise self._refused(reply)
        return received

    async def count_many(self, batches: Sequence[OutcomeBatch]) -> list[tuple[Receipt, str] | None]:
        replies = await self._exchange([(batch, self._epoch) for batch in batches])
        resets = {place: reply[1] for place, reply in enumerate(replies) if _code(reply) == Code.RESET}
        if resets:
            await self._require_epoch()
            later = await self._exchange([(batches[place], replaced) for place, replaced in resets.items()])
            for place, reply in zip(resets, later, strict=True):
                replies[place] = reply
        return [_received(batch, reply) for batch, reply in zip(batches, replies, strict=True)]

    async def _exchange(self, batches: Sequence[tuple[OutcomeBatch, str]]) -> list[Any]:
        self.require_schema()
        calls = [self._call_of(batch, replaced) for batch, replaced in batches]
        replies: list[Any] = await self._call(self._scripts.count_outcomes.many, calls, is_write=True)
        return replies

    async def counters(self, component: str, release: int, trial: int) -> TrialCounters:
        keys = self.keys.outcomes(component)
        reply = await self._call(
            self._scripts.read_outcomes, (keys.outcomes, keys.waiting_outcomes, keys.waiting_failures)
        )
        if reply[0] != Code.DONE:
            raise self._refused(reply)
        flat, *matured = reply[1:]
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if (fields.get("epoch"), fields.get("release"), fields.get("trial")) != (self._epoch, str(release), str(trial)):
            return TrialCounters()
        try:
            return read_counters(fields, *matured)
        except MalformedError as exc:
            raise corrupt(getattr(keys, exc.section), exc.field, exc.problem) from exc

    async def release_counters(self, component: str) -> ReleaseCounters:
        key = self.keys.outcomes(component).release_outcomes
        fields = await self.read_hash(key)
        if fields.get("epoch") != self._epoch:
            return ReleaseCounters()
        try:
            return read_release_counters(fields)
        except MalformedError as exc:
            raise corrupt(key, exc.field, exc.problem) from exc

    async def forget_outcomes(
        self, component: str, trial: Trial, *, last_number: int = 0, releases: Collection[int] = ()
    ) -> None:
        self.require_schema()
        keys, arguments = self._outcome_keys(component), (self._epoch, *trial, last_number, *releases)
        reply = await self._call(self._scripts.forget_outcomes, keys, arguments, is_write=True)
        if reply[0] not in {Code.DONE, Code.UNCHANGED}:
            raise self._refused(reply)

    async def _count(self, batch: OutcomeBatch, replaced: str) -> Any:  # noqa: ANN401 - as redis-py has it
        self.require_schema()
        return await self._call(self._scripts.count_outcomes, *self._call_of(batch, replaced), is_write=True)

    def _call_of(self, batch: OutcomeBatch, replaced: str) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """The keys and the arguments of the script."""
        return self._outcome_keys(batch.component), (
            *(self._epoch, replaced, *batch.trial, batch.reporter, batch.client_id, batch.sequence, batch.digest),
            *(batch.answer, *self.outcome_limits, write_counts(batch)),
        )

    async def _require_epoch(self) -> None:
        """That `meta` has the epoch that is believed in."""
        head = await self.head()
        if head is None or head.epoch != self._epoch:
            raise store_reset(self.keys.meta, self._epoch, head.epoch if head else None)

    def _outcome_keys(self, component: str) -> tuple[str, ...]:
        keys = self.keys.outcomes(component)
        return (
            *(keys.outcomes, keys.first_outcomes, keys.first_failures, keys.waiting_outcomes),
            *(keys.waiting_failures, keys.clients, keys.clients_order, keys.release_outcomes),
        )

    def _refused(self, reply: list[Any]) -> Exception:
        error = refusal(reply, component="", expected_revision=None, meta_key=self.keys.meta, epoch=self._epoch)
        if error is None:
            raise AssertionError(reply[0])
        return error


def _code(reply: Any) -> Any:  # noqa: ANN401
    """None where the script has failed."""
    return reply[0] if isinstance(reply, list) else None


def _received(batch: OutcomeBatch, reply: Any) -> tuple[Receipt, str] | None:  # noqa: ANN401 - as redis-py has it
    """What became of a batch; None where it was not taken in."""
    receipt = _RECEIPTS.get(_code(reply))
    if receipt is None:
        return None
    return receipt, str(reply[1]) if receipt is Receipt.REPEATED else batch.answer
