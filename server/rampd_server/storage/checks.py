"""Gives one server the turn to ask a check, and keeps the result: one hash for each component."""

import secrets
from collections.abc import Mapping, Sequence

from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.ports import CheckTurn
from rampd_server.storage.codec.check_texts import read_counts, write_counts
from rampd_server.storage.limits import MAX_LEASE_MS
from rampd_server.storage.link import Link
from rampd_server.storage.scripts import Code
from rampd_server.storage.store_errors import corrupt

_LEASE, _RESULT = "lease:", "result:"


class RedisChecks:
    """A `CheckStore` beside the store, over the same link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def lease(
        self, component: str, check: str, scope: str, *, lease_ms: int, interval_ms: int
    ) -> CheckTurn | int:
        turn = secrets.token_hex(8)
        keys = self._link.keys.component(component)
        reply = await self._link.write(
            "lease_check",
            keys,
            epoch=self._link.epoch,
            lease_field=_LEASE + check,
            result_field=_RESULT + check,
            turn=turn,
            lease_ms=min(lease_ms, MAX_LEASE_MS),
            interval_ms=interval_ms,
            scope=scope,
        )
        if reply[0] == Code.UNCHANGED:
            return int(reply[1])
        async with self._link.of_known_schema():
            before = _read(keys.checks, _RESULT + check, reply[2]) if reply[2] else None
        return CheckTurn(component, check, turn, int(reply[1]), before)

    async def record(self, turn: CheckTurn, counts: CheckCounts, *, checks: Sequence[str]) -> bool:
        reply = await self._link.write(
            "record_check",
            self._link.keys.component(turn.component),
            epoch=self._link.epoch,
            lease_field=_LEASE + turn.check,
            result_field=_RESULT + turn.check,
            turn=turn.id,
            result=write_counts(turn.asked_ms, counts).encode(),
            fields=[prefix + name for name in checks for prefix in (_LEASE, _RESULT)],
        )
        return bool(reply[0] == Code.DONE)

    async def counts(self, component: str) -> Mapping[str, CheckCounts]:
        key = self._link.keys.component(component).checks
        async with self._link.of_known_schema():
            fields = await self._link.call(self._link.client.hgetall, key, key=key)
            return {
                field.removeprefix(_RESULT): _read(key, field, text)
                for field, text in fields.items()
                if field.startswith(_RESULT)
            }


def _read(key: str, field: str, text: str) -> CheckCounts:
    try:
        return read_counts(text)
    except ValueError as exc:
        raise corrupt(key, field, str(exc)) from exc
