"""Keeps in Redis for which components outcomes were counted lately, so that every server hears of it."""

from collections.abc import Collection, Mapping

from rampd_server.storage.link import Link


class RedisMarks:
    """A `MarkStore` beside the store, over the same link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def mark(self, components: Collection[str]) -> None:
        await self._link.write("mark_outcomes", epoch=self._link.epoch, components=components)

    async def marked(self, since_ms: int) -> Mapping[str, float]:
        key = self._link.keys.outcome_marks
        async with self._link.of_known_schema():
            found = await self._link.call(
                lambda: self._link.client.zrangebyscore(key, since_ms, "+inf", withscores=True),
                key=key,
                command="zrangebyscore",
            )
            return dict(found)
