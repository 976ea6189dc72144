"""Moments, as people read them: the time of day, how long ago, how long until then."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from rampd._contract.wording import span

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Final = ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Clock:
    """The time at which a view is drawn, and the zone in which it shows times."""

    now: datetime
    """With a zone."""
    is_utc: bool = False
    """Whether times are shown in UTC. Otherwise in the zone of this machine."""
    stays: bool = False
    """Whether the view stays while time goes on, as a page does. Then its sentences have times of day: `8 s ago` would soon be wrong."""

    @classmethod
    def of_page(cls, now: datetime) -> "Clock":
        """Returns that of a page. Its server does not know the zone of the person, so its sentences show UTC."""
        return cls(now, is_utc=True, stays=True)

    def time(self, at: "Timestamp | datetime", *, has_seconds: bool = False) -> str:
        """Writes `14:05`, `27 Nov 14:05` on another day, `27 Nov 2025 14:05` in another year; with `UTC` if that is asked."""
        moment, now = self._in_zone(as_datetime(at)), self._in_zone(self.now)
        text = f"{moment:%H:%M:%S}" if has_seconds else f"{moment:%H:%M}"
        if moment.date() != now.date():
            year = "" if moment.year == now.year else f" {moment.year}"
            text = f"{moment.day} {_MONTHS[moment.month - 1]}{year} {text}"
        return f"{text} UTC" if self.is_utc else text

    def short(self, at: "Timestamp | datetime") -> str:
        """Writes a moment for a column: `14:05`, `27 Nov 14:05` on another day, `27 Nov 2025` in another year."""
        moment, now = self._in_zone(as_datetime(at)), self._in_zone(self.now)
        if moment.year != now.year:
            return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"
        day = "" if moment.date() == now.date() else f"{moment.day} {_MONTHS[moment.month - 1]} "
        return f"{day}{moment:%H:%M}"

    def age(self, at: "Timestamp | datetime") -> str:
        """Writes how long ago a moment was, in its largest unit: `3 min`, `2 h`, `5 days`. `0 s` if it is still to come."""
        return _largest_unit(self.now - as_datetime(at))

    def ago(self, at: "Timestamp | datetime") -> str:
        """Writes `3 min ago`."""
        return f"{self.age(at)} ago"

    def when(self, at: "Timestamp | datetime") -> str:
        """Writes `3 min ago`, or `at 14:05 UTC` if the view stays."""
        return f"at {self.time(at)}" if self.stays else self.ago(at)

    def left(self, at: "Timestamp | datetime") -> str:
        """Writes how long it takes until a moment, in its largest unit and the next one: `1 h 30 min`. `0 s` if it is over."""
        return duration(as_datetime(at) - self.now)

    def _in_zone(self, moment: datetime) -> datetime:
        return moment.astimezone(UTC if self.is_utc else None)


def duration(length: timedelta) -> str:
    """Writes `1 h 30 min`: the largest unit and the next one, in whole seconds."""
    return span(max(int(length.total_seconds()), 0) * 1000)


def as_datetime(at: "Timestamp | datetime") -> datetime:
    """Returns the time of a message as a datetime with a zone."""
    return at if isinstance(at, datetime) else at.ToDatetime(UTC)


def _largest_unit(length: timedelta) -> str:
    seconds = max(int(length.total_seconds()), 0)
    for size, unit in _UNITS:
        if count := seconds // size:
            return f"{count} {unit}{'s' * (unit == 'day' and count != 1)}"
    return "0 s"
