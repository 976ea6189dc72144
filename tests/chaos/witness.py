"""The witness: reads the feed of the store over a connection of its own, beside every fault of the links.

It looks many times a second and asks a script, so each answer is of one moment: the new entries, who made each of them, the
last entry, and the time.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from rampd_server.storage.keys import Keys
from tests.chaos.record import Clock, Entry, Life, Record

EVERY_S = 0.02
_DRIFT_MS = 20.0
NEW_ENTRIES = """
local prefix, after = ARGV[1], ARGV[2]
local found = {}
for _, entry in ipairs(redis.call('XRANGE', prefix .. 'feed', '(' .. after, '+')) do
  local history = prefix .. 'history'
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'component' then
      history = prefix .. 'history:' .. entry[2][i + 1]
    end
  end
  local event = redis.call('XRANGE', history, entry[1], entry[1])[1]
  found[#found + 1] = {entry[1], entry[2], event and event[2] or {}}
end
return {redis.call('TIME'), redis.call('HGET', prefix .. 'meta', 'head') or '0-0', found}
"""


class Witness:
    """Follows one store process at a time. `lock` is held while the data of the store are being replaced."""

    def __init__(self, record: Record, namespace: str = "default") -> None:
        self._record = record
        keys = Keys(namespace)
        self._prefix = keys.prefix
        self.meta = keys.meta
        self._port = 0
        self._login: Mapping[str, str | None] = {}
        self._client: Redis[str] | None = None
        self._last = "0-0"
        self._looked_s = 0.0
        self.lock = threading.RLock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self, port: int, user: str | None = None, password: str | None = None) -> None:
        """Begins with a store that has no data yet."""
        self._port = port
        self._login = {"username": user, "password": password}
        self._looked_s = time.monotonic()
        self._record.add(Life(0, "0-0", self._looked_s, self._looked_s))
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def question(self) -> Sequence[str]:
        """Returns the arguments of an EVAL_RO whose answer `take` takes."""
        return NEW_ENTRIES, "0", self._prefix, self._last

    def take(self, answer: Any, after_s: float, by_s: float) -> None:
        """Takes the answer of an EVAL_RO that was sent at `after_s` or later and answered at `by_s`."""
        (seconds, microseconds), head, found = answer
        self._take_time(int(seconds) * 1000 + int(microseconds) / 1000, after_s, by_s)
        if not found and _order(head) < _order(self._last):
            self._begin_life(head, by_s)
            return
        life = self._record.lives[-1].number
        for entry_id, fields, author in found:
            if _order(entry_id) <= _order(self._last):
                continue
            self._record.add(Entry(life, entry_id, _pairs(fields), _pairs(author), self._looked_s, by_s))
            self._last = entry_id
        self._looked_s = after_s

    def _take_time(self, time_ms: float, after_s: float, by_s: float) -> None:
        """Notes the store's clock, unless it is what is known of it already. A late answer says less than a quick one."""
        clocks = self._record.clocks
        least_ms, most_ms = time_ms - by_s * 1000 - _DRIFT_MS, time_ms - after_s * 1000 + _DRIFT_MS
        if not clocks or not least_ms <= clocks[-1].ahead_ms <= most_ms:
            clocks.append(Clock(by_s, time_ms - by_s * 1000))

    def look(self) -> bool:
        """Takes in everything that the store has now. Returns whether the store has answered."""
        with self.lock:
            after_s = time.monotonic()
            try:
                answer = self._connected().eval_ro(*self.question())
            except (RedisError, OSError):
                self._client = None
                return False
            self.take(answer, after_s, time.monotonic())
            return True

    def follow(self, port: int, head: str, since_s: float | None = None) -> None:
        """Goes on with another process or other data, whose last entry was `head`. Call it with the lock, which was held since the
        last look at the data before. Others may have written there since `since_s`; None: not yet.
        """
        self.go_on(port)
        self._begin_life(head, time.monotonic())
        self._looked_s = self._looked_s if since_s is None else since_s

    def go_on(self, port: int) -> None:
        """Goes on with another process that has the same data. Call it with the lock."""
        self._port, self._client = port, None

    def newest_seen(self, client: "Redis[str]") -> str:
        """Returns the newest entry of a process that this witness has seen."""
        seen = {entry.id for entry in self._record.entries}
        return next((each for each, _ in client.xrevrange(f"{self._prefix}feed") if each in seen), "0-0")

    def _begin_life(self, head: str, by_s: float) -> None:
        self._record.add(Life(self._record.lives[-1].number + 1, head, self._looked_s, by_s))
        self._last = head
        self._looked_s = by_s

    def _connected(self) -> "Redis[str]":
        if self._client is None:
            options = {
                "decode_responses": True,
                "encoding_errors": "surrogateescape",
                "socket_timeout": 1.0,
                "retry": None,
            }
            self._client = Redis(port=self._port, **self._login, **options)
        return self._client

    def _run(self) -> None:
        while not self._is_over.wait(EVERY_S):
            self.look()


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
