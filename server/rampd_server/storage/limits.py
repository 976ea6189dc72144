"""How much there may be in a store, and for how long: every limit, with its reason. The Lua scripts have them by these names."""

from typing import Final

# What callers make. One more is refused whole.
MAX_COMPONENTS: Final = 10_000
"""Of a namespace: every server holds them all."""
MAX_OVERRIDES: Final = 2_000_000
"""Of a component: every server, and every client that watches it, holds them all."""

# What is kept for others. The oldest goes.
MAX_EVENTS: Final = 10_000
"""Of a history: a person pages through it, and nothing is decided by it."""
MAX_FEED_ENTRIES: Final = 100_000
"""Of the feed: a server that was away for longer reads everything again."""
MAX_FEED_BYTES: Final = 64 * 1024 * 1024
"""Of the feed's names and values: one entry may have a thousand overrides."""
MAX_REMOVED: Final = 10_000
"""Feed entries that one write removes at most: it bounds how long the first write under a lower limit takes."""
SWEEP_AFTER_MS: Final = 24 * 3_600_000
"""How long an override stays in the store after it has expired: one that a wrong clock has ended is there again once the clock is
right.
"""

# What is counted.
UNIT_BITS: Final = 2**21
"""Size of the array in which a trial remembers units: a fixed 256 KiB, whatever the number of units."""
MAX_REPORTERS: Final = 1_000
"""Identities that are told apart in a trial: those that come later count as one."""
MAX_CLIENTS: Final = 100_000
"""Clients of a component whose last batch is remembered: one that is forgotten and repeats its batch is counted twice."""
MAX_WAITING: Final = 10_000
"""Outcomes of a trial that wait until their job is old enough, and as many failures: each takes memory until then."""
MAX_MATURED: Final = 1_000
"""Outcomes whose wait is over that one batch moves at most, of each kind: it bounds how long a batch takes."""

# How long one server may keep others from something.
MAX_LEASE_MS: Final = 60_000
"""The longest that one server may take to ask a check. A lease that ends later was made before the clock was set back."""
YIELD_MS: Final = 200
"""How long others wait for an urgent change that was second: long enough to read and write once more over a slow link."""
MAX_DECISION_AGE_MS: Final = 1_000
"""How far from the store's clock a decision of automation may be: a store that hung, or whose clock was set, refuses it."""
