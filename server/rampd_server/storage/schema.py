"""The form of the data, and which forms this server knows."""

from typing import Final

SCHEMA: Final = 2
"""Raised with every change of the form: a test compares it with a dump that was recorded.

Every script compares it with that of `meta`, so that a server which runs on while another one changes the form of the data
writes nothing any more.
"""


def is_known(schema: str | None) -> bool:
    """Whether the schema that `meta` has is one to work with; None where it has none."""
    return schema is None or (schema.isdecimal() and int(schema) <= SCHEMA)
