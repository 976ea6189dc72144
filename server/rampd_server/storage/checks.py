"""Whose turn it is to ask a check, and what came of it: one hash for each component."""

import secrets
from collections.abc import Mapping, Sequence

from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.ports import CheckTurn
from rampd_server.storage.codec.check_texts import read_counts, write_counts
from rampd_server.storage.limits import MAX_LEASE_MS
from rampd_server.storage.refusals import corrupt
from rampd_server.storage.scripts import Code, Scripts
from rampd_server.storage.store import RedisStore

_LEASE, _RESULT = "lease:", "result:"


class RedisChecks:
    """A `CheckStore` beside a store, over its connections and under its epoch."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._scripts = Scripts(store.client)

    async def lease(
        self, component: str, check: str, scope: str, *, lease_ms: int, interval_ms: int
    ) -> CheckTurn | int:
        turn = secrets.token_hex(8)
        key = self._key(component)
        reply = await self._store.run(
            self._scripts.lease_check,
            (key,),
            (_LEASE + check, _RESULT + check, turn, min(lease_ms, MAX_LEASE_MS), interval_ms, scope),
        )
        if reply[0] == Code.UNCHANGED:
            return int(reply[1])
        before = _read(key, _RESULT + check, reply[2]) if reply[2] else None
        return CheckTurn(component, check, turn, int(reply[1]), before)

    async def record(self, turn: CheckTurn, counts: CheckCounts, *, checks: Sequence[str]) -> bool:
        reply = await self._store.run(
            self._scripts.record_check,
            (self._key(turn.component),),
            (
                *(_LEASE + turn.check, _RESULT + turn.check, turn.id),
                write_counts(turn.asked_ms, counts).encode(),
                *(prefix + name for name in checks for prefix in (_LEASE, _RESULT)),
            ),
        )
        return bool(reply[0] == Code.DONE)

    async def counts(self, component: str) -> Mapping[str, CheckCounts]:
        key = self._key(component)
        fields = await self._store.read_hash(key)
        return {
            field.removeprefix(_RESULT): _read(key, field, text)
            for field, text in fields.items()
            if field.startswith(_RESULT)
        }

    def _key(self, component: str) -> str:
        return self._store.keys.component(component).checks


def _read(key: str, field: str, text: str) -> CheckCounts:
    try:
        return read_counts(text)
    except ValueError as exc:
        raise corrupt(key, field, str(exc)) from exc
