"""The schema, which is the version of the data's form, and the schemas that this server knows."""

from typing import Final

SCHEMA: Final = 3
"""Every change of the form raises this number. A test compares the form with a recorded dump.

Every script that writes, except those of outcomes, compares this number with the schema in `meta`. If somebody raises the
schema, a server that still runs and does not know the new one stops writing.
"""

EARLIEST: Final = 3
"""The earliest schema in whose form this server writes, too. Data keep their schema while servers that know no later one may be
there; `rampd-server upgrade` raises it. A server raises data of an earlier schema to this one at its start.
"""


def is_known(schema: str | None) -> bool:
    """Returns whether this server can work with the schema of `meta`, which is None if `meta` has no schema."""
    return schema is None or (schema.isdecimal() and int(schema) <= SCHEMA)
