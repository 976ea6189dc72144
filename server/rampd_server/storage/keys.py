"""Names of the keys in Redis. One namespace has one hash tag: in a Cluster it is on one shard, except its outcomes."""

from typing import NamedTuple

from rampd._contract.grammar import COMPONENT, word_violation


class ComponentKeys(NamedTuple):
    """The keys of one component. The fields have the names of the sections of a patch."""

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
    overrides_origin: str
    checks: str


class OutcomeKeys(NamedTuple):
    """The keys of one component's outcomes and of the repos that were seen. They have their own hash tag, so that a Cluster spreads
    them over its shards.
    """

    outcomes: str
    first_outcomes: str
    first_failures: str
    waiting_outcomes: str
    waiting_failures: str
    clients: str
    clients_order: str
    release_outcomes: str
    seen_repos: str
    seen_depths: str
    fine_samples: str
    coarse_samples: str
    next_repos: str


class Keys:
    """The keys of one namespace. Raises ValueError if the namespace's name breaks the grammar of components."""

    def __init__(self, namespace: str = "default") -> None:
        if wrong := word_violation(COMPONENT, namespace, required=True):
            raise ValueError(f"namespace: {wrong}")
        self.prefix = f"rampd:{{{namespace}}}:"
        self._outcomes_tag = f"rampd:{{{namespace}:"
        self.pattern = f"rampd:{{{namespace}[:}}]*"
        """Matches all keys of the namespace, for SCAN."""
        self.meta = self.prefix + "meta"
        self.components = self.prefix + "components"
        self.deleted = self.prefix + "deleted"
        self.feed = self.prefix + "feed"
        self.feed_bytes = self.prefix + "feed-bytes"
        self.history = self.prefix + "history"
        self.outcome_marks = self.prefix + "outcome-marks"

    def request(self, request_id: str) -> str:
        return f"{self.prefix}request:{request_id}"

    def outcomes(self, component: str) -> OutcomeKeys:
        prefix = f"{self._outcomes_tag}{component}}}:"
        return OutcomeKeys(
            outcomes=f"{prefix}outcomes",
            first_outcomes=f"{prefix}first-outcomes",
            first_failures=f"{prefix}first-failures",
            waiting_outcomes=f"{prefix}waiting-outcomes",
            waiting_failures=f"{prefix}waiting-failures",
            clients=f"{prefix}clients",
            clients_order=f"{prefix}clients-order",
            release_outcomes=f"{prefix}release-outcomes",
            seen_repos=f"{prefix}seen-repos",
            seen_depths=f"{prefix}seen-depths",
            fine_samples=f"{prefix}fine-samples",
            coarse_samples=f"{prefix}coarse-samples",
            next_repos=f"{prefix}next-repos",
        )

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
            overrides_origin=f"{self.prefix}overrides-origin:{name}",
            checks=f"{self.prefix}checks:{name}",
        )
