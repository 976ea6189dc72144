"""What a person asks the page of one component for: the query of its address. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Final
from urllib.parse import urlencode

_MOST: Final = 300
"""How much of a value is looked at: a little more than any right one has."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Every field is a parameter of the address. Empty: not asked."""

    span: str = ""
    """How much time the charts show: `hour`, `day`, `week`. Empty: what fits the rollout."""
    repo: str = ""
    """Which version this repo gets."""
    job_id: str = ""
    prefix: str = ""
    """Only the overrides that begin with this."""
    overrides: str = ""
    """The overrides after this one."""
    event: str = ""
    """The history from this event on, back in time."""
    before: str = ""
    """The history before this event."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """Reads a query. What is not known is left out."""
        return cls(**{field.name: query.get(field.name, "").strip()[:_MOST] for field in fields(cls)})

    def link(self, **changes: str) -> str:
        """Returns the query of the address where something else is asked for, too: `?span=hour`."""
        asked = asdict(replace(self, **changes))
        return f"?{urlencode({name: value for name, value in asked.items() if value})}"

    @property
    def is_history_newest(self) -> bool:
        """Whether the history begins with the newest event."""
        return not self.event and not self.before

    @property
    def history_token(self) -> str:
        """The `page_token` of the history that is asked for: the id of an event, which is the first that is left out."""
        if self.before or not self.event:
            return self.before
        time_ms, dash, number = self.event.partition("-")
        return f"{time_ms}{dash}{int(number) + 1}" if number.isdecimal() else self.event
