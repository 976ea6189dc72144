"""Every limit of a store (how much, and for how long), with its reason. The Lua scripts use the limits under the same names."""

from typing import Final

# Limits of data that callers create. A request that goes beyond a limit is refused as a whole.
MAX_COMPONENTS: Final = 10_000
"""In a namespace: every server holds all of them in memory."""
MAX_OVERRIDES: Final = 2_000_000
"""Of a component: every server, and every client that watches the component, holds all of them in memory."""

# Limits of data that are kept for later reading. The oldest data are dropped.
MAX_EVENTS: Final = 10_000
"""In a history: people page through it, and no decision depends on it."""
MAX_DELETED: Final = 1_000
"""Deleted components whose names are kept, so that the history of everything has their events. The history itself stays."""
MAX_FEED_ENTRIES: Final = 100_000
"""In the feed: a server that missed more entries than this reads everything again."""
MAX_FEED_BYTES: Final = 64 * 1024 * 1024
"""Of names and values in the feed: one entry may have a thousand overrides."""
MAX_REMOVED: Final = 10_000
"""The most feed entries that one write removes. After a limit was lowered, this bounds how long the first write takes."""
SWEEP_AFTER_MS: Final = 24 * 3_600_000
"""How long an override stays in the store after it has expired. If a wrong clock has ended an override, the override is in force
again after the clock is corrected.
"""

# Limits of outcomes.
UNIT_BITS: Final = 2**21
"""Size of the array in which a trial remembers units: a fixed 256 KiB, whatever the number of units."""
MAX_REPORTERS: Final = 1_000
"""Identities that are counted separately in a trial: all later ones count as one identity."""
MAX_CLIENTS: Final = 100_000
"""Clients of a component whose last batch is remembered. If a forgotten client repeats its batch, the batch is counted twice."""
MAX_WAITING: Final = 10_000
"""Outcomes of a trial that wait until their job is old enough, because each takes memory. The same limit holds for failures."""
MAX_MATURED: Final = 1_000
"""The most outcomes whose wait is over that one batch moves, of each kind. It bounds how long a batch takes."""

FINE_STEP_MS: Final = 15_000
"""The step of fine samples of the counters: short enough to see within a minute that a release fails."""
MAX_FINE_SAMPLES: Final = 240
"""An hour, if jobs end all the time."""
COARSE_STEP_MS: Final = 600_000
"""The step of coarse samples."""
MAX_COARSE_SAMPLES: Final = 1_008
"""A week, if jobs end all the time: most rollouts take less."""

MARK_LIFE_MS: Final = 3_600_000
"""How long a component stays marked after its outcomes were counted. A server that reaches the store again within this time hears of
them. One that starts, or reads everything again, looks at every rollout under way.
"""

# Limits of the repos that were seen in the last day.
MAX_SEEN_REPOS: Final = 1_000
"""Of a component: enough to say how many repos a change moves to a few percent, for 100 KB of memory. Of more repos, a random sample
is kept: see `domain/repo_sample.py`.
"""
SEEN_MS: Final = 24 * 3_600_000
"""How long a repo counts as seen: a launcher that runs once a day is seen."""
HOUR_MS: Final = 3_600_000
"""For each hour it is kept how much was left out of the sample, so that the sample has all repos again a day later."""

# How long one server may block others.
MAX_LEASE_MS: Final = 60_000
"""The longest time that one server may take to ask a check. A lease that ends later was made before the clock was set back."""
YIELD_MS: Final = 200
"""How long other changes wait after an urgent change met a conflict: long enough to read and write again over a slow link."""
MAX_DECISION_AGE_MS: Final = 1_000
"""How far a decision of automation may be from the store's clock. The store refuses the decision if it did not answer for a while,
or if somebody changed its clock.
"""
