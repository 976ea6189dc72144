"""Keeps in Redis which repos of each component any server has seen in the last day."""

from collections.abc import Collection
from typing import Any

from rampd_server.domain.repo_sample import RepoSample, depth_of
from rampd_server.storage.keys import OutcomeKeys
from rampd_server.storage.limits import MAX_SEEN_REPOS
from rampd_server.storage.link import Link
from rampd_server.storage.scripts import Code
from rampd_server.storage.store_errors import corrupt


class RedisSeen:
    """A `SeenStore` beside the store, over the same link. It has a copy of the epoch, as outcomes have: see `RedisOutcomes`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(self, component: str, repos: Collection[str], depth: int) -> None:
        seen = [f"{depth_of(repo)} {repo}" for repo in repos]
        keys = self._link.keys.outcomes(component)
        async with self._link.of_known_schema():
            reply = await self._add(keys, depth, seen, self._link.epoch)
            if reply[0] == Code.RESET:
                await self._link.require_epoch()
                reply = await self._add(keys, depth, seen, reply[1])
            self._require_done(reply)

    async def _add(self, keys: OutcomeKeys, depth: int, seen: list[str], replaced: str) -> list[Any]:
        return await self._link.run(
            "add_seen_repos",
            keys,
            is_write=True,
            epoch=self._link.epoch,
            replaced=replaced,
            depth=depth,
            seen=seen,
        )

    async def read(self, component: str) -> RepoSample:
        keys = self._link.keys.outcomes(component)
        async with self._link.of_known_schema():
            reply = await self._link.run("read_seen_repos", keys, epoch=self._link.epoch)
            self._require_done(reply)
            _, depth, members = reply
            sample = RepoSample(depth=depth, most=MAX_SEEN_REPOS)
            for member in members:
                _, space, repo = member.partition(" ")
                if not space:
                    raise corrupt(keys.seen_repos, member, "is not a depth and a repo")
                sample.add(repo)
            return sample

    def _require_done(self, reply: list[Any]) -> None:
        if reply[0] != Code.DONE:
            error = self._link.refusal(reply)
            if error is None:
                raise AssertionError(reply[0])
            raise error
