"""Names of the keys in Redis. One namespace is one hash tag: in a Cluster it lives on one shard."""

import re
from dataclasses import dataclass

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ComponentKeys:
    """The keys of one component. Field names are those of the sections of a patch."""

    rollout: str
    queue: str
    releases: str
    attributes: str
    quarantine: str
    timeline: str
    history: str
    overrides: str
    overrides_index: str
    overrides_expiry: str


class Keys:
    """The keys of one namespace. Raises ValueError where the namespace's name breaks the grammar of components."""

    def __init__(self, namespace: str = "default") -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise ValueError(
                f"namespace {namespace!r}: give 1 to 63 of a-z 0-9 . _ - with a letter or digit at each end"
            )
        self.prefix = f"rampd:{{{namespace}}}:"
        self.meta = self.prefix + "meta"
        self.components = self.prefix + "components"
        self.feed = self.prefix + "feed"
        self.feed_bytes = self.prefix + "feed-bytes"
        self.history = self.prefix + "history"

    def request(self, request_id: str) -> str:
        return f"{self.prefix}request:{request_id}"

    def component(self, name: str) -> ComponentKeys:
        return ComponentKeys(
            rollout=f"{self.prefix}rollout:{name}",
            queue=f"{self.prefix}queue:{name}",
            releases=f"{self.prefix}releases:{name}",
            attributes=f"{self.prefix}attributes:{name}",
            quarantine=f"{self.prefix}quarantine:{name}",
            timeline=f"{self.prefix}timeline:{name}",
            history=f"{self.prefix}history:{name}",
            overrides=f"{self.prefix}overrides:{name}",
            overrides_index=f"{self.prefix}overrides-index:{name}",
            overrides_expiry=f"{self.prefix}overrides-expiry:{name}",
        )
