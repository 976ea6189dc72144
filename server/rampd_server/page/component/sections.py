"""The sections of the page of one component. Each is an element with an id, and a template for its inside."""

from typing import Any, Final

from rampd_server.page.rendering import fragment

SECTIONS: Final = (
    "head",
    "now",
    "charts",
    "blast",
    "channels",
    "plan",
    "queue",
    "answer",
    "overrides",
    "quarantine",
    "policy",
    "history",
)
"""All sections that change."""


def section(name: str, **shown: Any) -> str:  # noqa: ANN401 - what the template shows
    """Returns the inside of a section as HTML."""
    return fragment(f"component/{name}.html", **shown)
