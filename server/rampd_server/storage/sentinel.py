"""Finds the primary by Sentinels: all of them are asked at once, and the latest decision counts.

A Sentinel numbers the decisions that it knows (`config-epoch`). One that is cut off from the others still names the old primary,
so a single answer is not believed. redis-py's own Sentinel support believes the first answer, and leaves connections that are
in use on the old primary.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.domain.wording import ended
from rampd_server.process.outage import Outages
from rampd_server.process.sentinel_url import SentinelUrl
from rampd_server.storage.doubts import ASK_SHARE, Doubts
from rampd_server.storage.exchange import exchange
from rampd_server.storage.finding import Leave, Node, Primary, no_answer
from rampd_server.storage.redis_errors import BROKEN_LINK, URL, code_of, explained

_REFUSALS: Final = {
    "NOAUTH": f"wants a password: give it as the option sentinel_password in {URL}",
    "WRONGPASS": f"refuses the options sentinel_username and sentinel_password of {URL}: correct them",
    "NOPASS": f"has no password: take the option sentinel_password out of {URL}, or set requirepass in sentinel.conf",
    "NOPERM": f"does not let its user in {URL} (sentinel_username) ask for a primary: allow +sentinel with ACL SETUSER",
    "No such master": f"watches no service of the name that {URL} has: correct the name. SENTINEL MASTERS lists the names",
    "unknown command": f"is a Redis and no Sentinel: name the Sentinels in {URL}, or write redis:// in place of redis+sentinel://",
}


class Decision(NamedTuple):
    """What a Sentinel answers: the primary, and the number of the decision that made it the primary."""

    number: int
    node: Node


class Sentinel(Protocol):
    """One Sentinel. It is identified by its address."""

    name: str

    async def ask(self) -> Decision:
        """Raises StoreUnavailableError, which names the Sentinel."""

    async def close(self) -> None:
        """Closes its connection."""


class SentinelFinder:
    """A `PrimaryFinder` of the primary that Sentinels name."""

    def __init__(self, sentinels: Sequence[Sentinel], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.primary = Primary("the Sentinels name another primary", "there was a failover", monotonic)
        self._sentinels = sentinels
        self._doubts = Doubts(self._look, monotonic)
        self._decision: Decision | None = None
        self._trouble = StoreUnavailableError("No Sentinel was asked yet. Try again.")
        """Why the primary is not known."""
        self._outages = Outages("sentinel_lost", "sentinel_found", ("sentinel",))

    @classmethod
    def of(cls, url: SentinelUrl, *, deadline_s: float) -> "SentinelFinder":
        """Returns a finder for the Sentinels of a URL. `deadline_s` is how long a call of the store may take."""
        timeout_s = deadline_s * ASK_SHARE
        named = zip(url.hosts, url.sentinels, strict=True)
        return cls([RedisSentinel(name, each, url.service, timeout_s=timeout_s) for name, each in named])

    async def address(self) -> Node:
        await self._doubts.settle()
        if self.primary.node is None:
            raise self._trouble
        return self.primary.node

    def doubt(self, why: str) -> None:
        self._doubts.note(why)

    def subscribe(self, leave: Leave) -> None:
        self.primary.subscribe(leave)

    async def follow(self) -> None:
        await self._doubts.follow()

    async def close(self) -> None:
        for sentinel in self._sentinels:
            await sentinel.close()

    async def _look(self, why: str) -> bool:
        """Asks all Sentinels. If none of them answers, what is known stays."""
        answers = await asyncio.gather(*map(self._ask, self._sentinels))
        decisions = [each for each in answers if isinstance(each, Decision)]
        if not decisions:
            errors = [each for each in answers if isinstance(each, StoreUnavailableError)]
            self._trouble = no_answer("Nobody tells rampd which Redis is the primary.", errors)
            return self._decision is not None
        self._decision = chosen(decisions, self._decision, len(self._sentinels))
        await self.primary.found(self._decision.node, why)
        return True

    async def _ask(self, sentinel: Sentinel) -> Decision | StoreUnavailableError:
        try:
            answer = await sentinel.ask()
        except StoreUnavailableError as error:
            self._outages.tell(sentinel.name, error=error.message)
            return error
        self._outages.end(sentinel.name)
        return answer


def chosen(decisions: Sequence[Decision], known: Decision | None, number: int) -> Decision:
    """Returns the decision that counts, of those that some of `number` Sentinels have named.

    The latest one counts. If two have the same number, the known primary stays, or otherwise what most have named. An earlier
    one than the known one counts only if most of all Sentinels name it: somebody has made them again. Otherwise those that
    answer are cut off from the others, or have not heard yet.
    """
    votes = Counter(decisions)
    best = max(votes, key=lambda each: (each.number, known is not None and each.node == known.node, votes[each]))
    if known is not None and best.number < known.number and votes[best] * 2 <= number:
        return known
    return best


class RedisSentinel:
    """A `Sentinel` over the network. Its connection stays open."""

    def __init__(self, name: str, url: str, service: str, *, timeout_s: float) -> None:
        self.name = name
        self._service = service
        self._timeout_s = timeout_s
        self._client: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
            encoding_errors="surrogateescape",
        )

    async def ask(self) -> Decision:
        try:
            async with asyncio.timeout(self._timeout_s):
                fields, address = await exchange(self._client, self._build)
                numbers = dict(zip(fields[::2], fields[1::2], strict=True))
                return Decision(int(numbers["config-epoch"]), Node(address[0], int(address[1])))
        except (exceptions.RedisError, OSError, *BROKEN_LINK) as error:
            raise self._trouble(error) from error
        except (LookupError, TypeError, ValueError) as error:
            raise StoreMisconfiguredError(
                f"{self.name} answers, but not as a Sentinel does: name the Sentinels in {URL}."
            ) from error

    def _build(self, pipe: Any) -> None:  # noqa: ANN401 - as redis-py has it
        # Right after a decision, SENTINEL MASTER has its number already, and the address still of before.
        pipe.execute_command("SENTINEL", "MASTER", self._service)
        pipe.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)

    def _trouble(self, error: Exception) -> StoreUnavailableError:
        text, code = str(error), code_of(error)
        for sign, refusal in _REFUSALS.items():
            if sign == code or sign in text:
                return StoreMisconfiguredError(f"Sentinel {self.name} {refusal}.")
        if found := explained(error, is_tcp=True):
            return type(found)(f"Sentinel {self.name}: {found.message}")
        said = "it does not answer in time" if isinstance(error, TimeoutError) and not text else text
        return StoreUnavailableError(f"Sentinel {self.name} can't be asked: {ended(said)}")

    async def close(self) -> None:
        with suppress(exceptions.RedisError, OSError):
            await self._client.aclose()
